"""The door to the inference server, against servers that fail in every way and against the real one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from pipeline.detect.port import ModelSpec, TensorSpec
from pipeline.detect.triton import Triton, parse_config
from pipeline.errors import Permanent, Reason, Stage, Transient
from pipeline.stack.triton import Triton as RealServer
from tests.integration.detect.scripted_server import ScriptedServer, abort, echo, hang
from tests.integration.stack.tiny_models import MODELS, write_repository

IDENTITY = ModelSpec("identity_fp32", (TensorSpec("x", "FP32", (-1,)),), (TensorSpec("y", "FP32", (-1,)),), max_batch=8)
X = {"x": np.arange(12, dtype=np.float32).reshape(2, 6)}


class TestAgainstAServerThatMisbehaves:
    """How each failure is told."""

    @pytest.mark.parametrize(
        "code",
        [
            "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED", "NOT_FOUND", "INTERNAL", "UNKNOWN",
            "UNIMPLEMENTED", "UNAUTHENTICATED", "FAILED_PRECONDITION",
        ],
    )  # fmt: skip
    async def test_trouble_of_the_server_may_pass(self, code):
        """Down, busy, without the model, misconfigured: transient, with the server's words."""
        async with ScriptedServer(abort(grpc.StatusCode[code])) as server:
            client = Triton(server.url)
            with pytest.raises(Transient, match="because") as trouble:
                await client(IDENTITY, X, within=10)
            await client.close()
        assert (trouble.value.stage, trouble.value.reason) == (Stage.DETECT, Reason.INFERENCE_UNAVAILABLE)

    @pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "OUT_OF_RANGE"])
    async def test_a_wrong_request_stays_wrong(self, code):
        """What the server refuses to read is permanent."""
        async with ScriptedServer(abort(grpc.StatusCode[code])) as server:
            client = Triton(server.url)
            with pytest.raises(Permanent, match="because") as refused:
                await client(IDENTITY, X, within=10)
            await client.close()
        assert refused.value.reason is Reason.INFERENCE_REJECTED

    async def test_an_answer_that_is_not_the_models_is_refused(self):
        """An output of another type than the detector knows is not interpreted."""
        wrong = ModelSpec("m", IDENTITY.inputs, (TensorSpec("y", "FP32", (1, -1)),), max_batch=8)
        async with ScriptedServer(echo) as server:
            client = Triton(server.url)
            with pytest.raises(Permanent, match="the answer: y: shape"):
                await client(wrong, X, within=10)
            await client.close()

    async def test_a_request_that_does_not_fit_is_not_sent(self):
        """The tensors are compared with the model before anything goes out."""
        async with ScriptedServer(echo) as server:
            client = Triton(server.url)
            with pytest.raises(Permanent, match="x: missing"):
                await client(IDENTITY, {}, within=10)
            await client.close()
            assert server.most_at_once == 0

    async def test_a_server_that_is_not_there_may_come(self, unused_tcp_port):
        """Nobody listens: transient, and not ready."""
        client = Triton(f"127.0.0.1:{unused_tcp_port}")
        with pytest.raises(Transient):
            await client(IDENTITY, X, within=10)
        assert not await client.server_ready()
        with pytest.raises(Transient):
            await client.model_metadata("m")
        await client.close()

    async def test_silence_ends_with_the_callers_time(self):
        """`within` bounds the call, and the server hears that nobody waits any more."""
        async with ScriptedServer(hang) as server:
            client = Triton(server.url, timeout=60)
            with pytest.raises(Transient):
                await client(IDENTITY, X, within=0.3)
            async with asyncio.timeout(10):
                await server.cancelled.wait()
            await client.close()

    async def test_silence_ends_with_the_time_for_one_request(self):
        """However much time the caller has, one request gets no more than its own."""
        async with ScriptedServer(hang) as server:
            client = Triton(server.url, timeout=0.3)
            async with asyncio.timeout(30):
                with pytest.raises(Transient):
                    await client(IDENTITY, X, within=3600)
            await client.close()

    async def test_no_more_requests_than_allowed_are_under_way(self):
        """The others wait here, not at the server."""

        async def slow(request, context):
            await asyncio.sleep(0.02)
            return await echo(request, context)

        async with ScriptedServer(slow) as server:
            client = Triton(server.url, concurrency=2)
            answers = await asyncio.gather(*(client(IDENTITY, X, within=30) for _ in range(8)))
            await client.close()
            assert server.most_at_once == 2
        assert all(np.array_equal(answer["y"], X["x"]) for answer in answers)

    async def test_waiting_for_a_place_counts_against_the_time(self):
        """A request that gets no place in time is transient and leaves the queue."""
        async with ScriptedServer(hang) as server:
            client = Triton(server.url, concurrency=1, timeout=60)
            first = asyncio.create_task(client(IDENTITY, X, within=60))
            await server.began.wait()
            with pytest.raises(Transient, match="no answer within"):
                await client(IDENTITY, X, within=0.2)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            server.script = echo
            assert np.array_equal((await client(IDENTITY, X, within=30))["y"], X["x"])
            await client.close()

    async def test_cancellation_reaches_the_server(self):
        """Who stops waiting frees the server, and is told of the cancellation and nothing else."""
        async with ScriptedServer(hang) as server:
            client = Triton(server.url, timeout=60)
            call = asyncio.create_task(client(IDENTITY, X, within=60))
            await server.began.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            async with asyncio.timeout(10):
                await server.cancelled.wait()
            await client.close()

    async def test_what_is_under_way_when_the_door_closes_may_be_tried_again(self):
        """A closed connection is trouble, not a cancellation of the caller."""
        async with ScriptedServer(hang) as server:
            client = Triton(server.url, timeout=60)
            call = asyncio.create_task(client(IDENTITY, X, within=60))
            await server.began.wait()
            await client.close()
            with pytest.raises(Transient):
                await call

    async def test_a_server_that_comes_back_is_found_again(self):
        """After seconds of refused connections it is found within seconds, long before gRPC's own two minutes."""
        async with ScriptedServer(echo) as server:
            client = Triton(server.url)
            await client(IDENTITY, X, within=10)
        for _ in range(20):
            with pytest.raises(Transient):
                await client(IDENTITY, X, within=5)
            await asyncio.sleep(0.1)
        async with ScriptedServer(echo, server.port), asyncio.timeout(20):
            while True:
                try:
                    await client(IDENTITY, X, within=5)
                    break
                except Transient:
                    await asyncio.sleep(0.05)
        await client.close()

    async def test_a_large_tensor_passes(self):
        """64 MB, far over gRPC's usual 4 MB, both ways."""
        async with ScriptedServer(echo) as server:
            client = Triton(server.url)
            answer = await client(IDENTITY, {"x": np.ones((1, 16_000_000), np.float32)}, within=60)
            await client.close()
        assert answer["y"].sum() == 16_000_000


