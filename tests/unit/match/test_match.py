"""One upload against all banks, and what the policy is told of it."""

from __future__ import annotations

import pytest

from pipeline.events.values import Family, RuleMode, SignalStatus
from pipeline.match.banks import Kind
from pipeline.match.match import likeness, match, recognise, signal
from tests.unit.match.made import bank, code, frames, turned

SHA = "ab" * 32
ELSE = "cd" * 32
A, B, C, D = (code(seed) for seed in (1, 2, 3, 4))


def test_the_same_bytes_are_known_whatever_they_show():
    """By their digest, with distance 0; other bytes are not."""
    digests = bank("exact", {"one": bytes.fromhex(SHA), "two": bytes.fromhex("ef" * 32)}, Kind.SHA256)
    (found,) = match(SHA, (), [digests], "m")
    assert (found.bank, found.hash_id, found.kind, found.distance, found.share, found.live) == (
        "exact", "one", "sha256", 0, 1.0, True,
    )  # fmt: skip
    assert match(ELSE, (), [digests], "m") == ()


@pytest.mark.parametrize(("bits", "known"), [(0, True), (31, True), (32, False)])
def test_a_picture_is_known_within_the_threshold(bits, known):
    """Of 31 bits by default, and not one more."""
    found = match(SHA, frames(turned(A, bits)), [bank("pictures", {"a": A})], "m")
    assert [one.distance for one in found] == ([bits] if known else [])


def test_each_bank_has_its_own_threshold():
    """A strict bank beside a lenient one."""
    banks = [bank("strict", {"a": A}, threshold=10), bank("lenient", {"a": A}, threshold=40)]
    assert [one.bank for one in match(SHA, frames(turned(A, 20)), banks, "m")] == ["lenient"]


def test_a_plain_picture_is_not_compared():
    """Quality below 50 would match anything plain."""
    assert match(SHA, frames(A, quality=49), [bank("pictures", {"a": A})], "m") == ()
    assert match(SHA, frames(A, quality=50), [bank("pictures", {"a": A})], "m")


def test_one_frame_of_a_video_is_enough_for_a_bank_of_pictures():
    """With the moments at which it is seen, and how much of the video that is."""
    (found,) = match(SHA, frames(B, A, C, A), [bank("pictures", {"a": A})], "m")
    assert found.at == (1.0, 3.0)
    assert found.share == pytest.approx(1 / 3)  # of three different frames


@pytest.mark.parametrize(("ours", "known"), [((A, B, C, D), True), ((A, B, C), True), ((A, B), False)])
def test_of_a_video_enough_frames_must_be_known(ours, known):
    """At least 80 % of the upload's different frames by default: five frames, of which these are known."""
    others = (code(11), code(12), code(13))
    video = bank("videos", {"v": (A, B, C, D)}, Kind.VPDQ, query_share=0.6)
    found = match(SHA, frames(*ours, *others[: 5 - len(ours)]), [video], "m")
    assert bool(found) is known
    if known:
        assert found[0].share == len(ours) / 5


def test_enough_of_the_banks_video_must_be_there():
    """A short excerpt of a long video is a match unless the bank asks for more of it."""
    codes = tuple(code(seed) for seed in range(20, 40))
    excerpt = frames(*codes[:5])
    assert match(SHA, excerpt, [bank("videos", {"v": codes}, Kind.VPDQ)], "m")
    assert match(SHA, excerpt, [bank("videos", {"v": codes}, Kind.VPDQ, compared_share=0.25)], "m")
    assert not match(SHA, excerpt, [bank("videos", {"v": codes}, Kind.VPDQ, compared_share=0.3)], "m")


def test_frames_of_different_videos_do_not_add_up():
    """Two entries that know half of the upload each are no match."""
    assert not match(SHA, frames(A, B, C, D), [bank("videos", {"v": (A, B), "w": (C, D)}, Kind.VPDQ)], "m")


def test_a_shadow_bank_is_recorded_and_decides_nothing():
    """So that a bank can be tried on real traffic."""
    (found,) = match(SHA, frames(A), [bank("pictures", {"a": A}, mode=RuleMode.SHADOW)], "m")
    assert not found.live
    assert "tried out" in found.note


def test_a_roll_out_concerns_the_same_uploads_every_time():
    """About the given share of them, and each bank another selection."""
    banks = [bank("one", {"a": A}, rollout=0.25), bank("two", {"a": A}, rollout=0.25)]
    ids = [f"media-{i}" for i in range(2000)]
    live = [[one.live for one in match(SHA, frames(A), banks, media_id)] for media_id in ids]
    assert live[:200] == [[one.live for one in match(SHA, frames(A), banks, media_id)] for media_id in ids[:200]]
    for chosen in zip(*live, strict=True):
        assert 0.21 < sum(chosen) / len(ids) < 0.29
    assert 0.04 < sum(one and two for one, two in live) / len(ids) < 0.09
    for media_id in ids[:50]:
        assert not match(SHA, frames(A), [bank("no", {"a": A}, rollout=0.0)], media_id)[0].live


def test_a_wider_roll_out_keeps_those_that_it_concerned():
    """Going from 10 to 50 % takes nobody out."""
    narrow, wide = bank("b", {"a": A}, rollout=0.1), bank("b", {"a": A}, rollout=0.5)
    assert all(wide.concerns(f"m{i}") for i in range(500) if narrow.concerns(f"m{i}"))


