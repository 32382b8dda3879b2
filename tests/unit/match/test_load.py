"""banks.yaml and its files → banks."""

from __future__ import annotations

import shutil

import pytest

from pipeline.errors import ConfigError
from pipeline.match.banks import Kind
from pipeline.match.index import SCANNED
from pipeline.match.load import changed, compiled, load, specs
from pipeline.match.match import match
from tests.unit.match.made import code, frames

A, B, C = (code(seed) for seed in (1, 2, 3))
SHA = "ab" * 32


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "banks.yaml").write_text(
        "banks:\n"
        "  - {name: pictures, kind: pdq, files: [a.txt, b.json], mode: live}\n"
        "  - {name: videos, kind: vpdq, files: [v.txt], mode: live}\n"
        "  - {name: exact, kind: sha256, files: [a.txt, d.txt], mode: live}\n"
    )
    (tmp_path / "a.txt").write_text(f"pdq {A.hex()}\npdq {B.hex()}\n")
    (tmp_path / "b.json").write_text(f'[{{"id": "b-in-json", "signals": {{"pdq": "{B.hex()}"}}}}]')
    (tmp_path / "v.txt").write_text(f'vpdq ["{A.hex()},100,0.0","{C.hex()},100,1.0"]\n')
    (tmp_path / "d.txt").write_text(SHA + "\n")
    return tmp_path


def test_banks_are_loaded_and_know_what_is_in_their_files(folder):
    """Each of its kind; what is given twice is there once, under the name that it has somewhere."""
    pictures, videos, exact = load(folder, folder / "kept")
    assert (pictures.size, videos.size, exact.size) == (2, 1, 1)
    assert {one.hash_id for one in match(SHA, frames(B), [pictures], "m")} == {"b-in-json"}
    (video,) = match(SHA, frames(A, C), [videos], "m")
    assert video.hash_id.startswith("video-")
    assert video.share == 1.0
    assert match(SHA, (), [exact], "m")[0].hash_id == SHA


def test_what_was_compiled_is_used_again(folder, monkeypatch):
    """A worker that starts reads no file line by line."""
    before = [bank.version for bank in load(folder, folder / "kept")]
    monkeypatch.setattr("pipeline.match.load.compiled", None)
    assert [bank.version for bank in load(folder, folder / "kept")] == before


def test_a_changed_file_is_a_new_version_of_its_bank_alone(folder):
    """The old compiled form goes."""
    before = load(folder, folder / "kept")
    mark = changed(folder)
    (folder / "a.txt").write_text(f"pdq {C.hex()}\n")
    assert changed(folder) != mark
    after = load(folder, folder / "kept")
    assert [old.version == new.version for old, new in zip(before, after, strict=True)] == [False, True, False]
    assert match(SHA, frames(C), after[:1], "m")
    assert len(list((folder / "kept").glob("pictures-*"))) == 1
    assert match(SHA, frames(A), before[:1], "m")  # who has it open keeps it


def test_a_half_written_compiled_bank_is_made_anew(folder):
    """A process may die at any point."""
    load(folder, folder / "kept")
    (place,) = (folder / "kept").glob("pictures-*")
    (place / "whole").unlink()
    (place / "codes.npy").write_bytes(b"")
    assert load(folder, folder / "kept")[0].size == 2


def test_a_bank_of_many_hashes_has_tables_and_opens_again(folder):
    """Digests need none."""
    many = "".join(f"{i:064x}\n" for i in range(SCANNED + 10))
    for name in ("a.txt", "d.txt"):
        (folder / name).write_text(many)
    for _ in range(2):
        pictures, _, exact = load(folder, folder / "kept")
        assert pictures.near.pieces
        assert not exact.near.pieces
        assert match(f"{SCANNED:064x}", (), [exact], "m")[0].hash_id == f"{SCANNED:064x}"


def test_disabled_hashes_are_left_out(folder):
    """By id or by hash."""
    (spec, *_) = specs(folder)
    text = (folder / "banks.yaml").read_text().replace("mode: live}", f"mode: live, disabled: [{A.hex()}]}}", 1)
    (folder / "banks.yaml").write_text(text)
    assert not match(SHA, frames(A), load(folder, folder / "kept")[:1], "m")
    assert match(SHA, frames(A), [compiled(spec, folder).bank], "m")


def test_lines_that_cannot_be_read_are_told_and_the_rest_is_used(folder):
    """With bank, file and line."""
    (folder / "a.txt").write_text(f"pdq {A.hex()}\npdq oops\n")
    told = []
    banks = load(folder, folder / "kept", lambda bank, problem: told.append((bank, problem)))
    assert banks[0].size == 2
    assert [(bank, problem.split(":")[0]) for bank, problem in told] == [("pictures", "a.txt, line 2")]


def test_an_empty_bank_is_a_bank(folder):
    """A new bank may wait for its first hash."""
    for name in ("a.txt", "v.txt", "d.txt"):
        (folder / name).write_text("# nothing yet\n")
    (folder / "b.json").write_text("[]")
    for _ in range(2):
        banks = load(folder, folder / "kept")
        assert [bank.size for bank in banks] == [0, 0, 0]
        assert match(SHA, frames(A), banks, "m") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("banks: [", "banks.yaml"),
        ("banks: []", "length >= 1"),
        ("banks: [{name: a, kind: pdq, files: []}]", "length >= 1"),
        ("banks: [{name: A b, kind: pdq, files: [x]}]", "name"),
        ("banks: [{name: a, kind: md5, files: [x]}]", "md5"),
        ("banks: [{name: a, kind: pdq, files: [x], treshold: 3}]", "treshold"),
        ("banks: [{name: a, kind: pdq, files: [x], threshold: 65}]", "<= 64"),
        ("banks: [{name: a, kind: pdq, files: [x], query_share: 0.5}]", "vpdq banks"),
        ("banks: [{name: a, kind: sha256, files: [x], threshold: 3}]", "vpdq banks"),
        ("banks: [{name: a, kind: pdq, files: [x]}, {name: a, kind: pdq, files: [x]}]", "twice"),
        ("banks: [{name: a, kind: pdq, files: [x], rollout: 2}]", "rollout"),
        ("banks: [{name: a, kind: pdq, files: [missing.txt]}]", "missing.txt"),
        ("banks: [{name: a, kind: pdq, files: [bad.txt]}]", "bad.txt, line 1"),
        ("banks: [{name: a, kind: pdq, files: [bytes.txt]}]", "UTF-8"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, why):
    """The operator reads what to change."""
    (tmp_path / "banks.yaml").write_text(text)
    (tmp_path / "x").touch()
    (tmp_path / "bad.txt").write_text("nothing but prose\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=why):
        load(tmp_path, tmp_path / "kept")


def test_without_the_file_the_error_names_it(tmp_path):
    """As after a typing mistake in the setting."""
    with pytest.raises(ConfigError, match=r"banks\.yaml"):
        load(tmp_path, tmp_path / "kept")
    shutil.rmtree(tmp_path / "kept", ignore_errors=True)


def test_begin_in_shadow(tmp_path):
    """A bank that does not say so decides nothing."""
    (tmp_path / "banks.yaml").write_text("banks: [{name: a, kind: pdq, files: [x]}]")
    (spec,) = specs(tmp_path)
    assert spec.mode.value == "shadow"
    assert spec.kind is Kind.PDQ
