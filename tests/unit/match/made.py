"""Banks made in memory, as `load` would make them from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.events.values import FrameHash, RuleMode
from pipeline.match.banks import Bank, BankSpec, Kind
from pipeline.match.formats import Entry, hma_json
from pipeline.match.load import compiled


def bank(name: str, codes: Mapping[str, bytes | Sequence[bytes]], kind: Kind = Kind.PDQ, **more: object) -> Bank:
    """A live bank whose entries are `codes`, by id."""
    entries = [Entry(key, (value,) if isinstance(value, bytes) else tuple(value)) for key, value in codes.items()]
    spec = BankSpec(**{"name": name, "kind": kind, "files": ("f",), "mode": RuleMode.LIVE, **more})
    with TemporaryDirectory() as folder:
        (Path(folder) / "f").write_text(hma_json(entries, kind))
        return compiled(spec, Path(folder)).bank


def frames(*codes: bytes, quality: int = 100) -> tuple[FrameHash, ...]:
    """One frame a second."""
    return tuple(FrameHash(at=float(at), pdq=code, quality=quality) for at, code in enumerate(codes))


def code(seed: int) -> bytes:
    """A hash; another seed is about 128 bits away."""
    return bytes((seed * 73 + i * i * 31 + (seed >> (i % 5)) * 101 + i) % 256 for i in range(32))


def turned(value: bytes, bits: int) -> bytes:
    """The same hash with the first `bits` bits turned over."""
    return (int.from_bytes(value) ^ (((1 << bits) - 1) << (256 - bits))).to_bytes(32)
