"""Fusing is total, blind to order, monotone in each score, and never surer for having looked at less."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from pipeline.calibration import Band, Calibration, FamilyCalibration, Isotonic, Platt, Stratum
from pipeline.detect.port import DetectorReport, Findings, Mode, ReportStatus, Score
from pipeline.events.values import Family, MediaFacts, MediaKind, Signal, SignalStatus
from pipeline.fuse import FamilyFusion, Fused, Fusion, fuse, pool
from tests import strategies

SWAP = Family.FACE_SWAP
PLAIN = FamilyFusion(top_share=0.25, looks=1, margin=0.1, min_coverage=0.5, abstain=Band(low=0.6, high=0.8))
FUSION = Fused(fusion=Fusion(evidence=3, default=PLAIN))


def report(*scores: tuple[float | None, float], **changes: object) -> DetectorReport:
    plain = DetectorReport(
        "heads", "2", Mode.LIVE, (SWAP,), ReportStatus.OK, tuple(Score(SWAP, value, at=at) for at, value in scores)
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def signal(*reports: DetectorReport, fusion: Fused = FUSION) -> Signal:
    (found,) = fuse(Findings(reports), fusion).signals
    return found


@given(strategies.findings(), strategies.fused)
def test_total(findings: Findings, fusion: Fused) -> None:
    """Whatever detectors say, not-a-number included, signals hold what their type promises."""
    assessment = fuse(findings, fusion)
    for each in (*assessment.signals, *assessment.shadow):
        judged = each.status in (SignalStatus.SCORED, SignalStatus.ABSTAINED)
        assert judged == (each.probability is not None)
        assert 0 <= each.coverage <= 1
        assert len(each.evidence) <= fusion.fusion.evidence
        if each.probability is not None and each.low is not None and each.high is not None:
            assert 0 <= each.low <= each.probability <= each.high <= 1


@given(st.data(), strategies.findings(), strategies.fused)
def test_blind_to_order(data: st.DataObject, findings: Findings, fusion: Fused) -> None:
    """The order of reports and of scores changes nothing."""
    mixed = tuple(
        replace(each, scores=tuple(data.draw(st.permutations(each.scores))))
        for each in data.draw(st.permutations(findings.reports))
    )
    assert fuse(replace(findings, reports=mixed), fusion) == fuse(findings, fusion)


@given(st.data(), strategies.findings(sound=True), strategies.fused)
def test_monotone_in_each_score(data: st.DataObject, findings: Findings, fusion: Fused) -> None:
    """Raising one score never lowers a probability and never turns a judgement into none."""
    spots = [(r, s) for r, each in enumerate(findings.reports) for s in range(len(each.scores))]
    assume(spots)
    r, s = data.draw(st.sampled_from(spots))
    reports = list(findings.reports)
    scores = list(reports[r].scores)
    scores[s] = replace(scores[s], value=data.draw(st.floats(scores[s].value, 1)))
    reports[r] = replace(reports[r], scores=tuple(scores))
    before, after = fuse(findings, fusion), fuse(Findings(tuple(reports)), fusion)
    for low, high in zip((*before.signals, *before.shadow), (*after.signals, *after.shadow), strict=True):
        if low.probability is not None:
            assert high.probability is not None
            assert high.probability >= low.probability


@given(strategies.probabilities, strategies.probabilities, strategies.probabilities)
def test_looking_at_less_only_widens(score: float, some: float, more: float) -> None:
    """With less coverage the bounds lie further apart, round the same probability, or nothing is said."""
    less, more = sorted((some, more))
    narrow, wide = signal(report((0.0, score), coverage=more)), signal(report((0.0, score), coverage=less))
    if wide.low is not None and wide.high is not None:
        assert narrow.low is not None
        assert narrow.high is not None
        assert wide.probability == narrow.probability
        assert wide.low <= narrow.low
        assert wide.high >= narrow.high


def test_pool_takes_the_worst_moments_of_a_track() -> None:
    """Per moment the highest score, over the moments of a track the mean of the top share."""
    scores = [(1, 0.0, 0.1), (1, 0.0, 0.9), (1, 1.0, 0.7), (1, 2.0, 0.0), (1, 3.0, 0.0)]
    assert pool(scores, 0.5, 1) == pytest.approx(0.8)
    assert pool(scores, 0.01, 1) == 0.9
    assert pool([(None, None, 0.2), (None, None, 0.4)], 1.0, 3) == 0.4


def test_pool_finds_one_forged_face_among_many() -> None:
    """The forged person counts by their own moments, however many genuine people are in the picture."""
    genuine = [(person, float(at), 0.1) for person in range(9) for at in range(8)]
    forged = [(9, float(at), 0.9) for at in range(8)]
    assert pool([*genuine, *forged], 0.25, 3) == pytest.approx(0.9)


def test_one_stray_frame_does_not_decide() -> None:
    """A face that was seen once in a clip of many moments is filled up with the clip's median."""
    usual = [(0, float(at), 0.1) for at in range(9)]
    assert pool([*usual, (1, 4.0, 0.9)], 0.25, 3) == pytest.approx((0.9 + 0.1 + 0.1) / 3)
    assert pool([(1, 0.0, 0.9)], 0.25, 3) == 0.9


