"""`unmask banks …`: what banks hold, what they know, what floods. Exit status as everywhere: 0, 1 or 2."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from pipeline import log
from pipeline.errors import ConfigError, UnmaskError
from pipeline.events.values import FrameHash, Match
from pipeline.match.banks import Bank, BankSpec, Kind
from pipeline.match.flood import Counted, Quarantine
from pipeline.match.formats import Entry, tx_lines
from pipeline.match.load import FILE, compiled, load, specs
from pipeline.match.match import match
from pipeline.match.pdq import LEAST_QUALITY
from pipeline.moments import is_length, length
from pipeline.settings import Settings

if TYPE_CHECKING:  # slow to load, and every command of `unmask` loads this module
    from pipeline.ledger.ledger import Ledger
    from pipeline.match.hash_files import Hashed

app = typer.Typer(no_args_is_help=True, help="Banks of known content: hashes that others collected.")
out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@dataclass(frozen=True, slots=True)
class _Listed:
    name: str
    kind: str
    mode: str
    entries: int
    rollout: float
    threshold: int
    negative: bool
    harm: str
    version: str


@dataclass(frozen=True, slots=True)
class _Checked:
    bank: str
    entries: int
    repeated: int
    withdrawn: int
    plain: int
    ignored: dict[str, int]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _LookedUp:
    what: str
    sha256: str | None
    hashes: tuple[FrameHash, ...]
    trouble: str
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class _Status:
    bank: str
    mode: str
    window: str
    contents: int
    most: tuple[Counted, ...]
    quarantines: tuple[Quarantine, ...]


@app.command("list")
def list_banks(as_json: AsJson = False) -> None:
    """What banks there are, and what their matches may do."""
    rows = [
        _Listed(
            name=bank.name,
            kind=bank.spec.kind.value,
            mode=bank.spec.mode.value,
            entries=bank.size,
            rollout=bank.spec.rollout,
            threshold=bank.spec.threshold if bank.spec.kind is not Kind.SHA256 else 0,
            negative=bank.spec.negative,
            harm=bank.spec.harm,
            version=bank.version,
        )
        for bank in _load()
    ]
    if as_json:
        _json(rows)
        return
    table = Table("bank", "kind", "mode", "entries", "roll-out", "bits", "harm", "version", title="Banks")
    for row in rows:
        kind = f"{row.kind}, negative" if row.negative else row.kind
        bits = str(row.threshold) if row.kind != Kind.SHA256 else "–"
        table.add_row(row.name, kind, row.mode, f"{row.entries:,}", f"{row.rollout:.0%}", bits, row.harm, row.version)
    out.print(table)


@app.command()
def check(as_json: AsJson = False) -> None:
    """Read every file of every bank anew, and list what cannot be read, line by line; status 1 when something is."""
    folder = _folder()
    rows = [_checked(spec, folder) for spec in specs(folder)]
    if as_json:
        _json(rows)
    else:
        table = Table("bank", "entries", "given twice", "withdrawn", "too plain", "other kinds", "problems")
        for row in rows:
            others = ", ".join(f"{count} {name}" for name, count in row.ignored.items())
            counts = (row.entries, row.repeated, row.withdrawn, row.plain)
            table.add_row(row.bank, *(f"{count:,}" for count in counts), others or "–", str(len(row.problems)))
        out.print(table)
        for row in rows:
            for problem in row.problems:
                out.print(f"[red]{row.bank}[/] {problem}", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if any(row.problems for row in rows) else 0)


def _checked(spec: BankSpec, folder: Path) -> _Checked:
    reading = compiled(spec, folder)
    tallies = [tally for _, tally in reading.tallies]
    ignored: dict[str, int] = {}
    for tally in tallies:
        for name, count in tally.ignored.items():
            ignored[name] = ignored.get(name, 0) + count
    return _Checked(
        bank=spec.name,
        entries=reading.bank.size,
        repeated=reading.repeated,
        withdrawn=sum(tally.withdrawn for tally in tallies),
        plain=sum(tally.plain for tally in tallies),
        ignored=ignored,
        problems=reading.problems,
    )


@app.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="Images, videos or sound files.")],
    bank: Annotated[str, typer.Option(help="The bank that is to know them.")],
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Put in their mirror images too.")] = False,
) -> None:
    """Put the hashes of media into a bank: appended to the first of its files that is a list of lines."""
    folder = _folder()
    spec = next((each for each in specs(folder) if each.name == bank), None)
    if spec is None:
        raise ConfigError(f"no bank {bank!r} in {folder / FILE}")
    place = _appendable(spec, folder)
    media = _hashed(files)
    entries = [_entry(hashed, spec, hashed.hashes) for hashed in media]
    if mirrored and spec.kind is not Kind.SHA256:
        entries += [_entry(hashed, spec, hashed.mirrored) for hashed in media]
    before = place.read_text(encoding="utf-8")
    newline = "" if not before or before.endswith("\n") else "\n"
    with place.open("a", encoding="utf-8") as file:
        file.write(newline + tx_lines(entries, spec.kind))
    out.print(f"{len(entries)} entries with {sum(len(entry.codes) for entry in entries)} hashes written to {place};")
    out.print("`unmask banks rescan` looks for them in recent uploads")


@app.command()
def lookup(
    what: Annotated[list[str], typer.Argument(help="Media files, or PDQ hashes of 64 hexadecimal digits.")],
    as_json: AsJson = False,
) -> None:
    """What the banks know of these; status 1 when nothing counts as a match."""
    banks = _load()
    quarantined = _quarantined()
    hashes = [each for each in what if re.fullmatch(r"[0-9a-fA-F]{64}", each)]
    rows = []
    for code in hashes:
        frame = (FrameHash(at=0.0, pdq=bytes.fromhex(code), quality=100),)
        # A bare hash may be either: a picture's, or the digest of bytes.
        found = match(code.lower(), frame, banks, code, quarantined)
        rows.append(_LookedUp(code, None, frame, "", found))
    for hashed in _hashed([Path(each) for each in what if each not in hashes]):
        found = match(hashed.sha256, hashed.hashes, banks, hashed.path.name, quarantined)
        rows.append(_LookedUp(hashed.path.name, hashed.sha256, hashed.hashes, hashed.trouble, found))
    if as_json:
        _json(rows)
    else:
        table = Table("what", "bank", "known as", "bits", "frames", "counts", "note", title="Known content")
        for row in rows:
            for one in row.matches:
                counts = "[red]yes[/]" if one.live else "no"
                table.add_row(row.what, one.bank, one.hash_id, str(one.distance), f"{one.share:.0%}", counts, one.note)
            if not row.matches:
                table.add_row(row.what, "–", "–", "–", "–", "–", row.trouble or "no bank knows it")
        out.print(table)
    raise typer.Exit(0 if any(one.live for row in rows for one in row.matches) else 1)


@app.command()
def rescan(
    since: Annotated[str, typer.Option(help="How far back: 30m, 12h or 30d.")] = "30d",
    send: Annotated[
        bool, typer.Option("--send", help="Open a new round for each; without it, only show them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for what the banks know now in recent uploads, by their stored hashes."""
    from pipeline.kafka import client_config
    from pipeline.match.rescan import hits, reopen

    banks = _load()
    ledger = _ledger()
    try:
        held = {(each.bank, each.hash_id) for each in ledger.quarantines() if each.holds}
        found = list(hits(ledger.recent_uploads(datetime.now(UTC) - _length(since)), banks, held))
    finally:
        ledger.close()
    if send and found:
        reopen(client_config(Settings()), found)
    if as_json:
        _json([hit for _, hit in found])
        return
    table = Table("upload", "decided", "bank", "known as", "bits", "round", title="Known now")
    for _, hit in found:
        for one in hit.matches:
            decided = f"{hit.decided_at:%Y-%m-%d %H:%M}"
            table.add_row(hit.media_id, decided, one.bank, one.hash_id, str(one.distance), str(hit.round))
    out.print(table)
    what = "were opened again" if send else "would be opened again with --send"
    out.print(f"{len(found)} uploads {what}" if found else "no recent upload is known now that was not before")


