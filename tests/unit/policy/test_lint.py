"""What is probably wrong with a sound policy is said once, at its place, and nothing is said of what is right."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.policy.file import read, sourced
from pipeline.policy.lint import Finding, Severity, lint
from tests.unit.policy.sample import CALIBRATED, TEXT, replaced, with_rule

TODAY = date(2026, 1, 1)


def found(text: str) -> list[Finding]:
    return list(lint(sourced(text, "p.yaml", CALIBRATED), TODAY))


CLEAN = TEXT.replace("jurisdictions: [US]", "jurisdictions: [US, NORDIC]").replace(
    "on: missing\n    families: [face_swap]", "on: missing\n    families: [face_swap, nudity]"
)


def beside(rule: str, more: str = "") -> list[Finding]:
    """What is said of a rule that is put beside the sample's own."""
    head, tail = CLEAN.split("fail_modes:\n", 1)
    lines = rule.strip("\n").split("\n")
    written = "\n".join([f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])])
    return found(f"{head}{written}\n\n{more}fail_modes:\n{tail}")


def test_a_clean_policy() -> None:
    """Nothing is said of a policy that is as it should be."""
    assert found(CLEAN) == []


def test_the_default_policy_has_no_errors() -> None:
    """The policy that ships holds what it says."""
    assert [each for each in lint(read(None), TODAY) if each.severity is Severity.ERROR] == []


RULE = """
name: new
harm: {harm}
reason: Found
when: >-
  {when}
action: {action}
{more}
"""


def rule(when: str, action: str = "limit", more: str = "", harm: str = "synthesis") -> str:
    return RULE.format(when=when, action=action, more=more, harm=harm)


LOOKS = "review: {queue: triage, priority: 1, deadline: 1h}"


@pytest.mark.parametrize(
    ("new", "severity", "text"),
    [
        (rule("upload.surface == 'ad' && upload.surface == 'post'"), "error", "can never hold"),
        (rule("face_swap.probability >= 0.9 && !face_swap.judged"), "error", "can never hold"),
        (rule("is.swapped && face_swap.probability < 0.5", more="mode: shadow"), "error", "can never hold"),
        (
            rule("'FR' in upload.regions && upload.regions == ['FR']", more="jurisdictions: [DE]"),
            "warning",
            "jurisdictions",
        ),
        (
            rule("upload.tags == [] && consent.given && upload.declared_synthetic", more="unless: [consented]"),
            "error",
            "never acts: the exemption 'consented' holds whenever it does",
        ),
        (rule("face_swap.coverage >= 0.0", "allow", LOOKS), "warning", "holds for every upload"),
        (
            rule("is.swapped", "label", "label: Altered\nunless: [consented]", "impersonation"),
            "error",
            "contradicts 'likely-swap': both hold for exactly the same uploads, and say different things: label",
        ),
        (
            rule(
                "!(face_swap.probability < 0.83) && face_swap.judged", "limit", "unless: [consented]", "impersonation"
            ),
            "error",
            "contradicts 'likely-swap'",
        ),
        (
            rule("is.swapped && upload.surface == 'ad' && !consent.given"),
            "warning",
            "decides nothing: 'likely-swap-in-ad' holds whenever it does, and is stronger (hold)",
        ),
        (
            rule("!(face_swap.probability >= 0.2) && upload.surface == 'live'"),
            "warning",
            "holds also where 'face_swap.probability' is not known; turn the comparison round, or add `&& face_",
        ),
        (
            rule("uploader.strikes != 0.0 && upload.surface == 'live'"),
            "warning",
            "holds also where 'uploader.strikes' is not known",
        ),
        (
            rule("face_swap.probability < 0.2 && upload.surface == 'live'"),
            "warning",
            "more suspicion, less action",
        ),
        (rule("face_swap.abstained && upload.surface == 'live'"), "warning", "more suspicion, less action"),
        (
            rule("face_swap.probability + nudity.probability > 1.5"),
            "warning",
            "not checked whether a higher face_swap ends it",
        ),
        (
            rule("lip_sync.probability >= 0.9 && upload.surface in ['ad', 'live']"),
            "warning",
            "no fail mode says what follows for the harm 'synthesis' when `lip_sync` is missing on ad, live",
        ),
        (rule("upload.tags == ['x']", more="until: 2026-01-01"), "warning", "is over since 2026-01-01"),
    ],
)
def test_rules(new: str, severity: str, text: str) -> None:
    """Of a rule that does not do what it says, or probably not what was meant, this is said."""
    about = [each for each in beside(new) if each.rule == "new"]
    assert (severity, True) in [(each.severity.value, text in each.text) for each in about], about


