"""What workers of a stack are told."""

from pathlib import Path

from pipeline.stack.up import Stack, StackOptions, worker_environment

OPTIONS = {"home": Path("/home-of-it"), "models_dir": Path("/models"), "topics": (), "environment": {"PATH": "/bin"}}


def test_a_worker_gets_the_addresses_of_its_stack_and_the_environment_of_its_caller():
    """Broker, Triton, home and models are set; what the caller has set otherwise is passed on."""
    assert worker_environment(StackOptions(**OPTIONS, broker="kafka"), "broker:1", "triton:2") == {
        "PATH": "/bin",
        "UNMASK_HOME": "/home-of-it",
        "UNMASK_MODELS_DIR": "/models",
        "UNMASK_KAFKA_BOOTSTRAP_SERVERS": "broker:1",
        "UNMASK_TRITON_URL": "triton:2",
    }


def test_the_producer_is_idempotent_except_on_the_embedded_broker():
    """The embedded broker gives out no producer ids; every other, also an existing cluster, does."""
    key = "UNMASK_KAFKA_IDEMPOTENCE"
    assert worker_environment(StackOptions(**OPTIONS), "", "")[key] == "false"
    assert key not in worker_environment(StackOptions(**OPTIONS, broker="kafka"), "", "")
    assert key not in worker_environment(StackOptions(**OPTIONS, bootstrap_servers="there:9092"), "", "")


def test_media_roots_open_the_file_scheme_for_those_folders_only():
    """Reading local files is allowed exactly where the caller says; the other schemes stay."""
    options = StackOptions(**OPTIONS, media_roots=(Path("/a"), Path("/b")), database_url="sqlite:///x")
    environment = worker_environment(options, "", "")
    assert environment["UNMASK_FETCH_ROOTS"] == "/a,/b"
    assert environment["UNMASK_FETCH_SCHEMES"] == "https,s3,gs,az,file"
    assert environment["UNMASK_DATABASE_URL"] == "sqlite:///x"


def test_existing_parts_are_listed_instead_of_started_ones():
    """A cluster and a Triton that were given are what the table shows."""
    stack = Stack(StackOptions(**OPTIONS, bootstrap_servers="there:9092", triton_url="there:8001"))
    assert [(row.part, row.address) for row in stack.listening] == [("kafka", "there:9092"), ("triton", "there:8001")]
