"""Local files → what banks compare, through the same sandboxed decoder as on the stream."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.decode.pool import DecodePool
from pipeline.decode.port import DecodeBudget
from pipeline.detect.known_content import frame_hashes
from pipeline.errors import ItemError
from pipeline.events.values import FrameHash, MediaKind
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Hashed:
    """One file. `mirrored`: of the same frames, left and right exchanged; a mirrored copy has quite another hash.
    `trouble`: why it could not be decoded; its bytes still have a digest."""

    path: Path
    sha256: str
    kind: MediaKind | None = None
    hashes: tuple[FrameHash, ...] = ()
    mirrored: tuple[FrameHash, ...] = ()
    trouble: str = ""


async def hash_files(paths: Sequence[Path], settings: Settings) -> tuple[Hashed, ...]:
    """Every file's digest and hashes, with the frame budget that uploads have. Raises OSError."""
    budget = DecodeBudget(
        frames=settings.decode_frames,
        max_side=settings.decode_max_side,
        wall_seconds=settings.decode_wall_seconds,
        memory_bytes=settings.decode_memory_bytes,
    )
    real = [path.resolve() for path in paths]
    async with DecodePool(1, budget) as decode:
        return tuple([await _hashed(path, decode) for path in real])


async def _hashed(path: Path, decode: DecodePool) -> Hashed:
    sha256 = await asyncio.to_thread(_digest, path)
    try:
        clip = await decode(path)
    except ItemError as error:
        return Hashed(path, sha256, trouble=str(error))
    turned = tuple(replace(frame, image=np.ascontiguousarray(frame.image[:, ::-1])) for frame in clip.keyframes)
    hashes, mirrored = [await asyncio.to_thread(frame_hashes, each) for each in (clip, replace(clip, keyframes=turned))]
    return Hashed(path, sha256, clip.facts.kind, hashes, mirrored)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
