"""The same question to the same model is asked once per clip: detectors may share what they look at."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np

from pipeline.detect.port import Infer, ModelSpec, Tensors
from pipeline.errors import Reason, Stage, Transient


class Memo:
    """An `Infer` that remembers answers, for as long as one clip is judged. The answers are shared: read them only."""

    def __init__(self, infer: Infer) -> None:
        self._infer = infer
        self._given: dict[bytes, Tensors] = {}
        self._asking: dict[bytes, asyncio.Lock] = {}

    async def __call__(self, model: ModelSpec, tensors: Tensors, *, within: float) -> Tensors:
        """The answer, perhaps given before. Failures are not remembered: whoever still has time asks again."""
        now = asyncio.get_running_loop().time
        until = now() + within
        key = _key(model, tensors)
        if key in self._given:
            return self._given[key]
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with asyncio.timeout_at(until):
                await lock.acquire()
        except TimeoutError:
            detail = f"{model.name}: no answer within {within:.3g} s"
            raise Transient(Stage.DETECT, Reason.INFERENCE_UNAVAILABLE, detail) from None
        try:
            if key not in self._given:
                self._given[key] = await self._infer(model, tensors, within=until - now())
            return self._given[key]
        finally:
            lock.release()


def _key(model: ModelSpec, tensors: Tensors) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((model.name, [spec.name for spec in model.outputs])).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(repr((name, str(array.dtype), array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
