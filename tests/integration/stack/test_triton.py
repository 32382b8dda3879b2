"""The real Triton server with the project's onnxruntime backend."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from pipeline.stack.process import StackEvent, StartFailed
from pipeline.stack.triton import Triton
from tests.integration.stack.tiny_models import MODELS, TinyModel, write_repository

Arrays = dict[str, np.ndarray]


@pytest.fixture
def client(served: Triton) -> grpc.InferenceServerClient:
    with grpc.InferenceServerClient(served.addresses.grpc) as connected:
        yield connected


def infer(
    client: grpc.InferenceServerClient, model: str, outputs: list[str] | None = None, **arrays: np.ndarray
) -> Arrays:
    inputs = []
    for name, array in arrays.items():
        tensor = grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    asked = [grpc.InferRequestedOutput(name) for name in outputs] if outputs else None
    result = client.infer(model, inputs, outputs=asked, client_timeout=30)
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


def in_process(models: Path, model: str, **arrays: np.ndarray) -> Arrays:
    session = onnxruntime.InferenceSession(models / model / "1/model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))


def assert_same(served: Arrays, expected: Arrays) -> None:
    assert served.keys() == expected.keys()
    for name, array in expected.items():
        assert served[name].dtype == array.dtype
        np.testing.assert_array_equal(served[name], array)


def executions(client: grpc.InferenceServerClient, model: str) -> int:
    """How many batches a model has run."""
    return int(client.get_inference_statistics(model).model_stats[0].execution_count)


@pytest.mark.parametrize("name", ["fp32", "fp16", "fp64", "int64", "int32", "uint8", "bool"])
def test_every_element_of_every_type_comes_back(client, tiny_models, name):
    """A tensor of different values passes unchanged, for each element type that models use."""
    dtype = {"fp32": "f4", "fp16": "f2", "fp64": "f8", "int64": "i8", "int32": "i4", "uint8": "u1", "bool": "?"}[name]
    values = (np.arange(24) % 5 * 3).reshape(4, 6).astype(dtype)
    assert_same(infer(client, f"identity_{name}", x=values), {"y": values})


def test_two_inputs_are_told_apart(client, tiny_models):
    """The served sum equals that of onnxruntime in process, bit for bit."""
    random = np.random.default_rng(1)
    feeds = {name: random.normal(size=(3, 1000)).astype("f4") for name in "ab"}
    assert_same(infer(client, "add", **feeds), in_process(tiny_models, "add", **feeds))


def test_a_model_without_a_batch_dimension_is_served(client, tiny_models):
    """With max_batch_size 0 the shapes are the graph's own, and several outputs of different types come back."""
    feeds = {"x": np.array([3, 9, 1, 7], "f4"), "k": np.array([2])}
    assert_same(infer(client, "unbatched_max", **feeds), in_process(tiny_models, "unbatched_max", **feeds))


def test_only_the_outputs_that_were_asked_for_come_back(client):
    """A client that wants one of two outputs gets that one."""
    feeds = {"x": np.array([3, 9, 1, 7], "f4"), "k": np.array([2])}
    assert_same(infer(client, "unbatched_max", outputs=["indices"], **feeds), {"indices": np.array([1, 3])})


def test_large_tensors_pass(client):
    """A tensor that outgrows the shared memory which a stub starts with comes back whole."""
    values = np.random.default_rng(2).normal(size=(8, 1_000_000)).astype("f4")
    assert_same(infer(client, "identity_fp32", x=values), {"y": values})


def test_concurrent_requests_are_run_as_one_batch_and_split_again(client, served):
    """Requests of different batch sizes that arrive together run together, and each gets its own rows."""
    before = executions(client, "add_batched")
    sizes = [1, 2, 1, 3, 1]  # 8 rows: a full batch

    def ask(at: int) -> Arrays:
        with grpc.InferenceServerClient(served.addresses.grpc) as own:
            own.is_server_ready()
            together.wait()
            a = np.full((sizes[at], 3), at, "f4") + np.arange(3, dtype="f4")
            return infer(own, "add_batched", a=a, b=np.ones((sizes[at], 3), "f4"))

    together = Barrier(len(sizes))
    with ThreadPoolExecutor(len(sizes)) as pool:
        answers = list(pool.map(ask, range(len(sizes))))
    for at, answer in enumerate(answers):
        assert_same(answer, {"sum": np.full((sizes[at], 3), at + 1, "f4") + np.arange(3, dtype="f4")})
    assert executions(client, "add_batched") - before < len(sizes)


