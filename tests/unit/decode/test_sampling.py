"""Which moments are looked at."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import sampling
from pipeline.decode.port import DecodeBudget

durations = st.floats(0.1, 50_000)
budgets = st.integers(1, 60)
moment_lists = st.lists(st.floats(0, 1000), min_size=1, max_size=120, unique=True).map(sorted)


@given(durations, budgets)
def test_ideal_moments_leave_equal_gaps(duration: float, frames: int) -> None:
    """N looks at a known duration leave no gap longer than one part of N + 1."""
    looked_at = sampling.moments(duration, frames)
    assert len(looked_at) == frames
    assert sampling.largest_gap(looked_at, duration) <= duration / (frames + 1) * (1 + 1e-9)


@given(moment_lists, budgets)
def test_choice_is_ascending_distinct_and_uses_the_budget(times: list[float], frames: int) -> None:
    """As many moments are chosen as there are, or as the budget has, in order and each once."""
    chosen = sampling.choose(times, 1000, frames)
    assert len(chosen) == min(len(times), frames)
    assert list(chosen) == sorted(set(chosen))
    assert all(0 <= place < len(times) for place in chosen)


@given(st.lists(st.floats(0, 100), min_size=4, max_size=9, unique=True).map(sorted), st.integers(1, 4))
def test_choice_is_close_to_the_best_one(times: list[float], frames: int) -> None:
    """The longest gap is at most three times what the best of all choices would leave."""
    best = min(sampling.largest_gap(choice, 100) for choice in combinations(times, min(frames, len(times))))
    chosen = [times[place] for place in sampling.choose(times, 100, frames)]
    assert sampling.largest_gap(chosen, 100) <= 3 * best + 1e-9


@given(moment_lists, st.floats(1, 1000))
def test_gap_bounds_what_can_hide(looked_at: list[float], duration: float) -> None:
    """No stretch that is longer than the largest gap avoids every look."""
    gap = sampling.largest_gap(looked_at, duration)
    inside = [0.0, *(at for at in looked_at if at <= duration), duration]
    for start in inside:
        end = start + gap * (1 + 1e-6) + 1e-6
        assert end > duration or any(start < at <= end for at in inside)


def test_nothing_looked_at_is_one_gap() -> None:
    """Without a look the whole duration is the gap."""
    assert sampling.largest_gap([], 12.5) == 12.5


@given(st.integers(0, 500), budgets)
def test_spread_covers_both_ends_evenly(count: int, frames: int) -> None:
    """Positions without a clock are spread over their order, all of them when the budget allows."""
    places = sampling.spread(count, frames)
    assert len(places) == min(count, frames)
    assert list(places) == sorted(set(places))


@given(moment_lists, st.floats(1, 200), st.integers(0, 200))
def test_fill_shortens_gaps_within_its_looks(looked_at: list[float], longest: float, looks: int) -> None:
    """Filling never uses more looks than it has, and with enough of them no gap stays too long."""
    added = sampling.fill(looked_at, 1000, longest, looks)
    assert len(added) <= looks
    assert list(added) == sorted(added)
    gap = sampling.largest_gap([*looked_at, *added], 1000)
    assert gap <= sampling.largest_gap(looked_at, 1000) + 1e-9
    if len(added) < looks:
        assert gap <= longest * (1 + 1e-9)


def test_manifest_says_what_was_done() -> None:
    """The manifest carries the looks, the largest gap, the budgets and the notes."""
    budget = DecodeBudget(frames=4, audio_seconds=30)
    manifest = sampling.manifest("d", budget, looked_at=(0.0, 4.00049), duration=10.0, notes=["n"])
    assert (manifest.looked_at, manifest.largest_gap) == ((0.0, 4.0), 6.0)
    assert (manifest.frame_budget, manifest.audio_budget, manifest.notes) == (4, 30, ("n",))


def test_a_still_has_no_gap() -> None:
    """Without a duration there is no gap to speak of."""
    assert sampling.manifest("d", DecodeBudget(), looked_at=(0.0,), complete=True).largest_gap is None


def test_frames_are_taken_evenly() -> None:
    """Every so many of the video's own frames, so that what is measured over time is not shaken by the choice."""
    strides = [sampling.stride(rate, 25) for rate in (None, 12.0, 24.0, 25.0, 30.0, 50.0, 60.0, 120.0)]
    assert strides == [1, 1, 1, 1, 1, 2, 2, 5]
    assert sampling.stride(30, 12.5) == 2


def test_the_version_tells_what_changes_the_sampling() -> None:
    """Budgets that change what is seen show; what only bounds the cost does not."""
    assert (
        sampling.version(DecodeBudget()) == sampling.version(DecodeBudget(wall_seconds=5, cpu_seconds=9)) == "decode@1"
    )
    others = {sampling.version(DecodeBudget(frames=n)) for n in (1, 2)} | {
        sampling.version(DecodeBudget(closer_frames=0)),
        sampling.version(DecodeBudget(native_side=0)),
    }
    assert len(others) == 4
    assert all(other.startswith("decode@1+") for other in others)
