"""How the onnxruntime backend groups requests, joins and splits them, and whom an error hits."""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st


class Tensor:
    """Triton's tensor, as far as the backend uses it."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name = name
        self.array = array

    def name(self) -> str:
        return self._name

    def __dlpack__(self, **settings: object) -> object:
        if self.array.dtype == object:
            raise BufferError("text has no DLPack")
        return self.array.__dlpack__(**settings)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class Response:
    def __init__(self, output_tensors: list[Tensor] | None = None, error: object = None) -> None:
        self.outputs = {tensor.name(): tensor.array for tensor in output_tensors or []}
        self.error = error


class Request:
    def __init__(self, wanted: tuple[str, ...] = ("y",), **arrays: np.ndarray) -> None:
        self._wanted = wanted
        self._arrays = arrays

    def inputs(self) -> list[Tensor]:
        return [Tensor(name, array) for name, array in self._arrays.items()]

    def requested_output_names(self) -> tuple[str, ...]:
        return self._wanted


class Session:
    """Doubles `x`, and refuses a batch with a negative number in it."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, wanted: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        if (feed["x"] < 0).any():
            raise ValueError("negative")
        self.batches.append(len(feed["x"]))
        return [{"y": feed["x"] * 2, "mean": feed["x"].mean()[None]}[name] for name in wanted]


@pytest.fixture(scope="module")
def backend() -> Iterator[ModuleType]:
    """The module, with a stand-in for the one that exists only inside Triton."""
    fake = SimpleNamespace(
        Tensor=SimpleNamespace(from_dlpack=lambda name, _capsule: name),
        InferenceResponse=Response,
        TritonError=lambda text: text,
        TritonModelException=Exception,
    )
    patch = pytest.MonkeyPatch()
    patch.setitem(sys.modules, "triton_python_backend_utils", fake)
    module = importlib.import_module("pipeline.stack.onnxruntime_backend.model")
    patch.setattr(module, "to_triton", Tensor)
    yield module
    patch.undo()
    sys.modules.pop("pipeline.stack.onnxruntime_backend.model")


@pytest.fixture
def model(backend):
    made = backend.TritonPythonModel()
    made._session, made._outputs, made._batches = Session(), ["y", "mean"], True
    return made


def rows(*values: float) -> np.ndarray:
    return np.array(values, "f4")[:, None]


def test_requests_that_fit_run_as_one_batch(model):
    """Three requests, one run, each with its own rows, in order."""
    responses = model.execute([Request(x=rows(1)), Request(x=rows(2, 3)), Request(x=rows(4))])
    assert model._session.batches == [4]
    assert [response.outputs["y"].ravel().tolist() for response in responses] == [[2], [4, 6], [8]]


def test_requests_that_want_different_outputs_run_apart(model):
    """A request gets the outputs that it wants, and only those."""
    responses = model.execute([Request(x=rows(1)), Request(("mean",), x=rows(2)), Request((), x=rows(3))])
    assert [list(response.outputs) for response in responses] == [["y"], ["mean"], []]


def test_without_batching_every_request_runs_alone(model):
    """A model whose config has no batch dimension never sees a joined tensor."""
    model._batches = False
    model.execute([Request(x=rows(1)), Request(x=rows(2))])
    assert model._session.batches == [1, 1]


def test_the_one_bad_request_of_a_batch_fails_alone(model):
    """Its neighbours are answered; its error says what the runtime said."""
    responses = model.execute([Request(x=rows(1)), Request(x=rows(-1)), Request(x=rows(3))])
    assert [response.error for response in responses] == [None, "onnxruntime: negative", None]
    assert responses[2].outputs["y"].tolist() == [[6]]


def test_a_tensor_that_cannot_be_read_fails_its_request_alone(model):
    """Text tensors, which DLPack cannot carry, are an error of their request."""
    responses = model.execute([Request(x=np.array([["text"]], object)), Request(x=rows(3))])
    assert "text has no DLPack" in responses[0].error
    assert responses[1].outputs["y"].tolist() == [[6]]


def test_a_graph_that_does_not_keep_the_batch_runs_request_by_request(model):
    """When the output has not one row per input row there is nothing to split: each request is run alone."""
    responses = model.execute([Request(("mean",), x=rows(1, 3)), Request(("mean",), x=rows(4))])
    assert [response.outputs["mean"].tolist() for response in responses] == [[2], [4]]


sizes = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(sizes)
def test_what_is_joined_is_split_again(backend, sizes):
    """Splitting undoes joining, for any number of rows."""
    feeds = [{"x": np.full((size, 2), at)} for at, size in enumerate(sizes)]
    (parts,) = zip(*backend.split([backend.joined(feeds)["x"]], sizes), strict=True)
    for feed, part in zip(feeds, parts, strict=True):
        np.testing.assert_array_equal(feed["x"], part)


shapes = st.lists(st.sampled_from([(1, 2), (3, 2), (1, 3), (2,), ()]), max_size=8)


@given(shapes)
def test_every_request_is_in_one_group_of_its_like(backend, shapes):
    """Grouping loses and doubles nobody, and members of a group differ in their first dimension only."""
    feeds = {at: {"x": np.zeros(shape)} for at, shape in enumerate(shapes)}
    groups = backend.compatible(feeds, dict.fromkeys(feeds, ("y",)))
    assert sorted(at for group in groups for at in group) == list(feeds)
    for group in groups:
        assert len({shapes[at][1:] for at in group}) == 1
        assert len(group) == 1 or shapes[group[0]] != ()


def test_inputs_of_unequal_length_are_not_joined(backend):
    """A request whose inputs disagree about the batch size has none, and runs alone."""
    odd = {"a": np.zeros((1, 2)), "b": np.zeros((2, 2))}
    assert backend.compatible({0: odd, 1: odd}, {0: ("y",), 1: ("y",)}) == [[0], [1]]