class TestNegativeBanks:
    """What is known as genuine."""

    GENUINE = bank("newsroom", {"g": A}, negative=True)

    def test_what_it_knows_as_well_does_not_count(self):
        """Both matches are recorded, with the reason."""
        known, genuine = match(SHA, frames(A), [bank("pictures", {"a": A}), self.GENUINE], "m")
        assert (known.live, known.note) == (False, "known as genuine by newsroom")
        assert (genuine.live, genuine.note) == (False, "known as genuine")

    def test_what_another_bank_knows_better_counts(self):
        """A variant of a genuine picture can be a forgery of it."""
        forged = turned(A, 12)
        known, _ = match(SHA, frames(forged), [bank("pictures", {"a": forged}), self.GENUINE], "m")
        assert known.live

    def test_it_takes_back_single_frames_of_a_video(self):
        """What is left is still compared."""
        videos = bank("videos", {"v": (A, B, C, D)}, Kind.VPDQ, query_share=0.5)
        known, _ = match(SHA, frames(A, B, C, D), [videos, self.GENUINE], "m")
        assert (known.live, known.share) == (True, 0.75)
        strict = bank("videos", {"v": (A, B, C, D)}, Kind.VPDQ, query_share=0.9)
        known, _ = match(SHA, frames(A, B, C, D), [strict, self.GENUINE], "m")
        assert (known.live, known.share) == (False, 1.0)

    def test_the_same_bytes_are_not_taken_back_by_a_likeness(self):
        """Only by the digest itself."""
        digests = bank("exact", {"x": bytes.fromhex(SHA)}, Kind.SHA256)
        known, _ = match(SHA, frames(A), [digests, self.GENUINE], "m")
        assert known.live
        allowed = bank("allowed", {"x": bytes.fromhex(SHA)}, Kind.SHA256, negative=True)
        found = match(SHA, frames(A), [digests, bank("pictures", {"a": A}), allowed], "m")
        assert not any(one.live for one in found)

    def test_one_that_is_tried_out_or_quarantined_takes_nothing_back(self):
        """A negative bank can flood too."""
        pictures = bank("pictures", {"a": A})
        shadow = bank("newsroom", {"g": A}, negative=True, mode=RuleMode.SHADOW)
        assert match(SHA, frames(A), [pictures, shadow], "m")[0].live
        assert match(SHA, frames(A), [pictures, self.GENUINE], "m", {("newsroom", "g")})[0].live


@pytest.mark.parametrize("held", [("pictures", "a"), ("pictures", "")])
def test_what_is_quarantined_is_recorded_and_decides_nothing(held):
    """One hash, or the bank as a whole; other hashes and banks go on."""
    banks = [bank("pictures", {"a": A, "b": B}), bank("more", {"a": A})]
    one, two = match(SHA, frames(A), banks, "m", {held})
    assert not one.live
    assert "quarantined" in one.note
    assert two.live
    assert match(SHA, frames(B), banks, "m", {held})[0].live is (held[1] != "")


def test_of_many_matches_the_nearest_are_kept():
    """A bank may know one picture a hundred times."""
    near = {f"n{bits:02}": turned(A, bits) for bits in range(31)}
    found = match(SHA, frames(A), [bank("pictures", near)], "m")
    assert [one.distance for one in found] == list(range(20))


class TestSignal:
    """What the policy is told."""

    def test_the_nearest_match_that_counts_speaks(self):
        """With the likeness of its distance and evidence in words."""
        banks = [bank("pictures", {"a": turned(A, 16)}, harm="reported imagery"), bank("near", {"x": A}, rollout=0.0)]
        found = recognise(SHA, frames(A), banks, "m").signal
        assert found is not None
        assert (found.family, found.status) == (Family.KNOWN_CONTENT, SignalStatus.SCORED)
        assert found.probability == likeness(16) == 0.875
        (evidence,) = found.evidence
        assert evidence.note == "known to pictures (reported imagery) as a: 16 of 256 bits differ"
        assert evidence.at == 0.0
        assert found.detectors == tuple(sorted(each.version for each in banks))

    def test_what_no_bank_knows_is_judged_and_not_known(self):
        """Probability 0: it was looked for."""
        found = recognise(SHA, frames(B), [bank("pictures", {"a": A})], "m").signal
        assert found is not None
        assert (found.status, found.probability, found.evidence) == (SignalStatus.SCORED, 0.0, ())

    def test_what_cannot_be_compared_is_not_applicable(self):
        """Sound, or a plain picture, where no bank holds digests."""
        found = recognise(SHA, (), [bank("pictures", {"a": A})], "m").signal
        assert found is not None
        assert (found.status, found.probability) == (SignalStatus.NOT_APPLICABLE, None)
        digests = bank("exact", {"x": bytes.fromhex(ELSE)}, Kind.SHA256)
        found = recognise(SHA, (), [digests], "m").signal
        assert found is not None
        assert found.status is SignalStatus.SCORED

    def test_without_banks_nothing_is_said(self):
        """No signal at all."""
        assert signal((), frames(A), ()) is None

    def test_a_likeness_falls_from_one_to_zero(self):
        """1 for the same hash, 0 at the distance of unrelated pictures."""
        values = [likeness(distance) for distance in range(257)]
        assert values[0] == 1.0
        assert values[128:] == [0.0] * 129
        assert values == sorted(values, reverse=True)