def test_requests_of_different_shapes_are_not_mixed(client, served):
    """Requests that arrive together but differ in shape are all answered rightly."""
    widths = [2, 5, 2, 5]

    def ask(at: int) -> Arrays:
        with grpc.InferenceServerClient(served.addresses.grpc) as own:
            own.is_server_ready()
            together.wait()
            return infer(own, "add_batched", a=np.full((1, widths[at]), at, "f4"), b=np.zeros((1, widths[at]), "f4"))

    together = Barrier(len(widths))
    with ThreadPoolExecutor(len(widths)) as pool:
        answers = list(pool.map(ask, range(len(widths))))
    for at, answer in enumerate(answers):
        assert_same(answer, {"sum": np.full((1, widths[at]), at, "f4")})


def test_a_bad_request_fails_alone(client, served):
    """Of requests that are batched together only the one with the bad index gets an error, which says why."""

    def ask(index: int) -> Arrays | str:
        with grpc.InferenceServerClient(served.addresses.grpc) as own:
            own.is_server_ready()
            together.wait()
            try:
                return infer(own, "gather", table=np.array([[10, 11, 12]], "f4"), index=np.array([[index]]))
            except InferenceServerException as error:
                return str(error)

    indices = [0, 99, 2, 1]
    together = Barrier(len(indices))
    with ThreadPoolExecutor(len(indices)) as pool:
        answers = list(pool.map(ask, indices))
    assert isinstance(answers[1], str)
    assert "Out of range" in answers[1]
    for index, answer in ((0, answers[0]), (2, answers[2]), (1, answers[3])):
        assert_same(answer, {"picked": np.array([[10 + index]], "f4")})


def test_shapes_that_the_graph_refuses_are_an_error_of_the_request(client):
    """Inputs that the config allows and the graph does not give an error, and the model goes on."""
    with pytest.raises(InferenceServerException, match="onnxruntime"):
        infer(client, "add", a=np.zeros((1, 3), "f4"), b=np.zeros((1, 4), "f4"))
    assert_same(
        infer(client, "add", a=np.ones((1, 3), "f4"), b=np.ones((1, 3), "f4")), {"sum": np.full((1, 3), 2, "f4")}
    )


def test_many_requests_do_not_grow_a_model_instance(served, client):
    """What a response carried is freed: 100 tensors of 4 MB leave less than 100 MB behind."""

    def resident_bytes() -> int:
        pages = sum(int(Path(f"/proc/{stub}/statm").read_text().split()[1]) for stub in served.stubs)
        return pages * os.sysconf("SC_PAGE_SIZE")

    values = np.random.default_rng(3).normal(size=(1, 1_000_000)).astype("f4")
    for _ in range(10):
        infer(client, "identity_fp32", x=values)
    before = resident_bytes()
    for _ in range(100):
        infer(client, "identity_fp32", x=values)
    assert resident_bytes() - before < 100e6


def test_a_config_that_does_not_fit_its_graph_is_refused_with_the_reason(home, tmp_path):
    """A tensor name that the graph does not have keeps the server from starting, and the error names it."""
    write_repository(tmp_path, [TinyModel("one", "Identity", [("x", 1, ("b", 2))], [("y", 1, ("b", 2))])])
    config = tmp_path / "one/config.pbtxt"
    config.write_text(config.read_text().replace('"y"', '"elsewhere"'))
    server = Triton(tmp_path, home)
    with pytest.raises(StartFailed, match="elsewhere"):
        server.start()
    assert server.pid is None
    assert not server.shared_memory()


def test_a_killed_server_and_a_killed_model_instance_come_back(home, tmp_path):
    """After SIGKILL of the server, and of one stub, the same address serves again and nothing is left in /dev/shm."""
    events: list[StackEvent] = []
    write_repository(tmp_path, MODELS[:2])
    server = Triton(tmp_path, home, events.append)
    with server, grpc.InferenceServerClient(server.addresses.grpc) as client:
        for find in (lambda: server.pid, lambda: min(server.stubs)):
            victim, before = find(), server.shared_memory()
            seen = len(events)
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda seen=seen: "ready" in [event.kind for event in events[seen:]])
            assert not before & server.shared_memory()
            assert_same(infer(client, "identity_fp32", x=np.eye(3, dtype="f4")), {"y": np.eye(3, dtype="f4")})
    assert [event.detail for event in events if event.kind == "died"] == [
        "was ended by SIGKILL",
        "lost a model instance",
    ]
    assert not server.shared_memory()


def test_a_server_that_was_killed_on_purpose_stays_down_until_it_is_started(home, tmp_path):
    """kill() is not a death to recover from; start() brings the server back on the same addresses."""
    server = Triton(write_repository(tmp_path, MODELS[:1]), home)
    before = server.start()
    server.kill()
    assert server.pid is None
    assert not server.shared_memory()
    assert server.start() == before
    server.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