@pytest.mark.parametrize(
    ("score", "status"),
    [(0.59, SignalStatus.SCORED), (0.6, SignalStatus.ABSTAINED), (0.79, SignalStatus.ABSTAINED), (0.8, "scored")],
)
def test_abstains_inside_the_band(score: float, status: str) -> None:
    """The band holds its lower edge and not its upper one."""
    assert signal(report((0.0, score))).status == status


def test_platt() -> None:
    """Scaling on log-odds: slope 1 and intercept 0 change nothing."""
    assert Platt(slope=1.0)(0.3) == pytest.approx(0.3)
    assert Platt(slope=2.0, intercept=-1.0)(0.5) == pytest.approx(0.2689414)
    assert Platt(slope=1.0)(0.0) < 1e-5


def test_isotonic() -> None:
    """Straight lines between the points, flat beyond them; points that fall are refused."""
    curve = Isotonic(points=((0.2, 0.0), (0.4, 0.5), (0.6, 1.0)))
    assert [curve(score) for score in (0.0, 0.2, 0.3, 0.5, 0.6, 1.0)] == pytest.approx([0, 0, 0.25, 0.75, 1, 1])
    with pytest.raises(ValueError, match="must rise"):
        Isotonic(points=((0.2, 0.5), (0.4, 0.1)))


@given(strategies.curves, strategies.probabilities, strategies.probabilities)
def test_a_curve_never_falls(curve: Platt | Isotonic, one: float, other: float) -> None:
    """A higher score never means less, to the last bit."""
    low, high = sorted((one, other))
    assert 0 <= curve(low) <= curve(high) <= 1


FACTS = MediaFacts(kind=MediaKind.VIDEO, container="mov", width=640, height=360)
CALIBRATION = Calibration(
    name="test",
    families={
        SWAP: FamilyCalibration(
            curve=Platt(slope=1, intercept=-1),
            strata=(Stratum(curve=Platt(slope=1, intercept=1), kinds=(MediaKind.VIDEO,), max_side=480),),
            abstain=Band(low=0.2, high=0.4),
            margin=0.02,
            advisory=True,
        )
    },
)
BARE = Fusion(evidence=3, default=FamilyFusion(top_share=1, min_coverage=0))


def test_the_calibration_file_says_what_a_score_is_worth() -> None:
    """Curve, band, bounds and whether it is only a hint come from the file."""
    found = signal(report((0.0, 0.5)), fusion=Fused(fusion=BARE, calibration=CALIBRATION))
    assert found.probability == pytest.approx(0.268941)
    assert (found.status, found.pooled, found.advisory) == (SignalStatus.ABSTAINED, 0.5, True)
    assert found.high == pytest.approx(0.288941)


def test_the_policy_comes_before_the_calibration_file() -> None:
    """A lead who gives a curve, a band or a margin in the policy overrules the file."""
    own = FamilyFusion(
        top_share=1, min_coverage=0, calibration=Platt(slope=1), abstain=Band(low=0.8, high=0.9), margin=0
    )
    fused = Fused(fusion=Fusion(evidence=3, default=own), calibration=CALIBRATION)
    found = signal(report((0.0, 0.5)), fusion=fused)
    assert (found.status, found.probability, found.low) == (SignalStatus.SCORED, pytest.approx(0.5), found.probability)


def test_media_of_a_kind_have_a_curve_of_their_own() -> None:
    """A small video takes the stratum's curve, a large one the family's."""
    fused = Fused(fusion=BARE, calibration=CALIBRATION)
    findings = Findings((report((0.0, 0.5)),))
    (small,) = fuse(findings, fused, FACTS).signals
    (large,) = fuse(findings, fused, structs.replace(FACTS, height=720, width=1280)).signals
    assert small.probability == pytest.approx(0.731059)
    assert large.probability == pytest.approx(0.268941)