@pytest.fixture(scope="session")
def served(triton: Callable[[Path], RealServer], tmp_path_factory: pytest.TempPathFactory) -> tuple[RealServer, Path]:
    """The real server over tiny models, and their folder."""
    folder = write_repository(tmp_path_factory.mktemp("models"))
    return triton(folder), folder


@pytest.fixture
async def client(served) -> AsyncIterator[Triton]:
    connected = Triton(served[0].addresses.grpc)
    yield connected
    await connected.close()


class TestAgainstTheRealServer:
    """What the real server says is understood."""

    @pytest.mark.parametrize(
        ("name", "dtype"), [("FP32", np.float32), ("UINT8", np.uint8), ("INT64", np.int64), ("FP16", np.float16)]
    )
    async def test_tensors_pass_unchanged(self, client, name, dtype):
        """Every element of every type that detectors use comes back."""
        model = ModelSpec(
            f"identity_{name.lower()}", (TensorSpec("x", name, (-1,)),), (TensorSpec("y", name, (-1,)),), max_batch=8
        )
        sent = (np.arange(24) * 7 % 120).reshape(3, 8).astype(dtype)
        answer = await client(model, {"x": sent}, within=30)
        assert answer["y"].dtype == dtype
        assert np.array_equal(answer["y"], sent)

    async def test_a_model_without_a_batch_dimension_is_asked_as_it_is(self, client):
        """`max_batch` 0: shapes are the model's own."""
        model = ModelSpec(
            "unbatched_max",
            (TensorSpec("x", "FP32", (-1,)), TensorSpec("k", "INT64", (1,))),
            (TensorSpec("values", "FP32", (-1,)),),
        )
        answer = await client(model, {"x": np.array([3, 9, 1], "f4"), "k": np.array([2])}, within=30)
        assert answer["values"].tolist() == [9, 3]

    async def test_it_is_ready(self, client):
        """A server with all models loaded says so."""
        assert await client.server_ready()

    async def test_a_model_that_is_not_loaded_may_come(self, client):
        """The real server's words for an unknown model are transient."""
        unknown = ModelSpec("not_there", IDENTITY.inputs, IDENTITY.outputs, max_batch=8)
        with pytest.raises(Transient, match="not_there"):
            await client(unknown, X, within=30)
        with pytest.raises(Transient, match="not_there"):
            await client.model_metadata("not_there")

    @pytest.mark.parametrize(
        "wrong",
        [
            ModelSpec("add", IDENTITY.inputs, (TensorSpec("sum", "FP32", (-1,)),), max_batch=8),
            ModelSpec("identity_int64", IDENTITY.inputs, IDENTITY.outputs, max_batch=8),
            ModelSpec("unbatched_max", IDENTITY.inputs, IDENTITY.outputs, max_batch=8),
        ],
        ids=["input names", "type", "rank"],
    )
    async def test_what_the_real_server_refuses_is_permanent(self, client, wrong):
        """A detector that does not fit the model on the server is told so, and not asked to try again."""
        with pytest.raises(Permanent):
            await client(wrong, X, within=30)

    async def test_an_error_inside_a_model_may_pass(self, client):
        """The server cannot say whether the request or the model was at fault: not permanent."""
        gather = ModelSpec(
            "gather",
            (TensorSpec("table", "FP32", (-1,)), TensorSpec("index", "INT64", (-1,))),
            (TensorSpec("picked", "FP32", (-1,)),),
            max_batch=8,
        )
        with pytest.raises(Transient):
            await client(gather, {"table": np.zeros((1, 3), "f4"), "index": np.array([[7]])}, within=30)

    @pytest.mark.parametrize("name", [model.name for model in MODELS])
    async def test_the_server_and_the_file_say_the_same_of_a_model(self, client, served, name):
        """Metadata over the wire and config.pbtxt are read into equal models."""
        declared = parse_config((served[1] / name / "config.pbtxt").read_text())
        running = await client.model_metadata(name)
        assert (running.name, running.max_batch) == (name, declared.max_batch)
        assert {spec.name: spec for spec in running.inputs} == {spec.name: spec for spec in declared.inputs}
        assert {spec.name: spec for spec in running.outputs} == {spec.name: spec for spec in declared.outputs}

    async def test_a_killed_server_is_found_again(self, home, tmp_path):
        """Kill -9 in the middle of work is transient; after the restart the same client goes on."""
        folder = write_repository(tmp_path, [model for model in MODELS if model.name == "identity_fp32"])
        with RealServer(folder, home) as server:
            client = Triton(server.addresses.grpc)
            await client(IDENTITY, X, within=30)
            await asyncio.to_thread(server.kill)
            with pytest.raises(Transient):
                await client(IDENTITY, X, within=5)
            assert not await client.server_ready()
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(60):
                while not await client.server_ready():
                    await asyncio.sleep(0.1)
            assert np.array_equal((await client(IDENTITY, X, within=30))["y"], X["x"])
            await client.close()
