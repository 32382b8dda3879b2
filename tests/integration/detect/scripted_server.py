"""A gRPC server that speaks Triton's protocol and behaves as badly as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

Script = Callable[[Any, Any], Awaitable[Any]]


class ScriptedServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers ModelInfer by `script(request, context)`; an async context manager. `port` 0: a free one."""

    def __init__(self, script: Script, port: int = 0) -> None:
        self.script = script
        self.under_way = 0
        self.most_at_once = 0
        self.cancelled = asyncio.Event()
        self.began = asyncio.Event()
        self._server = grpc.aio.server(
            options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.url = f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> ScriptedServer:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        self.began.set()
        try:
            return await self.script(request, context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.under_way -= 1

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        return service_pb2.ServerReadyResponse(ready=True)


async def echo(request: Any, _: Any) -> Any:
    """The identity of a model with one input `x` and one output `y`."""
    answer = service_pb2.ModelInferResponse(model_name=request.model_name)
    tensor = answer.outputs.add(name="y", datatype=request.inputs[0].datatype)
    tensor.shape.extend(request.inputs[0].shape)
    answer.raw_output_contents.append(request.raw_input_contents[0])
    return answer


async def hang(_: Any, __: Any) -> Any:
    """Never answers."""
    await asyncio.Event().wait()


def abort(code: grpc.StatusCode, words: str = "because") -> Script:
    """Fails every request with this status."""

    async def script(_: Any, context: Any) -> Any:
        await context.abort(code, words)

    return script