def test_a_family_nobody_calibrated_has_wide_bounds() -> None:
    """Without a measurement the bounds say so."""
    found = signal(report((0.0, 0.5)), fusion=Fused(fusion=BARE))
    assert (found.low, found.high) == (pytest.approx(0.3), pytest.approx(0.7))


def test_signals_that_bear_each_other_out() -> None:
    """A suspicious family names who agrees and who does not; nothing else changes."""
    light = replace(report((0.0, 0.9)), families=(Family.LIGHTING,), scores=(Score(Family.LIGHTING, 0.9),))
    edit = replace(report((0.0, 0.1)), families=(Family.LOCAL_EDIT,), scores=(Score(Family.LOCAL_EDIT, 0.1),))
    (agreement,) = fuse(Findings((report((0.0, 0.9)), light, edit)), FUSION).agreement
    assert (agreement.about, agreement.supports, agreement.opposes) == (SWAP, (Family.LIGHTING,), (Family.LOCAL_EDIT,))
    assert agreement.note == "1 of 2 other signals: lighting; not: local edit"
    assert fuse(Findings((report((0.0, 0.1)), light)), FUSION).agreement == ()


@pytest.mark.parametrize("status", [ReportStatus.FAILED, ReportStatus.LATE])
def test_a_detector_that_did_not_answer_is_missing(status: ReportStatus) -> None:
    """No answer is not a low score."""
    found = signal(report(status=status, coverage=0.0, detail="connection refused"))
    assert (found.status, found.probability, found.note) == (SignalStatus.MISSING, None, "heads: connection refused")


def test_an_answer_without_a_usable_score_is_missing() -> None:
    """A detector that is fine and says nothing, or not-a-number, has not judged."""
    assert signal(report()).status is SignalStatus.MISSING
    assert signal(report((0.0, float("nan")))).status is SignalStatus.MISSING


def test_nothing_to_judge() -> None:
    """No face is no missing face."""
    assert signal(report(status=ReportStatus.NOT_APPLICABLE)).status is SignalStatus.NOT_APPLICABLE


def test_too_little_coverage_takes_back_reassurance_only() -> None:
    """A low score of a small part says nothing; a high one stays a suspicion, with wide bounds."""
    assert signal(report((0.0, 0.1), coverage=0.2)).status is SignalStatus.MISSING
    suspicious = signal(report((0.0, 0.9), coverage=0.2))
    assert suspicious.status is SignalStatus.SCORED
    assert suspicious.probability == 0.9
    assert suspicious.low == pytest.approx(0.16)


def test_one_of_two_detectors_down_halves_the_coverage() -> None:
    """A second detector's silence widens the bounds and is noted."""
    found = signal(report((0.0, 0.9)), report(detector="other", status=ReportStatus.FAILED))
    assert found.coverage == 0.5
    assert found.detectors == ("heads@2", "other@2")
    assert found.note == "other: failed"


def test_evidence_is_the_strongest_first() -> None:
    """The top scores are kept, each with its detector and moment."""
    found = signal(report((0.0, 0.2), (1.0, 0.9), (2.0, 0.5), (3.0, 0.1)))
    assert [(each.detector, each.at, each.score) for each in found.evidence] == [
        ("heads", 1.0, 0.9),
        ("heads", 2.0, 0.5),
        ("heads", 0.0, 0.2),
    ]


def test_shadow_detectors_do_not_count() -> None:
    """What a shadow detector says is recorded apart, and does not touch the live signal."""
    assessment = fuse(Findings((report((0.0, 0.1)), report((0.0, 0.9), mode=Mode.SHADOW))), FUSION)
    assert [each.probability for each in assessment.signals] == [0.1]
    assert [each.probability for each in assessment.shadow] == [0.9]


def test_only_a_required_family_is_missing_without_a_detector() -> None:
    """A family that nobody looks for is absent, unless the policy requires it."""
    assert fuse(Findings(()), FUSION).signals == ()
    (found,) = fuse(Findings(()), Fused(fusion=Fusion(evidence=1, default=PLAIN, requires=(SWAP,)))).signals
    assert (found.status, found.note) == (SignalStatus.MISSING, "no detector looks for it")
