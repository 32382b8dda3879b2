"""One file in, one report out: who can read it is decided by its content. Runs inside the sandbox."""

from __future__ import annotations

import os
from collections.abc import Sequence

from msgspec.structs import replace

from pipeline.decode import images, pyav
from pipeline.decode.handover import Look, Outbox, Report, WindowAt
from pipeline.decode.port import DecodeBudget, Span
from pipeline.decode.sniff import HEAD, Shape, sniff
from pipeline.errors import Permanent, Reason, Stage
from pipeline.provenance.content_credentials import read_credentials


def decode(fd: int, budget: DecodeBudget, out: Outbox) -> Report:
    """Decode the file behind a descriptor into `out`. Raises `Permanent`; MemoryError when the budget is too small."""
    head = os.pread(fd, HEAD, 0)
    if not head:
        raise Permanent(Stage.DECODE, Reason.MEDIA_EMPTY, "no bytes")
    found = sniff(head)
    if found.shape is Shape.REFUSED:
        raise Permanent(Stage.DECODE, Reason.MEDIA_UNSUPPORTED, f"not media: {found.name}")
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as file:
        if found.shape is Shape.IMAGE:
            report = images.decode(file, found.name, budget, out)
        else:
            report = pyav.decode(file, budget, out, known=found.shape is Shape.TIMELINE)
        anchors = budget.trust_anchors, budget.identity_anchors
        credentials = read_credentials(file, found.mime, *anchors) if found.mime else None
        return replace(report, facts=replace(report.facts, credentials=credentials))


def closer(fd: int, spans: Sequence[Span], budget: DecodeBudget, out: Outbox) -> Look:
    """Look closely at stretches of the video behind a descriptor. Raises as `decode` does."""
    if sniff(os.pread(fd, HEAD, 0)).shape in (Shape.IMAGE, Shape.REFUSED):
        return Look(tuple(WindowAt(note="not a video") for _ in spans))
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as file:
        return Look(pyav.closer(file, spans, budget, out))
