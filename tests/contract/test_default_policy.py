"""The policy that ships does what its cases say, and they leave nothing out."""

from __future__ import annotations

from pipeline.policy.cases import beside, read
from pipeline.policy.file import DEFAULT, load

POLICY = load(None)


def test_every_case_holds_and_nothing_is_without_one() -> None:
    """Each rule, fail mode, exemption and clock of the default policy has a case, and comes out as it says."""
    ran = read(beside(DEFAULT), POLICY).run()
    assert [(result.name, result.misses) for result in ran.results if not result.held] == []
    assert ran.idle == {}


def test_every_rule_has_somebody_who_answers_for_it() -> None:
    """A rule without an owner is nobody's when it errs."""
    assert [rule.name for rule in POLICY.rules if not rule.owner] == []


def test_nothing_is_removed_by_default() -> None:
    """The shipped policy asks people; who vouches for a bank may let it remove."""
    assert [rule.name for rule in POLICY.rules if rule.action == "remove"] == []


def test_every_clock_names_its_source_and_every_legal_one_counsel() -> None:
    """Deadlines are data with a source; what binds a platform is not for software to say."""
    for name, clock in POLICY.file.clocks.items():
        assert "Counsel decides" in clock.source or "own promise" in clock.source, name


def test_every_harm_has_a_fail_mode_or_is_found_by_no_detector() -> None:
    """For each harm that rests on detectors the policy says what follows when they do not answer."""
    without = set(POLICY.harms) - {mode.harm for mode in POLICY.fail_modes}
    assert without == {"without-consent", "ordered"}
