"""The whole stack, with a stand-in for the worker."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import topics
from pipeline.stack.embedded_broker import answers
from pipeline.stack.probe import responds
from pipeline.stack.process import StackEvent, StartFailed
from pipeline.stack.triton import SHARED_MEMORY
from pipeline.stack.up import Stack, StackOptions
from tests.integration.stack.tiny_models import MODELS, write_repository
from tests.integration.stack.topic_traffic import consume, produce, unique_topic

STAND_IN = Path(__file__).with_name("stand_in_worker.py")
WORKER = (sys.executable, str(STAND_IN))


@pytest.fixture
def options(home: Path, tmp_path: Path) -> Callable[..., StackOptions]:
    """Options for an embedded stack with one tiny model, changed as the test says. Parts come out of `home`; logs and
    data go to the test's folder."""
    (tmp_path / "home").mkdir()
    for fetched in ("triton", "kafka"):
        (home / fetched).mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / fetched).symlink_to(home / fetched)
    models = write_repository(tmp_path / "models", MODELS[:1])

    def made(**changes: object) -> StackOptions:
        settings = {"home": tmp_path / "home", "models_dir": models, "topics": (unique_topic(2),)}
        return StackOptions(**{**settings, "worker_command": WORKER, "workers": 1, **changes})

    return made


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for listed in lists for child in listed.read_text().split()]


def test_everything_comes_up_in_order_and_is_gone_afterwards(options):
    """Broker, topics, Triton, workers, in that order; all listed, all answering; and after stop() nothing is left."""
    events: list[StackEvent] = []
    chosen = options(workers=2)
    with Stack(chosen, events.append) as stack:
        happened = [(event.part, event.kind) for event in events if event.kind in ("ready", "created")]
        assert happened[:4] == [
            ("embedded broker", "ready"),
            ("topics", "created"),
            ("triton", "ready"),
            ("worker 1", "ready"),
        ]
        assert [(row.part, row.what) for row in stack.listening] == [
            ("embedded broker", "bootstrap servers"),
            ("triton", "grpc"),
            ("triton", "http"),
            ("triton", "metrics"),
            ("worker 1", "metrics"),
            ("worker 2", "metrics"),
        ]
        assert topics.diff(chosen.topics, {"bootstrap.servers": stack.bootstrap_servers}) == []
        assert responds(stack.triton.addresses.http, "/v2/health/ready")
        assert all(responds(worker.http_address, "/readyz") for worker in stack.workers)
        log = (chosen.home / "log/worker-1.log").read_text().splitlines()
        assert f"UNMASK_KAFKA_BOOTSTRAP_SERVERS={stack.bootstrap_servers}" in log
        assert f"UNMASK_TRITON_URL={stack.triton_url}" in log
        pids = [stack.broker.pid, stack.triton.pid, *stack.triton.stubs, *(worker.pid for worker in stack.workers)]
    assert not any(exists(pid) for pid in pids)
    assert not stack.triton.shared_memory()
    assert [event.part for event in events if event.kind == "stopped"] == [
        "worker 2",
        "worker 1",
        "triton",
        "embedded broker",
    ]
    stack.stop()


def test_an_existing_cluster_is_used_and_left_alone(options, kafka):
    """With bootstrap servers given no broker is started; its topics are made there, and it runs on afterwards."""
    chosen = options(bootstrap_servers=kafka.bootstrap_servers, triton_url="127.0.0.1:1", workers=0)
    with Stack(chosen) as stack:
        assert stack.broker is None
        assert stack.triton is None
        assert stack.triton_url == "127.0.0.1:1"
    assert topics.diff(chosen.topics, {"bootstrap.servers": kafka.bootstrap_servers}) == []


def test_kafka_keeps_its_records_from_one_stack_to_the_next(options, tmp_path):
    """`broker="kafka"` starts Apache Kafka, and a second run on the same data finds what the first has written."""
    chosen = options(broker="kafka", kafka_data=tmp_path / "data", triton_url="127.0.0.1:1", workers=0)
    topic = chosen.topics[0].name
    with Stack(chosen) as stack:
        produce(stack.bootstrap_servers, topic, [b"kept"])
    with Stack(chosen) as stack:
        assert consume(stack.bootstrap_servers, topic, 1) == [b"kept"]


