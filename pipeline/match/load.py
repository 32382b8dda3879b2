"""banks.yaml and its files → banks. What is compiled from a bank's files is kept, and mapped into memory again.

Raises `ConfigError` for what the operator has to change. A line that cannot be read is no such thing: the rest of the
bank is used, and the line is reported with its number, because one bad line must not switch a bank off.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.match import index
from pipeline.match.banks import Bank, BanksFile, BankSpec, GivenIds, HexIds, Ids, Kind
from pipeline.match.formats import Entry, Tally, read
from pipeline.match.index import Codes, Near, mapped

FILE = "banks.yaml"

_FORMAT = "1"
"""Changes with what is written beside the index."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One bank and what became of its files: the tally of each, and how many entries were given more than once."""

    bank: Bank
    tallies: tuple[tuple[str, Tally], ...]
    repeated: int = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """`file, line 12: why`."""
        return tuple(f"{name}, {problem}" for name, tally in self.tallies for problem in tally.problems)


def specs(folder: Path) -> tuple[BankSpec, ...]:
    """What `folder`/banks.yaml says. Raises ConfigError."""
    path = folder / FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(content, BanksFile).banks
    except OSError as error:
        raise ConfigError(f"banks {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"banks {path}: is not UTF-8 text") from None
    except (yaml.YAMLError, msgspec.ValidationError, RecursionError) as error:
        raise ConfigError(f"banks {path}: {error}") from None


def load(folder: Path, kept: Path, on_problem: Callable[[str, str], None] = lambda *_: None) -> tuple[Bank, ...]:
    """Every bank, ready to be asked; compiled where its files are not the ones that were compiled before.

    Args:
        folder: where banks.yaml lies.
        kept: where compiled banks are kept.
        on_problem: hears (bank, problem) of what could not be read, when a bank is compiled.
    """
    banks = []
    for spec in specs(folder):
        digest = _digest(spec, folder)
        place = kept / f"{spec.name}-{digest}"
        try:
            banks.append(_open(spec, digest, place))
            continue
        except (OSError, ValueError):
            pass  # not compiled yet, or half of it: it is made anew
        reading = compiled(spec, folder, digest)
        for problem in reading.problems:
            on_problem(spec.name, problem)
        _keep(reading.bank, place)
        _forget(kept, spec.name, but=place)
        banks.append(_open(spec, digest, place))
    return tuple(banks)


def changed(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Differs when banks.yaml or a file that it names was changed: cheap enough to be asked every few seconds."""
    names = {FILE} | {name for spec in specs(folder) for name in spec.files}
    stats = [(name, (folder / name).stat()) for name in sorted(names) if (folder / name).is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def compiled(spec: BankSpec, folder: Path, digest: str | None = None) -> Reading:
    """The bank, read from its files. Raises ConfigError when they cannot be read or hold nothing for it."""
    tallies: list[tuple[str, Tally]] = []
    disabled = frozenset(each.lower() for each in spec.disabled)
    codes, names, counts = bytearray(), [], []
    for name in spec.files:
        tally = Tally()
        tallies.append((name, tally))
        for entry in read(_text(spec, folder / name), spec.kind, tally):
            if not _off(entry, disabled):
                codes += b"".join(entry.codes)
                counts.append(len(entry.codes))
                names.append(entry.id)
    if not counts and any(tally.problems for _, tally in tallies):
        worst = next(f"{name}, {tally.problems[0]}" for name, tally in tallies if tally.problems)
        raise ConfigError(f"bank {spec.name!r}: nothing could be read; {worst}")
    rows = np.frombuffer(bytes(codes), np.uint8).reshape(-1, 32)
    bank, repeated = _assembled(spec, rows, names, np.array(counts, np.uint32), digest or _digest(spec, folder))
    return Reading(bank, tuple(tallies), repeated)


def _assembled(
    spec: BankSpec, rows: Codes, names: list[str], counts: NDArray[np.uint32], digest: str
) -> tuple[Bank, int]:
    if spec.kind is Kind.VPDQ:
        owner = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)
        named = [name or f"video-{blake2b(video.tobytes(), digest_size=8).hexdigest()}" for name, video in
                 zip(names, np.split(rows, np.cumsum(counts)[:-1]) if len(counts) else [], strict=True)]  # fmt: skip
        return Bank(spec, digest, index.build(rows), _given(named), owner, counts), 0
    unnamed = np.array([not name for name in names], bool)  # of the same hashes one that has a name comes first
    order = np.lexsort([unnamed, *rows.view(">u8").T[::-1]]) if len(rows) else np.empty(0, np.intp)
    ordered = rows[order]
    first = np.ones(len(ordered), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    unique = np.ascontiguousarray(ordered[first])
    ids: Ids = HexIds(unique)
    if any(names):
        ids = _given([names[i] or rows[i].tobytes().hex() for i in order[first].tolist()])
    near = index.build(unique) if spec.kind is Kind.PDQ else Near(unique)
    return Bank(spec, digest, near, ids), len(rows) - len(unique)


def _off(entry: Entry, disabled: frozenset[str]) -> bool:
    return bool(disabled) and (entry.id.lower() in disabled or any(code.hex() in disabled for code in entry.codes))


def _text(spec: BankSpec, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"bank {spec.name!r}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"bank {spec.name!r}: {path} is not UTF-8 text") from None


def _digest(spec: BankSpec, folder: Path) -> str:
    """Of all that a compiled bank depends on: its kind, what is disabled, its files' bytes."""
    digest = blake2b(f"{_FORMAT} {spec.kind} {sorted(spec.disabled)}".encode(), digest_size=16)
    for name in spec.files:
        try:
            with (folder / name).open("rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
        except OSError as error:
            raise ConfigError(f"bank {spec.name!r}: {folder / name} cannot be read: {error.strerror}") from None
        digest.update(b"\0")
    return digest.hexdigest()


def _given(names: list[str]) -> GivenIds:
    encoded = [name.encode() for name in names]
    ends = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(name) for name in encoded], out=ends[1:])
    return GivenIds(np.frombuffer(b"".join(encoded), np.uint8), ends)


def _keep(bank: Bank, place: Path) -> None:
    """Write it beside, then put it in place at once: another worker may be doing the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(mkdtemp(dir=place.parent, prefix=".compiling-"))
    bank.near.save(beside)
    if isinstance(bank.ids, GivenIds):
        np.save(beside / "names.npy", bank.ids.text)
        np.save(beside / "name-ends.npy", bank.ids.ends)
    if bank.owner is not None and bank.frames is not None:
        np.save(beside / "owner.npy", bank.owner)
        np.save(beside / "frames.npy", bank.frames)
    (beside / "whole").touch()
    try:
        beside.rename(place)
    except OSError:
        if not (place / "whole").exists():
            shutil.rmtree(place, ignore_errors=True)
            beside.rename(place)
        else:
            shutil.rmtree(beside, ignore_errors=True)


def _forget(kept: Path, name: str, but: Path) -> None:
    """Compiled forms of what the bank was before. Who has them mapped keeps them until it lets go."""
    for old in kept.glob(f"{name}-{'[0-9a-f]' * 32}"):
        if old != but:
            shutil.rmtree(old, ignore_errors=True)


def _open(spec: BankSpec, digest: str, place: Path) -> Bank:
    (place / "whole").stat()
    near = index.open_saved(place)
    ids: Ids = HexIds(near.codes)
    if (place / "names.npy").exists():
        ids = GivenIds(mapped(place / "names.npy"), mapped(place / "name-ends.npy"))
    owner = frames = None
    if spec.kind is Kind.VPDQ:
        owner, frames = (mapped(place / f"{name}.npy") for name in ("owner", "frames"))
    return Bank(spec, digest, near, ids, owner, frames)