@pytest.mark.parametrize(
    "new",
    [
        rule("is.swapped", "allow", f"{LOOKS}\nunless: [consented]", "impersonation"),
        rule("is.swapped", "hold", f"{LOOKS}\nunless: [consented]\njurisdictions: [DE]", "impersonation"),
        rule("is.swapped", "hold", f"{LOOKS}\nunless: [consented]\nmode: shadow", "impersonation"),
        rule("is.swapped", "hold", f"{LOOKS}\nunless: [consented]\nmode: off", "impersonation"),
        rule("is.swapped", "hold", f"{LOOKS}", "impersonation"),
        rule("is.swapped && upload.surface == 'ad'", "limit"),
        rule("is.swapped && upload.surface == 'ad' && !consent.given", "limit", LOOKS),
        rule("is.swapped && upload.surface == 'ad' && !consent.given", more="mode: shadow"),
        rule("face_swap.probability < 0.2 && upload.surface == 'live'", "allow", LOOKS),
        rule("face_swap.abstained || face_swap.probability >= 0.5", "allow", LOOKS),
        rule("face_swap.probability >= 0.6 || face_swap.abstained && face_swap.probability >= 0.5", "limit", LOOKS),
        rule("!(face_swap.probability >= 0.2) && face_swap.judged", "allow", LOOKS),
        rule("upload.tags == ['x']", "limit", "since: 2020-01-01\nuntil: 2026-01-02"),
        rule("upload.caption.matches('(?i)vote') && upload.declared_synthetic"),
    ],
)
def test_rules_of_which_nothing_is_said(new: str) -> None:
    """Asking a person beside another rule, a stricter rule for a region, a draft: all of that is as it should be."""
    assert [each for each in beside(new) if each.rule == "new"] == []


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (CLEAN.replace("  nude: 0.80", "  nude: 0.80\n  other: 0.5"), "other", "nothing uses it (thresholds)"),
        (CLEAN.replace("define:\n", "define:\n  odd: 'true'\n"), "odd", "nothing uses it (define)"),
        (CLEAN.replace("queues:\n", "queues:\n  spare: {what: nothing}\n"), "spare", "nothing uses it (queues)"),
        (CLEAN.replace("clocks:\n", "clocks:\n  c: {within: 1h, source: s}\n"), "c", "nothing uses it (clocks)"),
        (
            CLEAN.replace("exemptions:\n", "exemptions:\n  e: {when: upload.declared_synthetic, reason: r}\n"),
            "e",
            "nothing uses it (exemptions)",
        ),
        (
            CLEAN.replace("when: consent.given", "when: consent.given && consent.revoked"),
            "consented",
            "can never hold",
        ),
        (
            CLEAN.replace("category", "").replace("severity: 5}", "severity: 5, category: STATEMENT_CATEGORY_ODD}"),
            "intimate",
            "no category STATEMENT_CATEGORY_ODD",
        ),
        (
            replaced("on: uncertain", "on: uncertain\n    when: consent.given"),
            "swap-in-doubt",
            "never applies",
        ),
    ],
)
def test_the_rest_of_the_file(text: str, name: str, said: str) -> None:
    """Names that nothing uses, exemptions and fail modes that can never apply, words that the law does not know."""
    if name == "swap-in-doubt":  # the family's band asks for a fail mode without a condition as well
        text += TEXT[TEXT.index("  - name: swap-in-doubt") :].replace("swap-in-doubt", "always-in-doubt")
    assert said in next(each for each in found(text) if each.rule == name).text


def test_fail_modes_that_can_never_apply() -> None:
    """Their surfaces and what is known of an upload that nobody could judge are taken into account."""
    extra = """
  - name: {}
    harm: not-judged
    reason: Not judged
    on: {}
    when: {}
    {}
    action: hold
    review: {{queue: triage, priority: 1, deadline: 1h}}
"""
    elsewhere = extra.format("a", "missing", "upload.surface == 'post'", "surfaces: [ad]")
    judged = extra.format("b", "unjudged", "face_swap.probability >= 0.5", "causes: [deadline]")
    keyed = extra.format("c", "missing", "upload.attributes.x == 'y'", "surfaces: [ad]")
    names = {each.rule for each in found(CLEAN + elsewhere + judged + keyed) if "can never apply" in each.text}
    assert names == {"a", "b"}


def test_places() -> None:
    """Line and column are those of the condition, or of the comparison inside it."""
    new = rule("upload.surface == 'live'\n  && !(face_swap.probability >= 0.2)", more=LOOKS, action="hold")
    (finding, *_) = [each for each in beside(new) if "not known" in each.text]
    text = TEXT
    line = text.count("\n", 0, text.index("fail_modes:")) + 1
    assert finding.line is not None
    assert finding.line == line + 5
    assert finding.column == 12


def test_what_is_too_much_is_named() -> None:
    """Nothing is claimed of a rule that cannot be looked through."""
    from pipeline.events.values import Family

    many = " && ".join(f"({family}.probability >= {family}.low || {family}.missing)" for family in Family)
    about = [each for each in beside(rule(many, "allow", LOOKS)) if each.rule == "new"]
    assert any("not checked: too many combinations" in each.text for each in about)
    assert {each.severity for each in about} == {Severity.WARNING}


def test_order() -> None:
    """Findings come as one reads the file, each once."""
    text = with_rule("name: r\nharm: fraud\nreason: F\nwhen: consent.given && consent.revoked\naction: limit")
    all_ = found(text)
    assert all_ == sorted(all_, key=lambda each: (each.line or 0, each.column or 0, each.text))
    assert len(set(all_)) == len(all_)
