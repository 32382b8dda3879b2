"""A small policy for tests: they do not change when the policy that ships does."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import structs

from pipeline.events import MediaUploaded
from pipeline.events.values import Evidence, Family, Signal, SignalStatus
from pipeline.policy.case import Case
from pipeline.policy.file import CALIBRATION, parse, read_calibration

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UPLOAD = MediaUploaded(media_id="m-1", uri="s3://b/k", uploaded_at=NOW)
CALIBRATED = read_calibration(CALIBRATION)

TEXT = """\
name: sample

harms:
  intimate: {what: intimate imagery without consent, severity: 5}
  impersonation: {what: a person is made to say what they did not, severity: 3}
  fraud: {what: a false face that asks for money, severity: 3}
  synthesis: {what: synthetic media that is not said to be, severity: 1}
  not-judged: {what: nothing is known, severity: 3}

queues:
  intimate: {what: possible intimate imagery, handling: 5m}
  faces: {what: possible face swaps, handling: 6m}
  triage: {what: the rest, handling: 4m}

jurisdictions:
  NORDIC: {regions: [NO, SE]}

clocks:
  take-down: {within: 48h, source: a law, jurisdictions: [US]}
  complaint: {within: 2h, source: another law, jurisdictions: [IN]}
  promise: {within: 30m, source: our own word, starts: decision}

thresholds:
  swap: 0.83
  nude: 0.80

define:
  swapped: face_swap.probability >= threshold.swap

exemptions:
  consented: {when: consent.given, reason: The person shown agreed}

fusion:
  evidence: 5
  requires: [face_swap]
  default: {top_share: 0.1, min_coverage: 0.5}

rules:
  - name: declared
    harm: synthesis
    reason: The uploader declared it
    when: upload.declared_synthetic
    action: label
    label: AI-generated, as the uploader says

  - name: likely-swap
    harm: impersonation
    reason: Possible face swap
    when: is.swapped
    unless: [consented]
    action: limit
    review: {queue: faces, priority: 60, deadline: 4h}

  - name: likely-swap-in-ad
    harm: fraud
    reason: Possible face swap in an advertisement
    when: is.swapped && upload.surface == 'ad'
    unless: [consented]
    action: hold
    review: {queue: faces, priority: 80, deadline: 2h}

  - name: intimate-swap
    harm: intimate
    reason: Possible intimate imagery with a swapped face
    when: >-
      nudity.probability >= threshold.nude
      && face_swap.probability >= 0.5
    action: hold
    review: {queue: intimate, priority: 100, deadline: 1h, clocks: [take-down, complaint]}

fail_modes:
  - name: unreadable
    harm: not-judged
    reason: Could not be screened
    on: unjudged
    action: hold
    review: {queue: triage, priority: 40, deadline: 8h}

  - name: not-judged-in-full
    harm: not-judged
    reason: Not judged in full
    on: missing
    families: [face_swap]
    action: limit
    review: {queue: triage, priority: 20, deadline: 1d, clocks: [promise]}

  - name: swap-in-doubt
    harm: impersonation
    reason: A face swap cannot be ruled out
    on: uncertain
    families: [face_swap]
    unless: [consented]
    action: allow
    review: {queue: triage, priority: 10, deadline: 2d}
"""

POLICY = parse(TEXT, "sample.yaml", CALIBRATED)


def with_rule(rule: str, *, instead: bool = True, more: str = "") -> str:
    """The sample with this rule (as in the file, without the first dash) instead of, or beside, its own."""
    head, rest = TEXT.split("rules:\n", 1)
    own, tail = rest.split("fail_modes:\n", 1)
    lines = rule.strip("\n").split("\n")
    written = "\n".join([f"  - {lines[0]}", *(f"    {line}" for line in lines[1:])])
    return f"{head}{more}rules:\n{'' if instead else own}{written}\n\nfail_modes:\n{tail}"


def replaced(old: str, new: str) -> str:
    """The sample with other words."""
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def scored(**probabilities: float) -> tuple[Signal, ...]:
    """A clean face swap signal, with these instead or besides."""
    values = {Family.FACE_SWAP: 0.05, **{Family(name): value for name, value in probabilities.items()}}
    return tuple(
        Signal(
            family=family,
            status=SignalStatus.SCORED,
            probability=value,
            low=max(0.0, value - 0.05),
            high=min(1.0, value + 0.05),
            evidence=(Evidence(detector="d", score=value, at=3.27),),
        )
        for family, value in values.items()
    )


def case(*signals: Signal, **upload: object) -> Case:
    """These signals of an upload; without any, it is clean."""
    return Case(structs.replace(UPLOAD, **upload), NOW, signals or scored())
