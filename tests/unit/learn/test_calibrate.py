"""Calibrating: probabilities come to mean what they say, and doubt is where it must be."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.calibration import NONE, Calibration, FamilyCalibration, Isotonic, Platt
from pipeline.errors import ConfigError
from pipeline.events.values import Family
from pipeline.learn.calibrate import calibrate, calibration_error, conformal_band, isotonic
from pipeline.learn.scores import Level, ScoreRow, read_scores, write_scores

SWAP = Family.FACE_SWAP


def rows(count: int, seed: int = 0, apart: float = 2.0, kind: str = "image", **changed) -> list[ScoreRow]:
    """Scores of a detector that is far too sure: log-odds three times as large as they should be."""
    rng = np.random.default_rng(seed)
    fake = np.arange(count) % 3 == 0
    logits = 3 * (rng.normal(0, 1, count) + np.where(fake, apart / 2, -apart / 2))
    return [
        ScoreRow(
            file=f"{kind}-{seed}-{i}",
            fake=bool(fake[i]),
            made="face_swap" if fake[i] else "",
            source=f"s{i % 4}",
            signal=SWAP,
            level=Level.UPLOAD,
            status="scored",
            score=float(1 / (1 + np.exp(-logits[i]))),
            probability=None,
            kind=kind,
            side=700,
            **changed,
        )
        for i in range(count)
    ]


def applied(made: Calibration, unseen: list[ScoreRow]) -> tuple[np.ndarray, np.ndarray]:
    curve = made.families[SWAP].curve
    return np.array([curve(row.score) for row in unseen]), np.array([row.fake for row in unseen])


@pytest.mark.parametrize("count", [200, 3000])
def test_probabilities_mean_what_they_say_on_items_that_were_not_seen(count):
    """The error on fresh items falls to a few per cent, by Platt's curve for few items and an isotonic one for many."""
    made, (fitted,) = calibrate(rows(count), NONE, name="test")
    probabilities, fake = applied(made, rows(2000, seed=1))
    assert isinstance(made.families[SWAP].curve, Platt if count == 200 else Isotonic)
    assert fitted.error_before > 0.06
    assert calibration_error(probabilities, fake, np.ones(len(fake))) < 0.06


def test_the_odds_that_are_asked_for():
    """At odds of one in a hundred the same score is worth less."""
    even, _ = calibrate(rows(300), NONE, name="test", odds=0.5)
    rare, _ = calibrate(rows(300), NONE, name="test", odds=0.01)
    assert rare.families[SWAP].curve(0.5) < even.families[SWAP].curve(0.5) / 5


def test_the_band_keeps_its_promise_on_fresh_items():
    """No more than the stated share of genuine items lies above it, of manipulated ones below, averaged over draws."""
    above, below = [], []
    for seed in range(20):
        made, _ = calibrate(rows(200, seed=seed), NONE, name="test", error_rate=0.1)
        probabilities, fake = applied(made, rows(400, seed=seed + 100))
        band = made.families[SWAP].abstain
        assert band is not None
        above.append((probabilities[~fake] >= band.high).mean())
        below.append((probabilities[fake] < band.low).mean())
    assert np.mean(above) <= 0.12
    assert np.mean(below) <= 0.12


def test_too_few_items_promise_nothing():
    """Ten genuine items cannot show that one in a hundred is wrong: the band reaches the end."""
    band = conformal_band(np.linspace(0, 0.3, 10), np.arange(10) < 0, 0.01, 0.01)
    assert band is not None
    assert band.high == 1.0


def test_a_family_near_chance_is_a_hint():
    """A detector that tells nothing apart is called advisory; one that does is not."""
    assert calibrate(rows(300, apart=0.0), NONE, name="test")[0].families[SWAP].advisory
    assert not calibrate(rows(300, apart=3.0), NONE, name="test")[0].families[SWAP].advisory


def test_a_kind_of_media_with_enough_items_has_its_own_curve():
    """Videos whose scores lie lower than those of stills are calibrated by themselves."""
    made, _ = calibrate([*rows(300), *rows(300, seed=5, kind="video", apart=1.0)], NONE, name="test")
    assert {kind.value for stratum in made.families[SWAP].strata for kind in stratum.kinds} == {"image", "video"}


def test_what_says_too_little_is_left_as_it_is():
    """A family without scores keeps the base's calibration; nothing at all is an error."""
    base = Calibration(name="base", families={Family.NUDITY: FamilyCalibration(curve=Platt(slope=2.0))})
    made, _ = calibrate(rows(100), base, name="test")
    assert made.families[Family.NUDITY] == base.families[Family.NUDITY]
    with pytest.raises(ConfigError, match="nothing can be calibrated"):
        calibrate(rows(12), base, name="test")


def test_other_manipulations_say_nothing():
    """A cloned voice is neither a face swap nor a genuine face."""
    others = [row for row in rows(300, seed=3, apart=-9.0) if row.fake]
    others = [ScoreRow(**{**{f: getattr(r, f) for f in r.__slots__}, "made": "voice_clone"}) for r in others]
    assert (
        calibrate([*rows(300), *others], NONE, name="test")[0].families
        == calibrate(rows(300), NONE, name="test")[0].families
    )


def test_isotonic_curves_rise():
    """Whatever the labels, the points go up."""
    rng = np.random.default_rng(0)
    curve = isotonic(rng.random(500), rng.random(500) < 0.3, np.ones(500))
    assert len(curve.points) >= 2


def test_scores_survive_their_file(tmp_path):
    """What is written is read again, to the last digit."""
    some = tuple(rows(30, at=1.25, variant="jpeg-60"))
    write_scores(tmp_path / "scores.csv", some)
    assert read_scores(tmp_path / "scores.csv") == some


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file,score\na,1\n", "no column signal"),
        ("file,label,signal,score\na,real,face_swap,2\n", r"line 2: 2 is no score"),
        ("file,label,signal,score\na,odd,face_swap,0.5\n", r"line 2: `label` is real or fake"),
        ("file,label,signal,score\na,real,face_swop,0.5\n", "line 2: "),
    ],
)
def test_bad_files_are_refused_with_the_line(tmp_path, text, complaint):
    """The operator is told what to change, and where."""
    path = tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_scores(path)
