"""Exchange formats → entries, and back. Told by content, not by the file's name.

Lines (comments begin with `#`):
- a hash; `pdq HASH` (a local file of ThreatExchange's `tx`); a vPDQ list in JSON
- CSV with a header: `tx dataset --csv` (signal_type, signal_str, …) and others with such columns; and without one:
  `HASH,ID,…` (ThreatExchange's .te files) or `HASH,QUALITY,NAME` (the PDQ tools)
- `FRAME,QUALITY,HASH,SECONDS`: the vPDQ tools; the whole file is one video

JSON (a document, or one per line):
- StopNCII's `hashRecords`; ThreatExchange's `data` and `threat_updates` (indicator, type); HMA's bank contents
  (`signals`) and hashes (`{"pdq": …}`); a vPDQ list (`"HASH,QUALITY,SECONDS"`) or its older form with frame numbers

What another kind of bank would take is counted as ignored, what was withdrawn as withdrawn, and what cannot be read is
a problem with its place: nothing is dropped without a word.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipeline.match.banks import Kind
from pipeline.match.pdq import LEAST_QUALITY

_HEX = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_NAMES = {
    "pdq": Kind.PDQ,
    "hash_pdq": Kind.PDQ,
    "imagepdq": Kind.PDQ,
    "sha256": Kind.SHA256,
    "hash_sha256": Kind.SHA256,
    "vpdq": Kind.VPDQ,
    "video_vpdq": Kind.VPDQ,
    "hash_video_vpdq": Kind.VPDQ,
}
"""What the exchanges call the kinds, in lower case."""

_OTHERS = frozenset(
    {"md5", "sha1", "pdna", "photodna", "tmk", "hash_md5", "hash_sha1", "hash_tmk", "hash_video_md5"}
    | {"videomd5", "videotmk", "video_md5", "video_tmk_pdqf", "pdq_ocr", "url", "raw_text", "text", "trend_query"}
    | {"unknown"}
)
"""Kinds that exchanges hold and no bank here takes."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
"""What follows an id in a .te file, where the PDQ tools have a name after the quality."""

