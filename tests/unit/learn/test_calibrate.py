"""Calibrating: probabilities come to mean what they say, and doubt is where it must be."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.calibration import NONE, Band, Calibration, FamilyCalibration, Isotonic, Platt, Unit, scores_at
from pipeline.detect.closer import LookCloser
from pipeline.errors import ConfigError
from pipeline.events.values import Family, MediaKind
from pipeline.learn.calibrate import (
    above_without_own,
    calibrate,
    calibration_error,
    conformal_band,
    held_out_probabilities,
    isotonic,
    looked_at_again,
    sources_needed,
)
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


def top(reals, sources=None, rate: float = 0.05) -> float:
    """Where the genuine side of a band ends that has no manipulated side."""
    band = conformal_band(np.array(reals), np.zeros(len(reals), bool), rate, 0.5, sources)
    assert band is not None
    return band.high


def two_layers(rng: np.random.Generator, sources: int) -> tuple[np.ndarray, np.ndarray]:
    """Genuine items whose sources differ more than they do, most of them of one source; and whose they are."""
    sizes = [400, *rng.integers(1, 6, sources - 1)]
    middles = np.repeat(rng.normal(-2, 1.5, sources), sizes)
    return 1 / (1 + np.exp(-rng.normal(middles, 0.5))), np.repeat(np.arange(sources).astype(str), sizes)


def test_a_band_by_sources_holds_for_a_source_that_was_not_seen():
    """Of items of a new source no more than the error rate lies above it; a band by items lets through far more."""
    rng = np.random.default_rng(0)
    above = {Unit.ITEMS: 0, Unit.SOURCES: 0}
    for _ in range(1000):
        values, sources = two_layers(rng, 25)
        another = 1 / (1 + np.exp(-rng.normal(rng.normal(-2, 1.5), 0.5)))
        above[Unit.ITEMS] += another >= top(values, None, 0.1)
        above[Unit.SOURCES] += another >= top(values, sources, 0.1)
    assert above[Unit.SOURCES] <= 100 + 3 * 9.5
    assert above[Unit.SOURCES] >= 40  # and it is no wider than it must be
    assert above[Unit.ITEMS] > 200


shares = st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)), min_size=1, max_size=60)


@given(shares, st.floats(0.01, 0.49), st.floats(0.01, 0.49))
def test_a_smaller_error_rate_never_narrows_a_band(items, one, other):
    """What is promised more surely is promised of a wider band, by items and by sources."""
    sources, values = (np.array(each) for each in zip(*items, strict=True))
    for of in (None, sources):
        assert top(values, of, min(one, other)) >= top(values, of, max(one, other))


@given(shares, st.integers(2, 50))
def test_a_source_repeated_many_times_does_not_move_a_band(items, times):
    """The items of one source again and again say nothing new of other sources."""
    sources, values = (np.array(each) for each in zip(*items, strict=True))
    again = np.repeat(np.arange(len(values)), np.where(sources == sources[0], times, 1))
    assert top(values[again], sources[again]) == top(values, sources)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.49))
def test_sources_of_one_item_each_are_items(values, rate):
    """By sources is by items, where every item is a source."""
    assert top(values, np.arange(len(values)), rate) == top(values, None, rate)


@pytest.mark.parametrize(("rate", "least"), [(0.05, 19), (0.1, 9), (0.2, 4), (0.02, 49), (0.03, 33)])
def test_fewer_sources_than_it_takes_promise_nothing(rate, least):
    """With one source less than 1/ε − 1 the band reaches to 1, with that many it ends."""
    values, sources = np.full(3 * least, 0.2), np.repeat(np.arange(least), 3)
    assert sources_needed(rate) == least
    assert top(values, sources, rate) == 0.21
    assert top(values[3:], sources[3:], rate) == 1.0


def of_sources(count: int, sources: int, **changed) -> list[ScoreRow]:
    return [replace(row, source=f"s{i % sources}") for i, row in enumerate(rows(count, **changed))]


def test_a_band_is_by_sources_where_there_are_enough():
    """31 sources give a promise for the next one; four do not, nor do 31 when items are asked for."""
    for sources, asked, found in (
        (31, None, Unit.SOURCES),
        (4, None, Unit.ITEMS),
        (31, Unit.ITEMS, Unit.ITEMS),
        (4, Unit.SOURCES, Unit.SOURCES),
    ):
        made, (fitted,) = calibrate(of_sources(300, sources), NONE, name="test", by=asked)
        family = made.families[SWAP]
        assert (family.by, fitted.sources_needed) == (found, 19)
        assert family.real_sources == sources
        assert family.abstain is not None
        assert (family.abstain.high == 1.0) == (found is Unit.SOURCES and sources == 4)


def test_sources_of_manipulated_items_do_not_count():
    """What is promised of genuine items rests on sources of genuine items."""
    of_two = [replace(row, source=f"made{i}" if row.fake else f"s{i % 2}") for i, row in enumerate(rows(300))]
    made, _ = calibrate(of_two, NONE, name="test")
    assert (made.families[SWAP].by, made.families[SWAP].real_sources) == (Unit.ITEMS, 2)
    assert made.families[SWAP].sources == 102


def test_held_out_by_source_a_curve_knows_nothing_of_the_source():
    """Whatever the labels of a source are, its own probabilities are the same; held out by file they are not."""
    known = of_sources(300, 25)
    odd = [replace(r, fake=not r.fake, made="" if r.fake else "face_swap") if r.source == "s3" else r for r in known]
    own = np.array([row.source == "s3" for row in known])

    def found(some: list[ScoreRow], by: Unit) -> np.ndarray:
        return held_out_probabilities(some, by, odds=0.3)

    assert (found(known, Unit.SOURCES)[own] == found(odd, Unit.SOURCES)[own]).all()
    assert (found(known, Unit.SOURCES)[~own] != found(odd, Unit.SOURCES)[~own]).any()
    assert (found(known, Unit.ITEMS)[own] != found(odd, Unit.ITEMS)[own]).any()


def test_the_only_source_of_a_label_is_held_out_by_file():
    """Where no curve could be fitted without a source, its items are held out file by file: all have a probability."""
    one = [replace(row, source="made" if row.fake else row.source) for row in of_sources(300, 25)]
    found = held_out_probabilities(one, Unit.SOURCES)
    made = np.array([row.fake for row in one])
    assert (found[made] == held_out_probabilities(one, Unit.ITEMS)[made]).all()


def test_each_source_is_judged_by_the_band_of_the_others():
    """One source far above all others lies above their band; it does not draw the line for itself."""
    values = np.append(np.linspace(0.05, 0.15, 60), np.full(200, 0.9))
    sources = np.append(np.repeat(np.arange(30), 2), np.full(200, 30))
    above = above_without_own(values, np.zeros(260, bool), sources, 0.05, 0.5)
    assert above[60:].all()
    assert above[:60].sum() <= 4


def test_a_kind_of_media_with_enough_sources_has_a_promise_of_its_own():
    """A few videos among many stills hardly move a band; from nine sources of them on, at .1, they do."""
    values = np.append(np.full(200, 0.1), np.full(19, 0.6))
    none, media = np.zeros(219, bool), np.array(["image"] * 200 + ["video"] * 19)
    apart = np.arange(219)
    assert conformal_band(values, none, 0.1, 0.5, apart).high == 0.11
    assert conformal_band(values, none, 0.1, 0.5, apart, media).high == 0.61
    few = conformal_band(values[:208], none[:208], 0.1, 0.5, apart[:208], media[:208])
    assert few is not None
    assert few.high == 0.11


def test_the_file_says_for_which_kinds_of_media_a_band_holds():
    """Stills of 31 sources have a promise of their own, videos of four only that of all together."""
    both = [*of_sources(300, 31), *of_sources(40, 4, seed=2, kind="video")]
    made, (fitted,) = calibrate(both, NONE, name="test")
    assert made.families[SWAP].holds_for == (MediaKind.IMAGE,)
    assert fitted.kinds_short == (MediaKind.VIDEO,)


def test_a_file_from_before_there_were_sources_still_loads():
    """A calibration that does not say whose items its band is about speaks of items."""
    old = b'{"name":"old","families":{"face_swap":{"curve":{"method":"platt","slope":1.0},"sources":3}}}'
    family = msgspec.json.decode(old, type=Calibration).families[SWAP]
    assert (family.by, family.real_sources) == (Unit.ITEMS, 0)


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


def test_who_is_in_doubt_by_it_is_looked_at_again():
    """The scores of the new band for what was fitted, the old ones for what was not; nothing when it is of others."""
    known = FamilyCalibration(curve=Platt(slope=2.0, intercept=-4.0), abstain=Band(low=0.3, high=0.8))
    made = Calibration(name="own", families={Family.FACE_SWAP: known, Family.SPLICE: known})
    closer = LookCloser(doubt=((Family.FACE_SWAP, 0.3, 0.8), (Family.FACE_SYNTHESIS, 0.1, 0.4)))
    told = looked_at_again(made, {Family.FACE_SWAP, Family.SPLICE}, closer)
    low, high = scores_at(known.curve, Band(low=0.3, high=0.8))
    assert told == f"closer: options: {{doubt: [[face_swap, {low:g}, {high:g}], [face_synthesis, 0.1, 0.4]]}}"
    assert looked_at_again(made, {Family.SPLICE}, closer) == ""


def test_whom_no_score_leaves_in_doubt_is_not_looked_at_again():
    """A band that the curve never reaches is a stretch of scores without width, which the detectors file refuses."""
    never = FamilyCalibration(curve=Platt(slope=2.0, intercept=-40.0), abstain=Band(low=0.3, high=0.8))
    made = Calibration(name="own", families={Family.FACE_SWAP: never})
    closer = LookCloser(doubt=((Family.FACE_SWAP, 0.3, 0.8), (Family.FACE_SYNTHESIS, 0.1, 0.4)))
    told = looked_at_again(made, {Family.FACE_SWAP}, closer)
    assert told == "closer: options: {doubt: [[face_synthesis, 0.1, 0.4]]}"


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (Platt(slope=1.0), (0.3, 0.8)),
        (Platt(slope=2.0, intercept=-4.0), (0.829, 0.937)),
        (Isotonic(points=((0.0, 0.0), (0.5, 0.3), (0.6, 0.3), (1.0, 0.7))), (0.5, 1.0)),
    ],
)
def test_the_scores_of_a_band(curve, expected):
    """From the first score that reaches each edge; 1 where none does."""
    assert scores_at(curve, Band(low=0.3, high=0.8)) == pytest.approx(expected, abs=0.001)
