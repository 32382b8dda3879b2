"""The label that players are given."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.events.enforced import LabelKind, LabelSource
from pipeline.events.values import (
    Action,
    Credentials,
    CredentialState,
    Family,
    MediaFacts,
    MediaKind,
    RegionalDecision,
    Saw,
    Signal,
    SignalStatus,
)
from pipeline.route import route
from pipeline.settle import settle
from pipeline.statements.label import AI_ACT, ICON, IPTC, viewer_label
from tests.restricted import SWAP, answer, hit, restricted


def by_family(family: Family, **changes):
    signal = Signal(family=family, status=SignalStatus.SCORED, probability=0.9)
    return restricted(Action.LABEL, hits=(hit(Action.LABEL, "unsaid", family=family, label="L", saw=()),), label="L",
                      signals=(signal,), **changes)  # fmt: skip


def test_nothing_is_labelled_without_a_text() -> None:
    """A limit shows viewers nothing."""
    assert route(restricted(Action.LIMIT)).outcome.viewer_label is None


@pytest.mark.parametrize(
    ("family", "kind", "iptc"),
    [
        (Family.FACE_SWAP, LabelKind.MANIPULATED, "compositeWithTrainedAlgorithmicMedia"),
        (Family.VOICE_CLONE, LabelKind.GENERATED, "trainedAlgorithmicMedia"),
        (Family.IMAGE_SYNTHESIS, LabelKind.GENERATED, "trainedAlgorithmicMedia"),
        (Family.SPLICE, LabelKind.EDITED, None),
    ],
)
def test_the_kind_follows_from_what_was_found(family: Family, kind: LabelKind, iptc: str | None) -> None:
    """With the IPTC's word for it, and the icon where a model had a part."""
    label = route(by_family(family)).outcome.viewer_label
    assert label is not None
    assert (label.text, label.kind, label.source) == ("L", kind, LabelSource.DETECTOR)
    assert label.digital_source_type == (IPTC + iptc if iptc else None)
    assert label.icon == (ICON if iptc else None)


def test_what_metadata_say_is_the_files_word() -> None:
    """No detector looked at the picture."""
    label = route(by_family(Family.GENERATOR_METADATA)).outcome.viewer_label
    assert label is not None
    assert (label.kind, label.source) == (LabelKind.GENERATED, LabelSource.METADATA)


def test_the_uploaders_word_is_the_uploaders() -> None:
    """It does not say how it was made, so neither does the label."""
    saw = (Saw(field="upload.declared_synthetic", value=True),)
    declared = hit(Action.LABEL, "unsaid", label="AI", family=None, saw=saw)
    label = viewer_label(restricted(Action.LABEL, hits=(declared,), label="AI", declared_synthetic=True))
    assert label is not None
    assert (label.kind, label.source, label.icon) == (LabelKind.SYNTHETIC, LabelSource.UPLOADER, ICON)
    assert label.digital_source_type is None


def test_what_credentials_state_is_repeated() -> None:
    """The file names its own source type."""
    credentials = Credentials(
        state=CredentialState.UNTRUSTED, source_types=("digitalCapture", "compositeWithTrainedAlgorithmicMedia")
    )
    decided = by_family(Family.PROVENANCE)
    facts = MediaFacts(kind=MediaKind.IMAGE, container="jpeg", credentials=credentials)
    label = viewer_label(msgspec.structs.replace(decided, facts=facts))
    assert label is not None
    assert (label.kind, label.source) == (LabelKind.MANIPULATED, LabelSource.CREDENTIALS)
    assert label.digital_source_type == IPTC + "compositeWithTrainedAlgorithmicMedia"


def test_a_law_is_named_where_it_holds() -> None:
    """The AI Act asks for it in the EEA, and says nothing elsewhere."""
    for regions, basis in (((), (AI_ACT,)), (("US", "IS"), (AI_ACT,)), (("US", "GB"), ())):
        label = viewer_label(by_family(Family.FACE_SWAP, regions=regions))
        assert label is not None
        assert label.basis == basis


def test_a_label_for_some_regions_names_them() -> None:
    """Those whose text it is."""
    hits = (hit(Action.LABEL, "unsaid", label="EU", regions=("DE", "FR")),)
    regional = (
        RegionalDecision(regions=("FR",), action=Action.LABEL, reasons=("a",), label="EU"),
        RegionalDecision(regions=("IN",), action=Action.LABEL, reasons=(), label="India"),
        RegionalDecision(regions=("DE",), action=Action.LIMIT, reasons=("b",), label="EU"),
    )
    label = viewer_label(restricted(Action.ALLOW, hits=hits, regional=regional))
    assert label is not None
    assert (label.text, label.regions) == ("EU", ("DE", "FR"))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, LabelKind.MANIPULATED),
        ({"confirmed": (Family.FACE_SYNTHESIS,)}, LabelKind.GENERATED),
        ({"denied": (Family.FACE_SWAP,)}, LabelKind.UNSPECIFIED),
    ],
)
def test_a_persons_label_is_the_persons(fields, kind: LabelKind) -> None:
    """What was confirmed; else what seemed likely and was not denied."""
    task = route(restricted(Action.LIMIT, review=True, signals=(SWAP,))).task
    assert task is not None
    review = answer(restricted(Action.LIMIT, review=True), Action.LABEL, label="Parody", **fields)
    label = settle(review, task).viewer_label
    assert label is not None
    assert (label.text, label.source, label.kind) == ("Parody", LabelSource.PERSON, kind)
    assert settle(msgspec.structs.replace(review, action=Action.ALLOW), task).viewer_label is None