_HASH_FIELDS = ("signal_str", "signal_value", "hashvalue", "hash_value", "indicator", "hash", "signal")
_KIND_FIELDS = ("signal_type", "signaltype", "hash_type", "type")
_ID_FIELDS = ("bank_content_id", "content_id", "hash_id", "indicator_id", "id", "name", "filename")
_STATUS_FIELDS = ("hashstatus", "status", "should_delete", "enabled")
_GONE = frozenset({"withdrawn", "deleted", "true", "disabled"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One hash, or the frames of one video. `id` is empty where the source names none. `codes`: 32 bytes each."""

    id: str
    codes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What could not be read, and where: `line 12` or `record 3`."""

    place: str
    why: str

    def __str__(self) -> str:
        return f"{self.place}: {self.why}"


@dataclass(slots=True)
class Tally:
    """What became of what is no entry. `ignored`: by the name of its kind."""

    problems: list[Problem] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    withdrawn: int = 0
    plain: int = 0


def read(text: str, kind: Kind, tally: Tally) -> Iterator[Entry]:
    """The entries of `text` for a bank of this kind; what is none of them is written into `tally`."""
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        yield from _json(text.lstrip("\ufeff"), kind, tally)
    else:
        yield from _lines(text.lstrip("\ufeff").splitlines(), kind, tally)


# --- lines ------------------------------------------------------------------------------------------------------------


def _lines(lines: Iterable[str], kind: Kind, tally: Tally) -> Iterator[Entry]:
    header: list[str] | None = None
    video: list[bytes] = []
    first = True
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        place = f"line {number}"
        if first:
            first = False
            if header := _header(line):
                continue
        if header is not None:
            yield from _record(dict(zip(header, _cells(line), strict=False)), kind, place, tally)
        elif (frame := _frame(line)) is not None:
            video += _kept([frame], tally)
        else:
            yield from _line(line, kind, place, tally)
    if video:
        yield from _entry("", video, Kind.VPDQ, kind, "the file", tally)


def _header(line: str) -> list[str] | None:
    cells = [cell.strip().lower() for cell in _cells(line)]
    return cells if len(cells) > 1 and any(cell in _HASH_FIELDS for cell in cells) else None


def _cells(line: str) -> list[str]:
    return next(csv.reader([line]))


def _frame(line: str) -> tuple[str, int] | None:
    """`FRAME,QUALITY,HASH,SECONDS`."""
    found = re.fullmatch(r"\d+,\s*(\d+),\s*([0-9a-fA-F]{64}),\s*[0-9.]+", line)
    return (found[2], int(found[1])) if found else None


def _line(line: str, kind: Kind, place: str, tally: Tally) -> Iterator[Entry]:
    named, _, rest = line.partition(" ")
    if rest and (named.lower() in _NAMES or named.lower() in _OTHERS):
        yield from _value(named, rest.strip(), "", kind, place, tally)
        return
    value, *more = _cells(line)
    if not _HEX.fullmatch(value.strip()):
        tally.problems.append(Problem(place, f"no hash of 64 hexadecimal digits: {_short(line)}"))
        return
    if len(more) > 1 and _is_quality(more[0]) and more[1].strip() and not _DATE.match(more[1].strip()):
        if int(more[0]) < LEAST_QUALITY and kind is Kind.PDQ:
            tally.plain += 1
            return
        more = more[1:]
    name = more[0].strip() if more else ""
    yield from _entry(name, [bytes.fromhex(value.strip())], None, kind, place, tally)


def _is_quality(cell: str) -> bool:
    return re.fullmatch(r"\s*\d{1,3}\s*", cell) is not None and int(cell) <= 100


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json(text: str, kind: Kind, tally: Tally) -> Iterator[Entry]:
    try:
        documents = [("", msgspec.json.decode(text))]
    except (msgspec.DecodeError, RecursionError) as error:
        lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
        documents = []
        for number, line in lines:
            try:
                documents.append((f"line {number}", msgspec.json.decode(line)))
            except (msgspec.DecodeError, RecursionError):
                tally.problems.append(Problem(f"line {number}", f"no JSON: {_short(line)}"))
        if not documents:
            tally.problems[:] = [Problem("the file", f"no JSON: {error}")]
    for place, document in documents:
        yield from _document(document, kind, place, tally)


def _document(document: Any, kind: Kind, place: str, tally: Tally) -> Iterator[Entry]:
    if frames := _video(document):
        yield from _frames_entry("", frames, kind, place or "the document", tally)
        return
    records = document
    if isinstance(document, dict):
        records = next(
            (document[key] for key in ("hashRecords", "data", "content", "contents", "hashes") if key in document),
            [document],
        )
    if isinstance(records, dict):  # older threat updates: indicator → record
        records = list(records.values())
    if not isinstance(records, list):
        tally.problems.append(Problem(place or "the document", "no list of records"))
        return
    for number, record in enumerate(records, 1):
        here = place if place and len(records) == 1 else f"{place}{', ' if place else ''}record {number}"
        if isinstance(record, dict):
            yield from _record({str(key).lower(): value for key, value in record.items()}, kind, here, tally)
        elif isinstance(record, str):
            yield from _line(record.strip(), kind, here, tally)
        elif frames := _video(record):
            yield from _frames_entry("", frames, kind, here, tally)
        else:
            tally.problems.append(Problem(here, f"no record: {_short(str(record))}"))


def _record(record: Mapping[str, Any], kind: Kind, place: str, tally: Tally) -> Iterator[Entry]:
    """One record with named fields, in lower case."""
    name = next((str(record[key]) for key in _ID_FIELDS if record.get(key) not in (None, "")), "")
    if any(str(record.get(key, "")).lower() in _GONE and key != "enabled" for key in _STATUS_FIELDS) or (
        str(record.get("enabled", "")).lower() == "false"
    ):
        tally.withdrawn += 1
        return
    signals = record.get("signals")
    if isinstance(signals, dict):
        for kind_name, value in signals.items():
            yield from _value(str(kind_name), value, name, kind, place, tally)
        return
    value = next((record[key] for key in _HASH_FIELDS if record.get(key) not in (None, "")), None)
    if value is None:
        named = {key: each for key, each in record.items() if key in _NAMES or key in _OTHERS}
        for kind_name, each in named.items():
            yield from _value(kind_name, each, name, kind, place, tally)
        if not named:
            tally.problems.append(Problem(place, f"no hash in {_short(str(dict(record)))}"))
        return
    kind_name = next((str(record[key]) for key in _KIND_FIELDS if record.get(key)), kind.value)
    quality = str(record.get("quality", ""))
    if kind is Kind.PDQ and quality.isdigit() and int(quality) < LEAST_QUALITY:
        tally.plain += 1
        return
    yield from _value(kind_name, value, name, kind, place, tally)


def _value(kind_name: str, value: Any, name: str, wanted: Kind, place: str, tally: Tally) -> Iterator[Entry]:
    """A hash whose kind is named."""
    kind = _NAMES.get(kind_name.lower())
    if kind is None and kind_name.lower() not in _OTHERS:
        tally.problems.append(Problem(place, f"{_short(kind_name)} is no kind of hash that is known here"))
    elif kind is not wanted:
        tally.ignored[kind_name.lower()] += 1
    elif kind is Kind.VPDQ:
        yield from _videos(value, name, place, tally)
    elif not (isinstance(value, str) and _HEX.fullmatch(value.strip())):
        tally.problems.append(Problem(place, f"no hash of 64 hexadecimal digits: {_short(str(value))}"))
    else:
        yield from _entry(name, [bytes.fromhex(value.strip())], kind, wanted, place, tally)


def _videos(value: Any, name: str, place: str, tally: Tally) -> Iterator[Entry]:
    """A vPDQ value, which some sources put into a string."""
    try:
        document = msgspec.json.decode(value) if isinstance(value, str) else value
    except msgspec.DecodeError:
        document = None
    if frames := _video(document):
        yield from _frames_entry(name, frames, Kind.VPDQ, place, tally)
    else:
        tally.problems.append(Problem(place, f"no vPDQ list: {_short(str(value))}"))


_Frame = tuple[str, int]


def _video(document: Any) -> list[_Frame | str] | None:
    """The frames, when this is a vPDQ value; a frame that cannot be read is left as its text."""
    if isinstance(document, list) and document and isinstance(document[0], str) and document[0].count(",") == 2:
        return [_feature(str(each)) for each in document]
    if isinstance(document, dict) and document:
        frames = list(document.values())
        if all(str(key).isdigit() for key in document) and all(isinstance(frame, dict) for frame in frames):
            return [
                _feature(f"{frame.get('hash')},{frame.get('quality')},{frame.get('timestamp')}") for frame in frames
            ]
    return None


def _feature(text: str) -> _Frame | str:
    found = re.fullmatch(r"\s*([0-9a-fA-F]{64}),\s*(\d{1,3}),\s*[0-9.eE+-]+\s*", text)
    return (found[1], int(found[2])) if found and int(found[2]) <= 100 else text


def _frames_entry(name: str, frames: list[_Frame | str], wanted: Kind, place: str, tally: Tally) -> Iterator[Entry]:
    sound = []
    for number, frame in enumerate(frames, 1):
        if isinstance(frame, str):
            tally.problems.append(Problem(f"{place}, frame {number}", f"no vPDQ frame: {_short(frame)}"))
        else:
            sound.append(frame)
    yield from _entry(name, _kept(sound, tally), Kind.VPDQ, wanted, place, tally)


def _kept(frames: Iterable[_Frame], tally: Tally) -> list[bytes]:
    """The frames that are good enough to be compared."""
    kept = []
    for value, quality in frames:
        if quality < LEAST_QUALITY:
            tally.plain += 1
        else:
            kept.append(bytes.fromhex(value))
    return kept


def _entry(name: str, codes: list[bytes], kind: Kind | None, wanted: Kind, place: str, tally: Tally) -> Iterator[Entry]:
    """`kind` None: a bare hash, which is what the bank takes; a bare one in a vPDQ bank is a video of one frame."""
    if kind is not None and kind is not wanted:
        tally.ignored[kind.value] += 1
    elif not codes:
        tally.problems.append(Problem(place, "no frame is good enough to be compared"))
    else:
        yield Entry(name, tuple(dict.fromkeys(codes)))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


# --- back -------------------------------------------------------------------------------------------------------------


def tx_lines(entries: Iterable[Entry], kind: Kind) -> str:
    """A local file of `tx`: `pdq HASH` a line; of a video its vPDQ list."""
    return "".join(f"{kind.value} {_text(entry, kind)}\n" for entry in entries)


def tx_csv(entries: Iterable[Entry], kind: Kind, bank: str) -> str:
    """What `tx dataset --print-signals --csv` prints, with the ids in a column of their own."""
    rows = [["collab", "signal_type", "signal_str", "category", "tags", "id"]]
    rows += [[bank, kind.value, _text(entry, kind), "POSITIVE_CLASS", "", entry.id] for entry in entries]
    return "".join(",".join(_quoted(cell) for cell in row) + "\n" for row in rows)


def hma_json(entries: Iterable[Entry], kind: Kind) -> str:
    """Contents of an HMA bank: a list of `{"id": …, "signals": {"pdq": …}}`."""
    contents = [{"id": entry.id, "signals": {kind.value: _text(entry, kind)}} for entry in entries]
    return msgspec.json.format(msgspec.json.encode(contents), indent=1).decode() + "\n"


def _text(entry: Entry, kind: Kind) -> str:
    if kind is not Kind.VPDQ:
        return entry.codes[0].hex()
    frames = [f"{code.hex()},100,{number:.3f}" for number, code in enumerate(entry.codes)]
    return msgspec.json.encode(frames).decode()


def _quoted(cell: str) -> str:
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if any(mark in cell for mark in ',"\n') else cell