@app.command()
def status(as_json: AsJson = False) -> None:
    """How much each bank matches within its window, and what is quarantined; status 1 when something is."""
    now = datetime.now(UTC)
    ledger = _ledger()
    try:
        known = ledger.quarantines()
        rows = [_status(spec, ledger, known, now) for spec in specs(_folder())]
    finally:
        ledger.close()
    if as_json:
        _json(rows)
    else:
        table = Table(
            "bank", "mode", "window", "contents", "most by one hash", "quarantined or reported", title="Banks"
        )
        for row in rows:
            most = f"{row.most[0].contents} by {row.most[0].hash_id}" if row.most else "–"
            held = "\n".join(f"{q.hash_id or 'the whole bank'} ({q.action.value}): {q.reason}" for q in row.quarantines)
            table.add_row(row.bank, row.mode, row.window, f"{row.contents:,}", most, held or "–")
        out.print(table)
    raise typer.Exit(1 if any(row.quarantines for row in rows) else 0)


def _status(spec: BankSpec, ledger: Ledger, known: Iterable[Quarantine], now: datetime) -> _Status:
    counts = ledger.matched_contents(spec.name, now - spec.flood.within)
    each = sorted((one for one in counts if one.hash_id), key=lambda one: (-one.contents, one.hash_id))
    return _Status(
        bank=spec.name,
        mode=spec.mode.value,
        window=spec.flood.window,
        contents=next(one.contents for one in counts if not one.hash_id),
        most=tuple(each[:5]),
        quarantines=tuple(one for one in known if one.bank == spec.name and one.released_at is None),
    )


