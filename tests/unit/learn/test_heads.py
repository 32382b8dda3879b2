import numpy as np
import pytest

from pipeline.learn.heads import (
    auc,
    auc_with_interval,
    fit_lda,
    fit_mixture,
    fit_platt,
    operating_point,
    sigmoid,
)


def _cloud(seed: int, count: int, shift: float) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Two normal clouds whose first two features are strongly tied; they differ along the narrow direction only."""
    rng = np.random.default_rng(seed)
    fake = rng.random(count) < 0.5
    wide, narrow = rng.normal(0, 10, count), rng.normal(0, 0.3, count) + np.where(fake, shift, 0)
    rest = rng.normal(0, 1, (count, 6))
    return np.column_stack([wide + narrow, wide - narrow, rest]).astype(np.float32), fake


def test_the_discriminant_finds_the_narrow_direction() -> None:
    """The difference of means alone is blind here; the covariance shows where to look."""
    features, fake = _cloud(0, 800, 1.2)
    line = fit_lda(features, fake, 1e-4)
    test, truth = _cloud(1, 800, 1.2)
    assert auc(line(test), truth) > 0.98
    assert line.weight[0] == pytest.approx(-line.weight[1], rel=0.1)
    blunt = features[fake].mean(0) - features[~fake].mean(0)
    assert auc(test @ blunt, truth) < 0.9


def test_full_shrinkage_weighs_each_feature_by_itself() -> None:
    """At 1 nothing is left of the ties between features: the difference of means over the variance."""
    features, fake = _cloud(2, 200, 1.0)
    line = fit_lda(features, fake, 1.0)
    difference = features[fake].mean(0, dtype=np.float64) - features[~fake].mean(0, dtype=np.float64)
    centred = np.where(fake[:, None], features - features[fake].mean(0), features - features[~fake].mean(0))
    assert line.weight == pytest.approx(difference / (centred**2).sum(0) * 198, rel=1e-3)


def test_more_features_than_faces_can_be_fitted() -> None:
    """Shrinkage makes the covariance invertible."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(20, 50)).astype(np.float32)
    fake = np.arange(20) % 2 == 0
    features[fake, 0] += 5
    assert np.isfinite(fit_lda(features, fake, 0.1).weight).all()


def test_few_faces_and_many_give_one_and_the_same_line() -> None:
    """The short way for few faces solves the same equation as the long way."""
    rng = np.random.default_rng(6)
    features = rng.normal(size=(30, 40)).astype(np.float32)
    fake = np.arange(30) % 3 == 0
    short = fit_lda(features, fake, 0.2).weight
    centred = features.astype(np.float64)
    for kind in (False, True):
        centred[fake == kind] -= centred[fake == kind].mean(axis=0)
    covariance = centred.T @ centred / 28
    shrunk = 0.8 * covariance + 0.2 * np.diag(np.diag(covariance))
    difference = features[fake].mean(0, dtype=np.float64) - features[~fake].mean(0, dtype=np.float64)
    assert short == pytest.approx(np.linalg.solve(shrunk, difference))


def test_a_share_of_two_counts_as_two_rows() -> None:
    """Rows weigh within their class: a share is how often a row is there."""
    features, fake = _cloud(7, 60, 1.0)
    share = np.where(np.arange(60) % 3 == 0, 2.0, 1.0)
    often = np.repeat(np.arange(60), share.astype(int))
    weighed, repeated = (
        fit_lda(features, fake, 0.2, share),
        fit_lda(features[often], fake[often], 0.2, np.ones(len(often))),
    )
    assert weighed.weight == pytest.approx(repeated.weight)
    assert weighed.bias == pytest.approx(repeated.bias)


def test_with_shares_more_rows_of_a_class_change_nothing() -> None:
    """Each class's covariance counts half: a thousand reals do not drown what a hundred fakes say of noise."""
    features, fake = _cloud(8, 60, 1.0)
    often = np.repeat(np.arange(60), np.where(fake, 1, 5))
    once, drowned = (fit_lda(features[r], fake[r], 0.2, np.ones(len(r))) for r in (np.arange(60), often))
    assert drowned.weight == pytest.approx(once.weight)
    assert fit_lda(features[often], fake[often], 0.2).weight != pytest.approx(once.weight, rel=0.01)


