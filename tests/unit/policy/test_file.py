"""A policy file is either sound or refused with the place and what to change."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from pipeline.errors import ConfigError
from pipeline.events.values import Family, Surface
from pipeline.policy.file import CALIBRATION, DEFAULT, load, parse, read_calibration
from pipeline.policy.rules import On, Review

TEXT = DEFAULT.read_text(encoding="utf-8")
SHIPPED = read_calibration(CALIBRATION)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "p.yaml", SHIPPED)
    message = str(caught.value)
    assert message.startswith("policy p.yaml: ")
    return message.removeprefix("policy p.yaml: ")


def test_the_default_policy_is_sound() -> None:
    """The policy that ships loads, and requires what the first detectors look for."""
    policy = load(None)
    assert list(policy.queues) == ["intimate", "faces", "synthetic", "triage", "unreadable"]
    assert policy.fusion.requires == (Family.FACE_SWAP, Family.FACE_SYNTHESIS)
    assert policy.version.startswith("default@")


def test_the_version_is_that_of_the_content() -> None:
    """Comments and layout leave the version alone, a threshold changes it; fusion has a version of its own."""
    first = parse(TEXT, "a")
    assert (
        parse("# a comment\n" + TEXT.replace("[face_swap, face_synthesis]", "[ face_swap,face_synthesis ]"), "b")
        == first
    )
    stricter = parse(TEXT.replace("when: {face_swap: 0.83}", "when: {face_swap: 0.70}"), "c")
    assert stricter.version != first.version
    assert stricter.fusion_version == first.fusion_version
    pooled = parse(TEXT.replace("top_share: 0.25", "top_share: 0.5"), "d")
    recalibrated = parse(TEXT, "e", SHIPPED)
    assert len({first.fusion_version, pooled.fusion_version, recalibrated.fusion_version}) == 3
    assert recalibrated.version == first.version


@pytest.mark.parametrize(("text", "length"), [("30m", timedelta(minutes=30)), ("2d", timedelta(days=2))])
def test_deadlines(text: str, length: timedelta) -> None:
    """Minutes, hours and days."""
    assert Review(queue="q", priority=1, deadline=text).within == length


def replaced(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("- 1", "Expected `object`, got `array`"),
        ("a: [", "line 1, column 5: "),
        ("name: a\nname: b", "line 2, column 1: 'name' is given twice"),
        ("name: &a [*a]", "name: Expected `str`"),
        (replaced("name: default", "title: x\nname: default"), "unknown field `title`"),
        (replaced("name: default", "version: x\nname: default"), "unknown field `version`"),
        (replaced("name: default", "name: De fault"), "name: Expected `str` matching"),
        (replaced("    action: label", "    acton: label"), "rules[0] (declared-synthetic): "),
        (replaced("when: {face_swap: 0.83}", "when: {face_swap: 80}"), "rules[2].when[...] (likely-face-swap): "),
        (replaced("when: {face_swap: 0.83}", "when: {face_swap: .nan}"), "rules[2].when[...] (likely-face-swap): "),
        (replaced("when: {face_swap: 0.83}", "when: {face_swop: 0.8}"), "rules[2].when (likely-face-swap): "),
        (replaced("when: {face_swap: 0.83}", "regions: [DE]"), "a rule needs a condition"),
        (replaced("deadline: 4h", "deadline: soon"), "rules[2].review.deadline (likely-face-swap): "),
        (replaced("deadline: 4h", "deadline: 0h"), "rules[2].review.deadline (likely-face-swap): "),
        (replaced("priority: 60", "priority: 101"), "rules[2].review.priority (likely-face-swap): "),
        (replaced("queue: faces", "queue: fases"), "sends to the queue 'fases'; known are: faces, intimate"),
        (replaced("name: unreadable", "name: likely-face-swap"), "'likely-face-swap' is used twice"),
        (replaced("action: limit", "action: remove"), "models alone never remove"),
        (replaced("    label: AI-generated, as the file says\n", ""), "goes with the action `label`"),
        (
            replaced("    action: hold\n    review: {queue: faces, priority: 80, deadline: 2h}", "    action: hold"),
            "a review",
        ),
        (replaced("    review: {queue: synthetic, priority: 30, deadline: 1d}\n", ""), "does nothing"),
        (replaced("    on: unjudged\n    action: hold", "    on: unjudged\n    action: remove"), "no fail mode"),
        (replaced("    review: {queue: triage, priority: 5, deadline: 2d}\n", ""), "not allowed without a review"),
        (replaced("on: unjudged", "on: unjudged\n    surfaces: [post]"), "`unjudged` upload on the surface `story`"),
        (replaced("on: unjudged", "on: unjudged\n    causes: [deadline]"), "no fail mode says what becomes of"),
        (replaced("on: unjudged", "on: unjudged\n    families: [nudity]"), "does not go with `unjudged`"),
        (replaced("on: missing", "on: missing\n    causes: [deadline]"), "does not go with `missing`"),
        (replaced("requires: [face_swap", "requires: [nudity, face_swap"), "when `nudity` is `missing` on the surface"),
        (replaced("families: [face_synthesis]", "families: [nudity]"), "when `face_synthesis` is `uncertain`"),
        (
            replaced("      min_coverage: 0.3", "      min_coverage: 0.3\n      abstain: {low: 0.8, high: 0.8}"),
            "fusion.families[...].abstain",
        ),
        (replaced("top_share: 0.1", "top_share: 0"), "fusion.default.top_share: "),
        (TEXT[: TEXT.index("rules:")] + "rules: []\n" + TEXT[TEXT.index("fail_modes:") :], "rules: Expected `array`"),
    ],
)
def test_refused(text: str, complaint: str) -> None:
    """What a policy may not say is refused, at its place, with the rule's name."""
    assert complaint in refused(text)


