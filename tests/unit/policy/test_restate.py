"""Recorded signals under another fusion or calibration."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pipeline.calibration import NONE, Calibration, FamilyCalibration, Platt
from pipeline.events import MediaDecided, Versions
from pipeline.events.values import Failure, Family, Signal, SignalStatus
from pipeline.fuse import calibrated
from pipeline.policy.file import parse
from pipeline.policy.restate import covered_otherwise, pooled_otherwise, restated
from pipeline.policy.rules import Policy
from tests.generate_week import POLICY
from tests.records import decided

FREE = POLICY.replace("    calibration: {method: isotonic, points: [[0, 0], [1, 1]]}\n", "")


def policy(text: str = FREE, calibration: Calibration = NONE) -> Policy:
    """The week's policy, with a calibration from outside."""
    return parse(text, "test", calibration)


def steeper(slope: float) -> Calibration:
    """A calibration of face swaps."""
    return Calibration(name="steeper", families={Family.FACE_SWAP: FamilyCalibration(curve=Platt(slope=slope))})


def recorded(by: Policy, *signals: Signal, failure: Failure | None = None) -> MediaDecided:
    """What was recorded under a policy."""
    event = decided("m1", signals=signals, failure=failure)
    return replace(event, versions=Versions(unmask="0", policy=by.version, detectors=(by.fusion_version,)))


def swap(by: Policy, pooled: float = 0.7, coverage: float = 1.0) -> Signal:
    """A signal as a policy's fusion makes it."""
    said = Signal(family=Family.FACE_SWAP, status=SignalStatus.SCORED, pooled=pooled, coverage=coverage)
    return calibrated(said, by.fused, None)


def test_the_same_fusion_leaves_signals_alone() -> None:
    """Rules may differ as they like: what was measured stays to the last bit."""
    then = policy()
    now = policy(FREE.replace("swap: 0.80", "swap: 0.70"))
    event = recorded(then, replace(swap(then), probability=0.123))
    assert restated(event, now).case.signals == event.signals
    assert not restated(event, now).anew


def test_another_calibration_is_applied_to_the_stored_score() -> None:
    """What comes out is what that calibration would have made of the same pooled score."""
    then, now = policy(), policy(calibration=steeper(3.0))
    found = restated(recorded(then, swap(then)), now)
    assert found.anew
    assert found.case.signals == (swap(now),)
    assert found.case.signals[0].probability != swap(then).probability


def test_what_has_no_raw_score_is_counted() -> None:
    """A judged signal without a pooled score keeps its probability, and is named; matches with banks have none."""
    then, now = policy(), policy(calibration=steeper(3.0))
    bare = replace(swap(then), pooled=None)
    match = Signal(family=Family.KNOWN_CONTENT, status=SignalStatus.SCORED, probability=0.9)
    found = restated(recorded(then, bare, match), now)
    assert found.case.signals == (bare, match)
    assert found.stale == (Family.FACE_SWAP,)


@pytest.mark.parametrize(
    ("pooled", "status"), [(0.2, SignalStatus.MISSING), (0.65, SignalStatus.ABSTAINED), (0.9, SignalStatus.SCORED)]
)
def test_more_coverage_may_be_asked_for(pooled: float, status: SignalStatus) -> None:
    """With less than the new policy asks for, reassurance is missing and suspicion counts, as fusion has it."""
    then, now = policy(), policy(FREE.replace("min_coverage: 0.5", "min_coverage: 0.9"))
    found = restated(recorded(then, swap(then, pooled, coverage=0.6)), now)
    assert found.case.signals[0].status is status
    assert (found.case.signals[0].probability is None) == (status is SignalStatus.MISSING)
    assert covered_otherwise(now, then) == tuple(Family)
    assert covered_otherwise(then, now) == ()


def test_failures_have_no_signals_to_restate() -> None:
    """A failure record is decided again as it is."""
    failure = Failure(stage="decode", reason="media_corrupt", detail="")
    then, now = policy(), policy(calibration=steeper(3.0))
    found = restated(recorded(then, failure=failure), now)
    assert not found.anew
    assert found.case.failure == failure


def test_another_pooling_is_named() -> None:
    """Families that are pooled otherwise, whose single scores are not on record."""
    assert pooled_otherwise(policy(), policy(FREE.replace("top_share: 0.1", "top_share: 0.5"))) == tuple(Family)
    assert pooled_otherwise(policy(), policy(calibration=steeper(3.0))) == ()
