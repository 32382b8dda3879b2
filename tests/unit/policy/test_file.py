"""A policy file is either sound or refused with everything that is wrong with it, each at its place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from pipeline.errors import ConfigError
from pipeline.events.values import Family, Surface
from pipeline.moments import length
from pipeline.policy.file import CALIBRATION, load, parse, read_calibration
from pipeline.policy.places import BadPolicy
from pipeline.policy.rules import On
from tests.unit.policy.sample import CALIBRATED, POLICY, TEXT, replaced, with_rule


def refused(text: str) -> str:
    with pytest.raises(BadPolicy) as caught:
        parse(text, "p.yaml", CALIBRATED)
    message = str(caught.value)
    assert all(line.startswith("policy p.yaml: ") for line in message.split("\n"))
    assert len(caught.value.problems) == message.count("\n") + 1
    return message.replace("policy p.yaml: ", "")


def test_the_default_policy_is_sound() -> None:
    """The policy that ships loads, and requires what the first detectors look for."""
    policy = load(None)
    assert {Family.FACE_SWAP, Family.FACE_SYNTHESIS} <= set(policy.fusion.requires)
    assert policy.version.startswith("default@")


def test_the_version_is_that_of_the_content() -> None:
    """Comments and layout leave the version alone, a threshold changes it; fusion has a version of its own."""
    first = parse(TEXT, "a")
    same = parse("# a comment\n" + replaced("[face_swap]", "[  face_swap ]"), "b")
    assert (same.version, same.file) == (first.version, first.file)
    stricter = parse(replaced("swap: 0.83", "swap: 0.70"), "c")
    assert stricter.version != first.version
    assert stricter.fusion_version == first.fusion_version
    pooled = parse(replaced("top_share: 0.1", "top_share: 0.5"), "d")
    recalibrated = parse(TEXT, "e", CALIBRATED)
    assert len({first.fusion_version, pooled.fusion_version, recalibrated.fusion_version}) == 3
    assert recalibrated.version == first.version


@pytest.mark.parametrize(("text", "expected"), [("30m", timedelta(minutes=30)), ("2d", timedelta(days=2))])
def test_durations(text: str, expected: timedelta) -> None:
    """Minutes, hours and days."""
    assert length(text) == expected


def at(old: str, into: int = 0) -> str:
    """`line n, column m` of what stands so many characters after the beginning of `old` in the sample."""
    index = TEXT.index(old) + into
    return f"line {TEXT.count(chr(10), 0, index) + 1}, column {index - TEXT.rfind(chr(10), 0, index)}: "


NO_LABEL = "    label: AI-generated, as the uploader says\n"
SWAP = "swapped: face_swap.probability >= threshold.swap"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("- 1", "line 1, column 1: Expected `object`, got `array`"),
        ("a: [", "line 1, column 5: "),
        ("name: a\nname: b", "line 2, column 1: 'name' is given twice"),
        ("name: &a [*a]", "line 1, column 1: name: Expected `str`"),
        (replaced("name: sample", "title: x\nname: sample"), "line 1, column 1: title: there is no key 'title' here"),
        (replaced("name: sample", "name: Sam ple"), "line 1, column 1: name: Expected lower case, digits"),
        (
            replaced("    action: label", "    acton: label"),
            at("action: label") + "rules[0].acton (declared): there is no key 'acton' here; did you mean 'action'?",
        ),
        (replaced("swap: 0.83", "swap: 83"), at("swap: 0.83") + "thresholds.swap: Expected `float` <= 1.0"),
        (replaced("swap: 0.83", "swap: .nan"), "thresholds.swap: "),
        (replaced("deadline: 4h", "deadline: soon"), "rules[1].review.deadline (likely-swap): Expected a duration"),
        (replaced("deadline: 4h", "deadline: 0h"), "rules[1].review.deadline (likely-swap): Expected a duration"),
        (replaced("priority: 60", "priority: 101"), "rules[1].review.priority (likely-swap): "),
        (replaced("queue: faces", "queue: fases"), "rules[1].review.queue (likely-swap): there is no queue 'fases'"),
        (replaced("unless: [consented]", "unless: [consent]"), "rules[1].unless (likely-swap): there is no exemption"),
        (replaced("harm: fraud", "harm: frauds"), "there is no harm 'frauds'; known are: fraud, impersonation"),
        (replaced("clocks: [take-down", "clocks: [take-up"), "there is no clock 'take-up'"),
        (replaced("name: unreadable", "name: likely-swap"), "'likely-swap' is used twice"),
        (replaced("action: limit", "action: remove"), "a review goes with what applies until a person decides"),
        (replaced(NO_LABEL, ""), "`label` needs a `label`"),
        (
            replaced("    review: {queue: faces, priority: 80, deadline: 2h}\n", ""),
            "`hold` means until a person decides: it needs a review",
        ),
        (
            replaced("action: label", "action: allow").replace(NO_LABEL, ""),
            "does nothing",
        ),
        (
            replaced("when: up", "until: 2026-01-01\n    since: 2026-01-01\n    when: up"),
            "never apply",
        ),
        (replaced("    on: unjudged\n    action: hold", "    on: unjudged\n    action: remove"), "no fail mode"),
        (replaced("    review: {queue: triage, priority: 10, deadline: 2d}\n", ""), "not allowed without a review"),
        (replaced("on: unjudged", "on: unjudged\n    surfaces: [post]"), "`unjudged` upload on the surface `story`"),
        (replaced("on: unjudged", "on: unjudged\n    causes: [deadline]"), "no fail mode says what becomes of"),
        (replaced("on: unjudged", "on: unjudged\n    when: 'true'"), "no fail mode says what becomes of"),
        (replaced("on: unjudged", "on: unjudged\n    families: [nudity]"), "does not go with `unjudged`"),
        (replaced("on: missing", "on: missing\n    causes: [deadline]"), "does not go with `missing`"),
        (replaced("on: missing", "on: missing\n    unless: [consented]"), "nothing exempts from being looked at"),
        (replaced("on: missing", "on: missing\n    when: 'true'"), "when `face_swap` is `missing` on the surface"),
        (replaced("requires: [face_swap", "requires: [nudity, face_swap"), "when `nudity` is `missing` on the surface"),
        (
            replaced("on: uncertain\n    families: [face_swap]", "on: uncertain\n    families: [nudity]"),
            "is `uncertain`",
        ),
        (replaced("top_share: 0.1", "top_share: 0"), "fusion.default.top_share: "),
        (
            replaced("min_coverage: 0.5}", "min_coverage: 0.5, abstain: {low: 0.8, high: 0.8}}"),
            "fusion.default.abstain",
        ),
        (TEXT[: TEXT.index("rules:")] + "rules: []\n" + TEXT[TEXT.index("fail_modes:") :], "rules: Expected `array`"),
        (
            replaced("[NO, SE]", "[NO, UK]"),
            at("[NO, SE]", 5) + "jurisdictions.NORDIC.regions[1]: there is no country 'UK'; ISO 3166 says 'GB'",
        ),
        (
            replaced("[US]", "[USA]"),
            "clocks.take-down.jurisdictions[0]: there is no jurisdiction 'USA'; known",
        ),
        (replaced("NORDIC:", "NC:"), "reads like a country"),
        # In conditions.
        (
            replaced("is.swapped", "is.swaped"),
            "(likely-swap): there is no field 'is.swaped'; did you mean 'is.swapped'?",
        ),
        (
            replaced("threshold.swap", "threshold.swop"),
            at(SWAP, 34) + "define.swapped: there is no field 'threshold.swop'",
        ),
        (
            replaced("&& face_swap.p", "&& face_swop.p"),
            at("&& face_swap.p", 3) + "rules[3].when (intimate-swap): there is no field 'face_swop.probability'",
        ),
        (
            replaced("bility >= 0.5", "bility >= 1"),
            at("bility >= 0.5", 7) + "rules[3].when (intimate-swap): numbers are written",
        ),
        (replaced("'ad'", "'adv'"), at("'ad'") + "rules[2].when (likely-swap-in-ad): 'upload.surface' is never 'adv'"),
        (replaced("when: consent.given", "when: face_swap.probability"), "exemptions.consented.when: is no condition"),
    ],
)
def test_refused(text: str, complaint: str) -> None:
    """What a policy may not say is refused, at its place, with the rule's name."""
    assert complaint in refused(text)


