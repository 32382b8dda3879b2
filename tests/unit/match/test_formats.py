"""Exchange formats: what is read from each, what is told of the rest, and the way back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.match.banks import Kind
from pipeline.match.formats import Entry, Tally, hma_json, read, tx_csv, tx_lines

A, B, C = (letter * 64 for letter in "abc")


def reading(text, kind=Kind.PDQ):
    tally = Tally()
    return list(read(text, kind, tally)), tally


def hexes(entries):
    return [[code.hex() for code in entry.codes] for entry in entries]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (f"{A}\n{B}\n", ["", ""]),
        (f"# made by hand\n\n  {A.upper()}  \n{B}", ["", ""]),
        (f"pdq {A}\npdq {B}\n", ["", ""]),
        (f"\ufeffpdq {A}\r\nPDQ {B}\r\n", ["", ""]),
        (f"collab,signal_type,signal_str,category,tags\nx,pdq,{A},POSITIVE_CLASS,a b\nx,pdq,{B},,\n", ["", ""]),
        (f"{A},5555555555,2020-07-31T18:47:52+0000,tag1 tag2\n{B},6,2020-07-31,\n", ["5555555555", "6"]),
        (f"{A},100,some/file.jpg\n{B},50,other.jpg\n", ["some/file.jpg", "other.jpg"]),
        (f"hash,quality,filename\n{A},99,a.jpg\n{B},80,b.jpg\n", ["a.jpg", "b.jpg"]),
        (json.dumps([A, B]), ["", ""]),
        (json.dumps({"data": [{"id": 1, "indicator": A, "type": "HASH_PDQ"}, {"id": 2, "indicator": B}]}), ["1", "2"]),
        (json.dumps([{"id": 7, "signals": {"pdq": A}}, {"bank_content_id": 8, "signals": {"pdq": B}}]), ["7", "8"]),
        (json.dumps({"pdq": A, "md5": "0" * 32}) + "\n" + json.dumps({"pdq": B}), ["", ""]),
        (
            json.dumps(
                {
                    "count": 2,
                    "hashRecords": [
                        {"signalType": "ImagePDQ", "hashValue": A, "hashStatus": "Active", "caseNumbers": {}},
                        {"signalType": "ImagePDQ", "hashValue": B, "hashStatus": "Received", "caseNumbers": {}},
                    ],
                }
            ),
            ["", ""],
        ),
    ],
    ids=[
        "bare", "commented", "tx", "windows", "tx csv", "te", "pdq tool", "csv", "json list", "threatexchange", "hma",
        "json lines", "stopncii",
    ],
)  # fmt: skip
def test_every_format_is_read(text, ids):
    """Two hashes in each, with the ids that the source gives."""
    entries, tally = reading(text)
    assert hexes(entries) == [[A], [B]]
    assert [entry.id for entry in entries] == ids
    assert not tally.problems


FRAMES = [f"{A},100,0.000", f"{B},100,1.000", f"{A},100,2.000", f"{C},20,3.000"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(FRAMES),
        "vpdq " + json.dumps(FRAMES),
        json.dumps([{"signals": {"vpdq": FRAMES}}]),
        json.dumps([{"signals": {"vpdq": json.dumps(FRAMES)}}]),
        json.dumps({str(i): dict(zip(("hash", "quality", "timestamp"), (f.split(",")), strict=True))
                    for i, f in enumerate(FRAMES)}),
        "\n".join(f"{i},{f.split(',')[1]},{f.split(',')[0]},{f.split(',')[2]}" for i, f in enumerate(FRAMES)),
    ],
    ids=["json", "tx", "hma", "hma text", "older", "vpdq tool"],
)  # fmt: skip
def test_every_form_of_a_video_is_read(text):
    """Its different frames that are good enough to be compared; the plain one is counted."""
    entries, tally = reading(text, Kind.VPDQ)
    assert hexes(entries) == [[A, B]]
    assert tally.plain == 1
    assert not tally.problems


def test_what_other_banks_take_is_counted_and_not_lost_silently():
    """One export often holds several kinds of hashes."""
    text = f"pdq {A}\nmd5 {'0' * 32}\nsha256 {B}\nvideo_md5 {'1' * 32}\n"
    assert hexes(reading(text)[0]) == [[A]]
    assert reading(text)[1].ignored == {"md5": 1, "sha256": 1, "video_md5": 1}
    assert hexes(reading(text, Kind.SHA256)[0]) == [[B]]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"hashRecords": [{"signalType": "ImagePDQ", "hashValue": A, "hashStatus": "Withdrawn"}]}),
        json.dumps({"hashRecords": [{"signalType": "ImagePDQ", "hashValue": A, "hashStatus": "Deleted"}]}),
        json.dumps([{"id": 1, "indicator": A, "type": "HASH_PDQ", "should_delete": True}]),
        json.dumps([{"hash": A, "enabled": False}]),
    ],
)
def test_what_was_withdrawn_is_no_entry(text):
    """A person who takes a hash back must be able to rely on it."""
    entries, tally = reading(text)
    assert entries == []
    assert tally.withdrawn == 1


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        (f"{A}\nnot a hash\n{B}", "line 2", "no hash of 64"),
        (f"pdq {A}\npdq {A[:-1]}\npdq {B}", "line 2", "no hash of 64"),
        (f"signal_type,signal_str\npdq,{A}\npdq,zz\npdq,{B}\n", "line 3", "no hash of 64"),
        (f"signal_type,signal_str\npdq,{A}\nsmell,zz\npdq,{B}\n", "line 3", "no kind of hash"),
        (json.dumps([A, 3, B]), "record 2", "no record"),
        (json.dumps([A, {"size": 3}, B]), "record 2", "no hash in"),
        (json.dumps({"pdq": A}) + "\n{broken\n" + json.dumps({"pdq": B}), "line 2", "no JSON"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_the_others_count(text, place, why):
    """With its number and what is wrong."""
    entries, tally = reading(text)
    assert hexes(entries) == [[A], [B]]
    (problem,) = tally.problems
    assert problem.place == place
    assert why in problem.why


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("{", Kind.PDQ),
        ('{"data": 3}', Kind.PDQ),
        (json.dumps([f"{A},100,0", "broken"]), Kind.VPDQ),
        (json.dumps([f"{A},10,0"]), Kind.VPDQ),
        ("[" * 100_000, Kind.PDQ),
    ],
)
def test_a_document_that_cannot_be_read_is_a_problem(text, kind):
    """Never an exception, whatever is in the file."""
    assert reading(text, kind)[1].problems


@given(st.text(max_size=300), st.sampled_from(Kind))
def test_any_text_is_read_without_an_exception(text, kind):
    """Files come from strangers."""
    entries, _ = reading(text, kind)
    assert all(len(code) == 32 for entry in entries for code in entry.codes)


CODES = st.binary(min_size=32, max_size=32)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=10).filter(
    lambda name: name.strip() == name
)


@given(st.lists(st.tuples(NAMES, CODES), min_size=1, max_size=5, unique_by=lambda each: each[1]))
def test_what_is_written_is_read_again(pairs):
    """In each format that is written, for each kind; ids where the format has a place for them."""
    for kind in (Kind.PDQ, Kind.SHA256):
        entries = [Entry(name, (code,)) for name, code in pairs]
        assert reading(hma_json(entries, kind), kind)[0] == entries
        assert reading(tx_csv(entries, kind, "bank"), kind)[0] == entries
        assert hexes(reading(tx_lines(entries, kind), kind)[0]) == hexes(entries)
    video = [Entry("v", tuple(code for _, code in pairs))]
    assert reading(hma_json(video, Kind.VPDQ), Kind.VPDQ)[0] == video
    assert reading(tx_csv(video, Kind.VPDQ, "bank"), Kind.VPDQ)[0] == video
    assert hexes(reading(tx_lines(video, Kind.VPDQ), Kind.VPDQ)[0]) == hexes(video)
