"""`unmask banks …` on files, over an SQLite ledger."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import cv2
import pytest
from typer.testing import CliRunner

from pipeline.errors import ConfigError
from pipeline.ledger.ledger import Ledger
from pipeline.match.commands import app
from pipeline.match.flood import Quarantine
from tests.records import decided, routed
from tests.unit.match.made import code, frames
from tests.unit.match.waves import waves

A, B = code(1), code(2)


def run(*words, status=0):
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "banks"
    place.mkdir()
    (place / "banks.yaml").write_text(
        "banks:\n"
        "  - {name: pictures, kind: pdq, files: [a.json, a.txt], mode: live, harm: reported imagery}\n"
        "  - {name: exact, kind: sha256, files: [d.txt], rollout: 0.5}\n"
        "  - {name: videos, kind: vpdq, files: [v.json]}\n"
    )
    (place / "a.json").write_text(json.dumps([{"id": 1, "signals": {"pdq": A.hex(), "md5": "0" * 32}}]))
    (place / "a.txt").write_text("# added by hand")
    (place / "d.txt").touch()
    (place / "v.json").write_text(json.dumps([f"{A.hex()},100,0.0"]))
    monkeypatch.setenv("UNMASK_BANKS_DIR", str(place))
    monkeypatch.setenv("UNMASK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("UNMASK_DATABASE_URL", raising=False)
    return place


@pytest.fixture
def ledger(folder, tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite'}")
    ledger.migrate()
    yield ledger
    ledger.close()


def test_banks_are_listed(folder):
    """For machines and for people."""
    rows = json.loads(run("list", "--json"))
    assert [(row["name"], row["entries"], row["mode"]) for row in rows] == [
        ("pictures", 1, "live"), ("exact", 0, "shadow"), ("videos", 1, "shadow"),
    ]  # fmt: skip
    assert "pictures" in run("list")


def test_check_says_what_cannot_be_read(folder):
    """Status 1, with the line; 0 when all is well, and other kinds are counted."""
    assert json.loads(run("check", "--json"))[0]["ignored"] == {"md5": 1}
    (folder / "a.txt").write_text("pdq oops\n")
    assert "a.txt, line 1" in run("check", status=1)


def test_a_picture_that_was_added_is_known(folder, tmp_path):
    """By its bytes in one bank and by its looks in another, also after recompression."""
    image = waves(240, 320, 7)
    original, copy = tmp_path / "original.png", tmp_path / "copy.jpg"
    cv2.imwrite(str(original), image)
    cv2.imwrite(str(copy), image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    run("lookup", str(copy), status=1)
    run("add", str(original), "--bank", "pictures")
    run("add", str(original), "--bank", "exact")
    assert (folder / "a.txt").read_text().splitlines()[0] == "# added by hand"
    (row,) = json.loads(run("lookup", str(copy), "--json"))
    assert [one["bank"] for one in row["matches"]] == ["pictures"]
    (row,) = json.loads(run("lookup", str(original), "--json"))
    assert {one["bank"] for one in row["matches"]} == {"pictures", "exact"}
    assert (folder / "d.txt").read_text() == f"sha256 {hashlib.sha256(original.read_bytes()).hexdigest()}\n"


def test_a_mirrored_copy_is_known_where_its_mirror_image_was_added(folder, tmp_path):
    """Its hash is another one."""
    image = waves(240, 320, 8)
    original, mirrored = tmp_path / "original.png", tmp_path / "mirrored.png"
    cv2.imwrite(str(original), image)
    cv2.imwrite(str(mirrored), image[:, ::-1])
    run("add", str(original), "--bank", "pictures")
    run("lookup", str(mirrored), status=1)
    run("add", str(original), "--bank", "pictures", "--mirrored")
    run("lookup", str(mirrored))


def test_a_bare_hash_is_looked_up(folder):
    """Within the bank's threshold."""
    (row,) = json.loads(run("lookup", A.hex(), "--json"))
    assert {one["bank"] for one in row["matches"]} == {"pictures", "videos"}
    assert json.loads(run("lookup", B.hex(), "--json", status=1))[0]["matches"] == []
    run("lookup", B.hex(), status=1)


def test_what_cannot_be_added_is_refused(folder, tmp_path):
    """An unknown bank; a bank without a file of lines."""
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), waves(120, 160, 3))
    with pytest.raises(ConfigError, match="no bank 'nothing'"):
        run("add", str(image), "--bank", "nothing")
    with pytest.raises(ConfigError, match="list of lines"):
        run("add", str(image), "--bank", "videos")


def test_a_rescan_shows_what_is_known_now(folder, ledger):
    """From the stored hashes, without the media."""
    event = decided("m1", hashes=frames(A), decided_at=datetime.now(UTC))
    ledger.record_decision(event, *routed(event))
    (hit,) = json.loads(run("rescan", "--since", "1h", "--json"))
    assert (hit["media_id"], hit["round"], hit["matches"][0]["hash_id"]) == ("m1", 2, "1")
    assert "would be opened again" in run("rescan")
    with pytest.raises(ConfigError, match="no length of time"):
        run("rescan", "--since", "yesterday")


def test_a_quarantine_is_shown_and_released(folder, ledger):
    """Status 1 as long as something is quarantined."""
    assert "pictures" in run("status")
    ledger.quarantine([Quarantine("pictures", "1", datetime.now(UTC), 250, "250 different contents")])
    (row, *_) = json.loads(run("status", "--json", status=1))
    assert row["quarantines"][0]["hash_id"] == "1"
    assert json.loads(run("lookup", A.hex(), "--json", status=1))[0]["matches"][0]["live"] is False
    assert "1 released" in run("release", "pictures", "1")
    run("status")
    run("release", "pictures", status=1)


def test_without_the_setting_the_error_names_it(monkeypatch):
    """The operator reads what to set."""
    monkeypatch.delenv("UNMASK_BANKS_DIR", raising=False)
    with pytest.raises(ConfigError, match="UNMASK_BANKS_DIR"):
        run("list")
