"""Near copies become one case."""

from __future__ import annotations

from uuid import UUID

import numpy as np

from pipeline.events.values import FrameHash
from pipeline.review.gather import Cases, Waiting

RANDOM = np.random.default_rng(5)


def code() -> bytes:
    """A hash that is far from any other."""
    return RANDOM.integers(0, 256, 32, dtype=np.uint8).tobytes()


def near(of: bytes, bits: int) -> bytes:
    """The same, with so many bits turned."""
    flags = np.unpackbits(np.frombuffer(of, np.uint8))
    flags[:bits] ^= 1
    return np.packbits(flags).tobytes()


def waiting(number: int, *codes: bytes, sha256: str | None = None, queue: str = "faces", quality: int = 100) -> Waiting:
    """An open task."""
    frames = tuple(FrameHash(at=float(i), pdq=pdq, quality=quality) for i, pdq in enumerate(codes))
    return Waiting(UUID(int=number), queue, "fraud", sha256, frames)


def test_same_bytes_and_near_pictures() -> None:
    """The first one names the case; 31 bits apart is a copy, 40 is not; another queue is another case."""
    cases, picture = Cases(), code()
    first = waiting(1, picture, sha256="a")
    assert cases.of(first) == first.task_id
    assert cases.of(waiting(2, code(), sha256="a")) == first.task_id
    assert cases.of(waiting(3, near(picture, 31))) == first.task_id
    assert cases.of(waiting(4, near(picture, 40))) == UUID(int=4)
    assert cases.of(waiting(5, picture, queue="triage")) == UUID(int=5)
    assert cases.of(waiting(6)) == UUID(int=6)


def test_each_must_be_found_in_the_other() -> None:
    """An excerpt is not settled with the whole, which may be manipulated in the rest; nor the whole with it."""
    frames = [code() for _ in range(10)]
    cases = Cases()
    whole = cases.of(waiting(1, *frames))
    assert cases.of(waiting(2, *frames[:4])) != whole
    assert cases.of(waiting(3, *frames, *[code() for _ in range(6)])) != whole
    assert cases.of(waiting(4, *[near(frame, 9) for frame in frames[:9]], code())) == whole


def test_plain_pictures_are_not_compared() -> None:
    """A black frame is like any other: such a hash says nothing."""
    cases, picture = Cases(), code()
    cases.of(waiting(1, picture, quality=10))
    assert cases.of(waiting(2, picture, quality=10)) == UUID(int=2)


def test_cases_are_made_anew_from_what_is_on_record() -> None:
    """After a restart a copy still finds its case."""
    cases, picture = Cases(), code()
    cases.known(waiting(1, picture), UUID(int=77))
    assert cases.of(waiting(2, near(picture, 5))) == UUID(int=77)