def test_norway_is_a_region() -> None:
    """`NO` is a country and no truth value."""
    policy = parse(replaced("    surfaces: [ad]", "    regions: [NO, SE]"), "p.yaml")
    assert policy.rules[3].regions == ("NO", "SE")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """An absent or binary file is named."""
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        load(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml: is not UTF-8"):
        load(tmp_path / "binary.yaml")


def test_a_policy_of_ones_own(tmp_path: Path) -> None:
    """A copy with another name loads from its path."""
    path = tmp_path / "mine.yaml"
    path.write_text(replaced("name: default", "name: mine"), encoding="utf-8")
    assert load(path).version.startswith("mine@")


def test_every_surface_has_its_fail_modes() -> None:
    """The default policy says on every surface what becomes of what could not be judged."""
    policy = load(None)
    for surface in Surface:
        assert any(mode.on is On.UNJUDGED and mode.covers(surface) for mode in policy.fail_modes)


def test_what_is_advisory_may_not_act_alone() -> None:
    """A rule that restricts because of a family that was measured near chance is refused; asking a person is not."""
    swap = structs.replace(SHIPPED.families[Family.FACE_SWAP], advisory=True)
    advisory = structs.replace(SHIPPED, families={**SHIPPED.families, Family.FACE_SWAP: swap})
    with pytest.raises(ConfigError, match="'likely-face-swap' rests on face_swap alone"):
        parse(TEXT, "p.yaml", advisory)
    light = replaced(
        "    action: limit\n    review: {queue: faces, priority: 60",
        "    action: allow\n    review: {queue: faces, priority: 60",
    )
    ads = "    action: hold\n    review: {queue: faces, priority: 80"
    parse(light.replace(ads, ads.replace("hold", "allow")), "p.yaml", advisory)


def test_a_calibration_file_that_is_none(tmp_path: Path) -> None:
    """What is wrong with it is said with its name."""
    with pytest.raises(ConfigError, match=r"absent\.json: cannot be read"):
        read_calibration(tmp_path / "absent.json")
    (tmp_path / "odd.json").write_text('{"name": "odd", "families": {"face_swop": {}}}')
    with pytest.raises(ConfigError, match=r"odd\.json: .*families"):
        read_calibration(tmp_path / "odd.json")
