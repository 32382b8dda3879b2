"""Triton's `onnxruntime` backend for CPU, as a Python-based backend over the onnxruntime package.

Triton runs this file, through its python backend, for every model with `backend: "onnxruntime"`, so that a repository
that is made for the C++ backend is served unchanged. Each model instance is a process of its own with one session.
What Triton batches comes as a list of requests: those that fit together are run as one batch and split again.

Tensors cross by DLPack alone: the bindings of this Triton release read NumPy 2's arrays wrongly and in silence.
"""

import ctypes
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton

Array = np.ndarray[Any, np.dtype[Any]]
Feed = Mapping[str, Array]

_set_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_set_destructor.argtypes, _set_destructor.restype = [ctypes.py_object, ctypes.c_void_p], ctypes.c_int


class TritonPythonModel:
    """The class that Triton looks for; the names of its methods are Triton's."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model once per instance. Raises TritonModelException when config and graph do not fit."""
        config = json.loads(args["model_config"])
        file = Path(
            args["model_repository"], args["model_version"], config.get("default_model_filename") or "model.onnx"
        )
        self._session = session(file, config)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._batches = int(config.get("max_batch_size") or 0) > 0
        for kind, declared, real in (
            ("input", config["input"], {node.name for node in self._session.get_inputs()}),
            ("output", config["output"], set(self._outputs)),
        ):
            if unknown := {tensor["name"] for tensor in declared} - real:
                raise triton.TritonModelException(f"{kind}s that are not in {file.name}: {', '.join(sorted(unknown))}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, in order. What is wrong with a request fails that request alone."""
        responses: list[Any] = [None] * len(requests)
        feeds: dict[int, Feed] = {}
        wanted: dict[int, tuple[str, ...]] = {}
        for at, request in enumerate(requests):
            try:
                feeds[at] = {tensor.name(): np.from_dlpack(tensor) for tensor in request.inputs()}
            except Exception as error:  # noqa: BLE001 (text tensors, for one; the client is told)
                responses[at] = failure(error)
                continue
            asked = set(request.requested_output_names())
            wanted[at] = tuple(name for name in self._outputs if name in asked)
        for group in compatible(feeds, wanted) if self._batches else [[at] for at in feeds]:
            for at, response in zip(group, self._respond([feeds[at] for at in group], wanted[group[0]]), strict=True):
                responses[at] = response
        return responses

    def finalize(self) -> None:
        """Free the session when Triton unloads the model."""
        del self._session

    def _respond(self, feeds: Sequence[Feed], wanted: Sequence[str]) -> list[Any]:
        if not wanted:
            return [triton.InferenceResponse([]) for _ in feeds]
        try:
            results = self._run(feeds, wanted)
            return [
                triton.InferenceResponse([to_triton(name, array) for name, array in zip(wanted, result, strict=True)])
                for result in results
            ]
        except Exception as error:  # noqa: BLE001 (whatever the runtime raises, the client is told)
            if len(feeds) == 1:
                return [failure(error)]
            return [response for feed in feeds for response in self._respond([feed], wanted)]  # find the bad one

    def _run(self, feeds: Sequence[Feed], wanted: Sequence[str]) -> list[list[Array]]:
        if len(feeds) == 1:
            return [self._session.run(wanted, feeds[0])]
        sizes = [batch_size(feed) for feed in feeds]
        return split(self._session.run(wanted, joined(feeds)), sizes)


def session(file: Path, config: Mapping[str, Any]) -> onnxruntime.InferenceSession:
    """An onnxruntime session on CPU. One thread unless the model's config gives `intra_op_thread_count`, as for the C++
    backend: instances, not threads, are what scales here."""
    parameters = config.get("parameters") or {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", {}).get("string_value") or 1)
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def compatible(feeds: Mapping[int, Feed], wanted: Mapping[int, tuple[str, ...]]) -> list[list[int]]:
    """The requests that can be one batch, together: the same outputs wanted, and inputs that differ in the first
    dimension alone, which has to be one and the same within a request."""
    groups: dict[object, list[int]] = {}
    for at, feed in feeds.items():
        lengths = {array.shape[:1] for array in feed.values()}
        if len(lengths) != 1 or lengths == {()}:
            groups[at] = [at]  # no batch size that it could be split by
            continue
        like = tuple(sorted((name, str(array.dtype), array.shape[1:]) for name, array in feed.items()))
        groups.setdefault((wanted[at], like), []).append(at)
    return list(groups.values())


def batch_size(feed: Feed) -> int:
    """The length of the first dimension."""
    return int(next(iter(feed.values())).shape[0])


def joined(feeds: Sequence[Feed]) -> dict[str, Array]:
    """Several feeds as one."""
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def split(outputs: Sequence[Array], sizes: Sequence[int]) -> list[list[Array]]:
    """The outputs of a joined run, per request. Raises ValueError when the graph does not keep the batch."""
    if any(output.shape[:1] != (sum(sizes),) for output in outputs):
        raise ValueError("an output does not have one row per input row")
    ends = np.cumsum(sizes)
    return [[output[end - size : end] for output in outputs] for size, end in zip(sizes, ends.tolist(), strict=True)]


def to_triton(name: str, array: Array) -> Any:
    """A tensor for a response. Triton renames the capsule and frees the array by itself, which NumPy's destructor of
    the capsule would complain about."""
    capsule = np.asarray(array, order="C").__dlpack__()
    _set_destructor(capsule, None)
    return triton.Tensor.from_dlpack(name, capsule)


def failure(error: Exception) -> Any:
    """The response that tells a client what was wrong with its request."""
    return triton.InferenceResponse(error=triton.TritonError(f"onnxruntime: {error}"))