def test_everything_is_said_at_once() -> None:
    """Ten mistakes need not ten attempts: shapes first, then names and conditions."""
    shapes = refused(replaced("deadline: 4h", "deadline: soon").replace("swap: 0.83", "swap: 83"))
    assert len(shapes.split("\n")) == 2
    rest = (
        replaced("queue: faces", "queue: fases")
        .replace("threshold.nude", "threshold.nud")
        .replace("harm: fraud", "harm: x")
    )
    assert len(refused(rest).split("\n")) == 3


def test_a_broken_definition_is_said_once() -> None:
    """Not again at every rule that uses it."""
    assert len(refused(replaced("threshold.swap", "threshold.swop")).split("\n")) == 1


def test_norway_is_a_region() -> None:
    """`NO` is a country and no truth value."""
    assert POLICY.file.jurisdictions["NORDIC"].regions == ("NO", "SE")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """An absent or binary file is named."""
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        load(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.yaml: is not UTF-8"):
        load(tmp_path / "binary.yaml")


def test_a_policy_of_ones_own(tmp_path: Path) -> None:
    """A file with another name loads from its path."""
    path = tmp_path / "mine.yaml"
    path.write_text(replaced("name: sample", "name: mine"), encoding="utf-8")
    assert load(path).version.startswith("mine@")


def test_every_surface_has_its_fail_modes() -> None:
    """The default policy says on every surface what becomes of what could not be judged."""
    policy = load(None)
    for surface in Surface:
        assert any(mode.on is On.UNJUDGED and mode.covers(surface) for mode in policy.fail_modes)


REMOVES = """
name: r
harm: fraud
reason: Found
when: >-
  {}
action: remove
"""


@pytest.mark.parametrize(
    "when",
    [
        "face_swap.probability >= 0.99",
        "face_swap.probability >= 0.99 && upload.surface == 'ad'",
        "face_swap.probability >= 0.99 && !consent.given",
        "face_swap.probability >= 0.99 && credentials.state == 'absent'",
        "face_swap.probability >= 0.99 || 'ncii' in known.banks",
        "face_swap.judged || upload.caption.matches('x')",
        "upload.declared_synthetic == false",
        "!('ncii' in known.banks)",
        "'true' == 'true'",
    ],
)
def test_models_alone_never_remove(when: str) -> None:
    """Whatever the form of the condition: something that people or records vouch for has to be needed for it."""
    assert "rules[0].when (r): models alone never remove" in refused(with_rule(REMOVES.format(when)))


@pytest.mark.parametrize(
    "when",
    [
        "'ncii' in known.banks",
        "known.banks.exists(bank, bank.startsWith('ncii'))",
        "known.exact && face_swap.probability >= 0.99",
        "request.kind == 'removal' && face_swap.probability >= 0.99",
        "face_swap.probability >= 0.9 && (consent.revoked || request.kind == 'consent_revoked')",
    ],
)
def test_what_people_vouch_for_may_be_removed(when: str) -> None:
    """With a bank of known content, a request or a revoked consent a rule may remove."""
    parse(with_rule(REMOVES.format(when)), "p.yaml", CALIBRATED)


def test_what_is_too_much_at_once_is_not_taken_for_sound() -> None:
    """A removing rule that cannot be looked through is refused, and said to be so."""
    many = " || ".join(f"{family}.probability >= {family}.low" for family in Family)
    assert "not to be found out" in refused(with_rule(REMOVES.format(f"({many}) && 'ncii' in known.banks")))


def test_what_is_advisory_may_not_act_alone() -> None:
    """A rule that restricts because of a family that was measured near chance is refused; asking a person is not."""
    swap = structs.replace(CALIBRATED.families[Family.FACE_SWAP], advisory=True)
    advisory = structs.replace(CALIBRATED, families={**CALIBRATED.families, Family.FACE_SWAP: swap})
    with pytest.raises(BadPolicy) as caught:
        parse(TEXT, "p.yaml", advisory)
    assert [problem.subject for problem in caught.value.problems] == [
        "rules[1].when (likely-swap)",
        "rules[2].when (likely-swap-in-ad)",
    ]
    assert "it rests on face_swap alone" in str(caught.value)
    light = TEXT.replace("    action: limit\n    review: {queue: faces", "    action: allow\n    review: {queue: faces")
    ads = "    action: hold\n    review: {queue: faces, priority: 80"
    parse(light.replace(ads, ads.replace("hold", "allow")), "p.yaml", advisory)


def test_a_calibration_file_that_is_none(tmp_path: Path) -> None:
    """What is wrong with it is said with its name."""
    with pytest.raises(ConfigError, match=r"absent\.json: cannot be read"):
        read_calibration(tmp_path / "absent.json")
    (tmp_path / "odd.json").write_text('{"name": "odd", "families": {"face_swop": {}}}')
    with pytest.raises(ConfigError, match=r"odd\.json: .*families"):
        read_calibration(tmp_path / "odd.json")
    assert read_calibration(CALIBRATION) == CALIBRATED