def test_one_class_alone_is_refused() -> None:
    """There is nothing to tell apart."""
    with pytest.raises(ValueError, match="both real and fake"):
        fit_lda(np.zeros((4, 2), np.float32), np.ones(4, bool), 0.1)


def test_a_calibrated_probability_means_what_it_says() -> None:
    """Of crops drawn at even odds and given p near 0.8, about 80 % are fake, though the training odds were 1 to 4."""
    rng = np.random.default_rng(4)
    fake = rng.random(20_000) < 0.2
    scores = rng.normal(0, 1, len(fake)) + np.where(fake, 2.0, 0.0)
    a, b = fit_platt(scores, fake)
    assert (a, b) == pytest.approx((2.0, -2.0), abs=0.15)
    even = rng.random(40_000) < 0.5
    fresh = rng.normal(0, 1, len(even)) + np.where(even, 2.0, 0.0)
    p = sigmoid(a * fresh + b)
    near = (p > 0.75) & (p < 0.85)
    assert even[near].mean() == pytest.approx(0.8, abs=0.04)


def test_calibration_of_separable_scores_stays_finite() -> None:
    """Without overlap the slope would grow for ever; smoothed targets stop it."""
    scores = np.concatenate([np.full(50, -3.0), np.full(50, 3.0)])
    a, b = fit_platt(scores, scores > 0)
    assert 0 < a < 10
    assert abs(b) < 1
    assert 0.9 < sigmoid(np.array([3 * a + b]))[0] < 1


def test_the_area_counts_pairs_and_halves_ties() -> None:
    """Against the definition, on a case small enough to count by hand."""
    scores = np.array([0.1, 0.5, 0.5, 0.9])
    fake = np.array([False, False, True, True])
    assert auc(scores, fake) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert np.isnan(auc(scores[:2], fake[:2]))


def test_an_interval_holds_its_estimate_and_names_its_counts() -> None:
    """Few faces give a wide interval, and the same seed the same one."""
    rng = np.random.default_rng(5)
    fake = np.arange(40) < 10
    scores = rng.normal(0, 1, 40) + fake
    estimate = auc_with_interval(scores, fake, 0, 300)
    assert estimate.low < estimate.value < estimate.high
    assert (estimate.real, estimate.fake) == (30, 10)
    assert estimate == auc_with_interval(scores, fake, 0, 300)


def test_an_operating_point_counts_both_kinds_from_the_threshold_up() -> None:
    """A score equal to the threshold counts as above."""
    point = operating_point(np.array([0.2, 0.5, 0.5, 0.9]), np.array([False, False, True, True]), 0.5)
    assert (point.tpr, point.fpr) == (1.0, 0.5)


def test_a_curve_is_found_for_scores_that_all_lie_on_one_side():
    """Log-odds far below 0, well apart: the curve tells them, and does not stop where it began."""
    rng = np.random.default_rng(0)
    fake = np.arange(200) % 2 == 1
    shares = np.where(fake, rng.uniform(0.1, 0.2, 200), rng.uniform(0, 0.1, 200))
    odds = np.log(shares) - np.log1p(-shares)
    a, b = fit_platt(odds, fake)
    told = sigmoid(a * odds + b)
    assert told[fake].mean() > 0.9
    assert told[~fake].mean() < 0.1


def test_two_answers_count_by_what_they_know() -> None:
    """Of two independent answers with the same noise each counts for what it tells; what says nothing gets no part."""
    rng = np.random.default_rng(6)
    fake = rng.random(20_000) < 0.5
    strong, weak = (rng.normal(0, 1, len(fake)) + np.where(fake, gap, 0.0) for gap in (2.0, 1.0))
    both = fit_mixture(strong, weak, fake)
    assert (both.line, both.seam) == pytest.approx((2.0, 1.0), abs=0.15)
    assert auc(both(strong, weak), fake) > auc(strong, fake) + 0.01
    alone, nothing = fit_platt(strong, fake), np.zeros(len(fake))
    one = fit_mixture(strong, nothing, fake)
    assert (one.line, one.seam, one.bias) == pytest.approx((alone[0], 0.0, alone[1]))
