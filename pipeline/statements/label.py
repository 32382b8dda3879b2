"""The label that viewers and players are shown: where the claim comes from, and what kind of claim it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeline.events import MediaDecided, ReviewDecided, ReviewRequested
from pipeline.events.enforced import LabelKind, LabelSource, ViewerLabel
from pipeline.events.values import Family, Region, RuleHit
from pipeline.statements.grounds import EDITED, GENERATED, MANIPULATED, likely_families, relied_on
from pipeline.statements.terms import EEA

IPTC: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""The IPTC's digital source types (NewsCodes)."""

SYNTHETIC_TYPES: Final = (
    "trainedAlgorithmicMedia",
    "compositeWithTrainedAlgorithmicMedia",
    "compositeSynthetic",
    "algorithmicMedia",
    "virtualRecording",
)
"""Those that mean: a machine made it, or part of it."""

ICON: Final = "AI"
"""The common icon of the EU's code of practice on marking and labelling AI-generated content."""

AI_ACT: Final = "EU AI Act, Art. 50(4)"
"""Regulation (EU) 2024/1689: deep fakes are disclosed. It binds whoever deploys the system; a platform helps."""

_TYPE_OF_KIND: Final = {
    LabelKind.GENERATED: "trainedAlgorithmicMedia",
    LabelKind.MANIPULATED: "compositeWithTrainedAlgorithmicMedia",
}


def viewer_label(decided: MediaDecided) -> ViewerLabel | None:
    """The label that follows from a decision; None where nothing is labelled.

    Where only some regions have a label it names them; where texts differ between regions, the one that holds
    outside of them is given, or the first.
    """
    text, regions = _text(decided)
    if text is None:
        return None
    hits = [hit for hit in decided.decision.trace if hit.acts and hit.label == text]
    source = label_source(decided, hits)
    stated = _stated(decided) if source is LabelSource.CREDENTIALS else None
    families = relied_on(decided, hits)
    kind = LabelKind.SYNTHETIC if source is LabelSource.UPLOADER else _kind(families, stated)
    return _label(text, kind, source, regions, decided.upload.regions, stated)


def reviewed_label(review: ReviewDecided, task: ReviewRequested, text: str | None) -> ViewerLabel | None:
    """The label that a reviewer's answer leads to, everywhere; None without a text.

    Its kind is what the reviewer confirmed, else what the machine thinks likely and the reviewer did not deny.
    """
    if text is None:
        return None
    families = frozenset(review.confirmed) or likely_families(task.signals) - set(review.denied)
    kind = _kind(families, None)
    if kind is LabelKind.UNSPECIFIED and task.upload.declared_synthetic:
        kind = LabelKind.SYNTHETIC
    return _label(text, kind, LabelSource.PERSON, (), task.upload.regions, None)


def label_source(decided: MediaDecided, hits: Iterable[RuleHit]) -> LabelSource:
    """Whose word it is. The uploader's own comes first, then the file's: neither needs a detector to be believed."""
    fields = {saw.field for hit in hits for saw in hit.saw}
    families = relied_on(decided, hits)
    if decided.upload.declared_synthetic and ("upload.declared_synthetic" in fields or not families):
        return LabelSource.UPLOADER
    if Family.PROVENANCE in families or (not families and any(field.startswith("credentials.") for field in fields)):
        return LabelSource.CREDENTIALS
    return LabelSource.METADATA if families == {Family.GENERATOR_METADATA} else LabelSource.DETECTOR


def _text(decided: MediaDecided) -> tuple[str | None, tuple[Region, ...]]:
    decision = decided.decision
    if decision.label is not None:
        return decision.label, ()
    text = next((each.label for each in decision.regional if each.label is not None), None)
    return text, tuple(sorted(region for each in decision.regional if each.label == text for region in each.regions))


def _stated(decided: MediaDecided) -> str | None:
    credentials = decided.facts.credentials if decided.facts else None
    return next((kind for kind in SYNTHETIC_TYPES if credentials and kind in credentials.source_types), None)


def _kind(families: frozenset[Family], stated: str | None) -> LabelKind:
    if stated is not None:
        return LabelKind.MANIPULATED if stated.startswith("composite") else LabelKind.GENERATED
    if families & MANIPULATED:
        return LabelKind.MANIPULATED
    if families & GENERATED:
        return LabelKind.GENERATED
    return LabelKind.EDITED if families & EDITED else LabelKind.UNSPECIFIED


def _label(
    text: str,
    kind: LabelKind,
    source: LabelSource,
    regions: tuple[Region, ...],
    shown: tuple[Region, ...],
    stated: str | None,
) -> ViewerLabel:
    by_model = kind in (LabelKind.GENERATED, LabelKind.MANIPULATED, LabelKind.SYNTHETIC)
    where = frozenset(regions or shown)
    name = stated or _TYPE_OF_KIND.get(kind)
    return ViewerLabel(
        text=text,
        kind=kind,
        source=source,
        digital_source_type=IPTC + name if name else None,
        icon=ICON if by_model else None,
        basis=(AI_ACT,) if by_model and (not where or where & frozenset(EEA)) else (),
        regions=regions,
    )