@app.command()
def release(
    bank: Annotated[str, typer.Argument(help="The bank.")],
    hash_id: Annotated[str | None, typer.Argument(help="One hash; all of the bank when not given.")] = None,
) -> None:
    """End a quarantine: its matches count again. What it matched so far is not held against it."""
    ledger = _ledger()
    try:
        count = ledger.release(bank, hash_id, datetime.now(UTC))
    finally:
        ledger.close()
    out.print(f"{count} released" if count else "nothing of that is quarantined")
    raise typer.Exit(0 if count else 1)


def _folder() -> Path:
    folder = Settings().banks_dir
    if folder is None:
        raise ConfigError(f"there are no banks: set UNMASK_BANKS_DIR to the folder of {FILE}")
    return folder


def _load() -> tuple[Bank, ...]:
    def problem(bank: str, what: str) -> None:
        err.print(f"[yellow]{bank}[/] {what}", highlight=False, soft_wrap=True)

    return load(_folder(), Settings().home / "banks", problem)


def _ledger() -> Ledger:
    from pipeline.ledger.ledger import Ledger

    ledger = Ledger(Settings().ledger_url)
    ledger.migrate()
    return ledger


def _quarantined() -> frozenset[tuple[str, str]]:
    ledger = _ledger()
    try:
        return frozenset((each.bank, each.hash_id) for each in ledger.quarantines() if each.holds)
    finally:
        ledger.close()


def _hashed(files: Sequence[Path]) -> tuple[Hashed, ...]:
    from pipeline.match.hash_files import hash_files

    for path in files:
        if not path.is_file():
            raise UnmaskError(f"no such file: {path}")
    if not files:
        return ()
    log.configure("error", "console")
    return asyncio.run(hash_files(files, Settings()))


def _appendable(spec: BankSpec, folder: Path) -> Path:
    """The bank's first file that is a list of lines without a header; made when it does not exist."""
    for name in spec.files:
        path = folder / name
        if not path.exists():
            path.touch()
            return path
        first = next((line for line in path.read_text(encoding="utf-8").splitlines() if _says_something(line)), "")
        if not first or re.match(rf"({spec.kind.value} |[0-9a-fA-F]{{64}})", first.strip()):
            return path
    raise ConfigError(f"no file of the bank {spec.name!r} is a list of lines; add one to `files` in {FILE}")


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")


def _entry(hashed: Hashed, spec: BankSpec, frames: Sequence[FrameHash]) -> Entry:
    if spec.kind is Kind.SHA256:
        return Entry("", (bytes.fromhex(hashed.sha256),))
    codes = [each.pdq for each in frames if each.quality >= LEAST_QUALITY]
    if not codes:
        raise UnmaskError(f"{hashed.path.name}: {hashed.trouble or 'too plain to be compared, or no picture'}")
    if spec.kind is Kind.PDQ and len(frames) > 1:
        raise UnmaskError(f"{hashed.path.name}: has many frames; a video goes into a bank of kind vpdq")
    return Entry("", tuple(dict.fromkeys(codes)))


def _length(text: str) -> timedelta:
    if not is_length(text):
        raise ConfigError(f"{text!r} is no length of time: 30m, 12h or 30d")
    return length(text)


def _json(value: object) -> None:
    out.print_json(msgspec.json.encode(value, enc_hook=str).decode())