def test_a_killed_worker_is_replaced_on_its_port(options):
    """A worker that dies is started again and answers where it did."""
    events: list[StackEvent] = []
    with Stack(options(triton_url="127.0.0.1:1"), events.append) as stack:
        (worker,) = stack.workers
        os.kill(worker.pid, signal.SIGKILL)
        wait_for(lambda: [event.kind for event in events if event.part == "worker 1"].count("ready") == 2)
        assert responds(worker.http_address, "/readyz")


def test_an_embedded_broker_that_was_restarted_gets_its_topics_back(options):
    """What was in memory is lost, the topics are made anew."""
    events: list[StackEvent] = []
    chosen = options(triton_url="127.0.0.1:1", workers=0)
    with Stack(chosen, events.append) as stack:
        os.kill(stack.broker.pid, signal.SIGKILL)
        wait_for(lambda: [event.kind for event in events].count("created") == 2)
        assert topics.diff(chosen.topics, {"bootstrap.servers": stack.bootstrap_servers}) == []


def test_a_worker_that_cannot_start_takes_the_stack_down(options):
    """The error holds the worker's last words, and the parts that ran already are ended."""
    command = (sys.executable, "-c", "raise SystemExit('no policy')")
    stack = Stack(options(worker_command=command))
    with pytest.raises(StartFailed, match="no policy"):
        stack.start()
    assert stack.broker.pid is None
    assert stack.triton.pid is None
    assert not answers(stack.bootstrap_servers)


PROGRAM = """
    import json, signal, sys, time
    from pathlib import Path
    from pipeline.stack.up import Stack, StackOptions
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    home, models, *worker = sys.argv[1:]
    try:
        with Stack(StackOptions(Path(home), Path(models), (), worker_command=tuple(worker))) as stack:
            pids = [stack.broker.pid, stack.triton.pid, *stack.triton.stubs, stack.workers[0].pid]
            print(json.dumps([pids, stack.triton.shared_memory_prefix]), flush=True)
            time.sleep(600)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def running(options) -> tuple[subprocess.Popen[str], list[int], str]:
    """A program that holds a stack: itself, the pids of the parts, the prefix of Triton's shared memory."""
    chosen = options()
    program = subprocess.Popen(
        (sys.executable, "-c", textwrap.dedent(PROGRAM), str(chosen.home), str(chosen.models_dir), *WORKER),
        stdout=subprocess.PIPE,
        text=True,
    )
    pids, prefix = json.loads(program.stdout.readline())
    assert all(exists(pid) for pid in pids)
    yield program, pids, prefix
    program.kill()
    program.communicate()


def test_ctrl_c_ends_everything(running):
    """On SIGINT every part ends, no process and no file in shared memory is left, and the program ends by itself."""
    program, pids, prefix = running
    program.send_signal(signal.SIGINT)
    assert program.wait(60) == 130
    assert not any(exists(pid) for pid in pids)
    assert list(SHARED_MEMORY.glob(f"{prefix}*")) == []


def test_ctrl_c_while_starting_ends_what_runs_already(options):
    """On SIGINT before the last part is ready, the parts that were started are ended."""
    chosen = options()
    never_ready = (sys.executable, "-c", "import time; time.sleep(600)")
    program = subprocess.Popen(
        (sys.executable, "-c", textwrap.dedent(PROGRAM), str(chosen.home), str(chosen.models_dir), *never_ready)
    )
    wait_for((chosen.home / "log/worker-1.log").exists)
    pids = children(program.pid)
    assert len(pids) >= 2  # the broker and Triton, and perhaps already the worker
    program.send_signal(signal.SIGINT)
    assert program.wait(60) == 130
    assert not any(exists(pid) for pid in pids)


def test_nothing_outlives_a_killed_program(running, options):
    """After SIGKILL of the program its parts end too, and the next stack removes what is left in shared memory."""
    program, pids, prefix = running
    program.kill()
    program.wait()
    wait_for(lambda: not any(exists(pid) for pid in pids))
    with Stack(options(workers=0)):
        assert list(SHARED_MEMORY.glob(f"{prefix}*")) == []
