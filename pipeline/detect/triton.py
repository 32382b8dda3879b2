"""The door to the inference server: the only file that imports tritonclient.

How a failure is told apart: `Permanent` is what stays wrong however often it is asked (the tensors do not fit the
model). All else is `Transient`, a model that is not there included: it may be loading, and an operator's mistake must
not condemn the uploads that meet it.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import InferInput, InferRequestedOutput, model_config_pb2
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from pipeline.detect.port import ModelSpec, Tensors, TensorSpec
from pipeline.detect.tensors import DTYPES, misfits
from pipeline.errors import ConfigError, Permanent, Reason, Stage, Transient

_CHANNEL = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC waits up to two minutes before it looks for a server that was away. A restart must not cost two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # A peer that vanished without a word is noticed in 25 s instead of TCP's quarter of an hour. Only while a call is
    # under way, at most twice without data: the server takes more for an attack.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 2),
    # Several servers behind one name share the load; a proxy for the web is not for the inference server.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)

_REJECTED = frozenset({"StatusCode.INVALID_ARGUMENT", "StatusCode.OUT_OF_RANGE"})


class Triton:
    """Asks one inference server; an `Infer`. Belongs to the event loop that first uses it.

    Args:
        url: host:port of its gRPC listener.
        concurrency: requests under way at once; the others wait, under their own deadline.
        timeout: the longest that one request may take on the server, seconds, however much time the caller has.
    """

    def __init__(self, url: str, *, concurrency: int = 4, timeout: float = 20.0) -> None:
        self.url = url
        self._timeout = timeout
        self._slots = asyncio.Semaphore(concurrency)
        self._open: Any = None

    async def __call__(self, model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:
        """The outputs that `model` names, for one request. Raises as said above, within `within` seconds."""
        if wrong := misfits(model, model.inputs, tensors):
            raise _rejected(model.name, "; ".join(wrong))
        now = asyncio.get_running_loop().time
        until = now() + within
        try:
            async with asyncio.timeout_at(until), self._slots:
                answer = await self._infer(model, tensors, min(self._timeout, until - now()))
        except TimeoutError:
            raise _unavailable(f"{model.name}: no answer within {within:.3g} s") from None
        if wrong := misfits(model, model.outputs, answer):
            raise _rejected(model.name, "the answer: " + "; ".join(wrong))
        return answer

    async def server_ready(self, *, within: float = 2.0) -> bool:
        """Whether the server is up with every model loaded. Never raises for a server that is not."""
        try:
            async with asyncio.timeout(within):
                return bool(await self._client().is_server_ready())
        except (InferenceServerException, TimeoutError):
            return False

    async def model_metadata(self, name: str, *, within: float = 5.0) -> ModelSpec:
        """A model as the running server knows it. Raises Transient when the server is away or lacks the model."""
        try:
            async with asyncio.timeout(within):
                found = await self._client().get_model_metadata(name)
                config = (await self._client().get_model_config(name)).config
        except TimeoutError:
            raise _unavailable(f"{name}: no metadata within {within:.3g} s") from None
        except InferenceServerException as error:
            _raise(name, error)
        batched = 1 if config.max_batch_size else 0

        def spec(tensor: Any) -> TensorSpec:
            return TensorSpec(tensor.name, tensor.datatype, tuple(tensor.shape)[batched:])

        inputs, outputs = (tuple(spec(tensor) for tensor in side) for side in (found.inputs, found.outputs))
        return ModelSpec(found.name, inputs, outputs, config.max_batch_size)

    async def close(self) -> None:
        """Drop the connection. What is under way ends as `Transient`."""
        if self._open is not None:
            client, self._open = self._open, None
            await client.close()

    def _client(self) -> Any:
        # Made on first use: gRPC binds a channel to the loop that is running then.
        if self._open is None:
            self._open = InferenceServerClient(self.url, channel_args=_CHANNEL)
        return self._open

    async def _infer(self, model: ModelSpec, tensors: Tensors, seconds: float) -> Tensors:
        inputs = []
        for spec in model.inputs:
            array = tensors[spec.name]
            inputs.append(InferInput(spec.name, array.shape, spec.dtype).set_data_from_numpy(array))
        outputs = [InferRequestedOutput(spec.name) for spec in model.outputs]
        try:
            # The server is told the deadline too, so that it drops what nobody waits for any more.
            result = await self._client().infer(model.name, inputs, outputs=outputs, client_timeout=seconds)
        except InferenceServerException as error:
            _raise(model.name, error)
        except asyncio.CancelledError:
            # gRPC also cancels its calls when the channel closes: only a task that was asked to stop is cancelled.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise _unavailable(f"{model.name}: the connection was closed") from None
        return {spec.name: array for spec in model.outputs if (array := result.as_numpy(spec.name)) is not None}


def parse_config(text: str) -> ModelSpec:
    """A model as its config.pbtxt describes it. Raises ConfigError where the text is none."""
    try:
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ConfigError(f"not a model configuration: {error}") from None

    def spec(tensor: Any) -> TensorSpec:
        dtype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
        if dtype not in DTYPES:
            raise ConfigError(f"{config.name}: {tensor.name} has the type {dtype}; detectors know {', '.join(DTYPES)}")
        return TensorSpec(tensor.name, dtype, tuple(tensor.dims))

    inputs, outputs = (tuple(spec(tensor) for tensor in side) for side in (config.input, config.output))
    return ModelSpec(config.name, inputs, outputs, config.max_batch_size)


def _raise(model: str, error: Any) -> NoReturn:
    detail = f"{model}: {error.message()}"
    if error.status() in _REJECTED:
        raise _rejected(model, error.message()) from None
    status = str(error.status() or "unknown").removeprefix("StatusCode.").lower()
    raise _unavailable(f"{detail} ({status})") from None


def _rejected(model: str, detail: str) -> Permanent:
    return Permanent(Stage.DETECT, Reason.INFERENCE_REJECTED, f"{model}: {detail}")


def _unavailable(detail: str) -> Transient:
    return Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, detail)
