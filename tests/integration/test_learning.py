"""Learning from reviews as an operator does it: from the ledger to a head in shadow, live, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec import structs
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.detect.face_forgery import FEATURES, FaceForgery
from pipeline.detect.registry import load
from pipeline.events.values import Action, Family, Signal, SignalStatus
from pipeline.learn.golden import packed
from pipeline.ledger.ledger import Ledger
from tests import records
from tests.integration.conftest import REPOSITORY

HEAD = msgspec.json.decode((REPOSITORY / "models" / "face_forgery" / "swap.json").read_bytes())
WEIGHT = np.array(HEAD["weight"])
ALONG = WEIGHT / np.linalg.norm(WEIGHT)
ACROSS = np.random.default_rng(0).normal(0, 1, FEATURES)
ACROSS -= ALONG * (ACROSS @ ALONG)
ACROSS /= np.linalg.norm(ACROSS)


def faces(count: int, direction: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features whose label shows along a direction; every other one is manipulated."""
    rng = np.random.default_rng(seed)
    fake = np.arange(count) % 2 == 0
    return rng.normal(0, 1, (count, FEATURES)) + np.where(fake, 3.0, -3.0)[:, None] * direction, fake


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with a ledger in which 120 uploads were reviewed, and a golden set."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    for name, value in (("HOME", tmp_path), ("DATABASE_URL", url), ("MODELS_DIR", REPOSITORY / "models")):
        monkeypatch.setenv(f"UNMASK_{name}", str(value))
    ledger = Ledger(url)
    ledger.migrate()
    features, fake = faces(120, ACROSS, 1)
    for number, (row, made) in enumerate(zip(features, fake, strict=True)):
        shadow = Signal(family=Family.FACE_SWAP, status=SignalStatus.SCORED, probability=0.9 if made else 0.1)
        event = records.decided(f"m-{number}", review="faces")
        read_by = (f"{FaceForgery.name}@{FaceForgery.version}",)
        event = structs.replace(
            event,
            versions=structs.replace(event.versions, detectors=read_by),
            decided_at=datetime.now(UTC),
            face_features=row.astype("<f2").tobytes(),
            shadow=(shadow,),
        )
        routed = records.routed(event)
        assert routed.task is not None
        ledger.record_decision(event, routed.task, routed.outcome)
        told = {"confirmed": (Family.FACE_SWAP,)} if made else {"denied": (Family.FACE_SWAP,)}
        review = records.reviewed(routed.task, Action.LIMIT)
        if number < 118:
            ledger.record_review(structs.replace(review, **told))
    ledger.close()
    known, labels = faces(200, ALONG, 2)
    (tmp_path / "golden.npz").write_bytes(packed(known.astype("f2"), labels, np.arange(200).astype(str)))
    return tmp_path


def unmask(*words: object) -> tuple[int, str]:
    """Exit status and what was printed."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_from_reviews_to_a_live_head_and_back(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refit, shadow, compare, live, back: each step by its command, each leaving a sound detectors file."""
    status, told = unmask("models", "refit", "swap", "--golden", home / "golden.npz")
    assert status == 0, told
    assert "may be promoted" in told
    (head,) = (home / "heads").glob("swap-*.json")

    def modes() -> dict[str, str]:
        entries = load(home / "detectors.yaml").entries
        return {e.detector.name: e.mode.value for e in entries if e.detector.name in ("face_forgery", "refitted_faces")}

    assert unmask("models", "promote", "shadow", head)[0] == 0
    assert modes() == {"face_forgery": "live", "refitted_faces": "shadow"}
    status, told = unmask("models", "compare", "--json")
    assert status == 0
    swap = next(each for each in msgspec.json.decode(told) if each["family"] == "face_swap")
    assert (swap["uploads"], swap["reviewed"], swap["areas"][1]) == (120, 118, 1.0)
    assert unmask("models", "promote", "live")[0] == 0
    assert modes() == {"face_forgery": "shadow", "refitted_faces": "live"}
    assert unmask("models", "promote", "back")[0] == 0
    assert modes() == {"face_forgery": "live", "refitted_faces": "shadow"}


def test_open_cases_are_listed_for_another_look(home: Path) -> None:
    """The two uploads that nobody reviewed would be judged again, as round 2."""
    status, told = unmask("models", "rescore", "--json")
    assert status == 0
    assert sorted(msgspec.json.decode(told)) == [["m-118", "faces", 2], ["m-119", "faces", 2]]


def test_a_golden_set_of_another_kind_refuses(home: Path) -> None:
    """When what is certain would be found less, nothing is written and the status says so."""
    known, labels = faces(200, 0.4 * ALONG, 3)
    less = (known - 9 * ACROSS * labels[:, None]).astype("f2")
    (home / "golden.npz").write_bytes(packed(less, labels, np.arange(200).astype(str)))
    status, told = unmask("models", "refit", "swap", "--golden", home / "golden.npz")
    assert status == 1, told
    assert "not promoted" in told
    assert not list((home / "heads").glob("*.json")) if (home / "heads").exists() else True
