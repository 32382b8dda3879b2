"""Scores with labels, as `unmask evaluate` writes them and `unmask calibrate` reads them: a CSV, one row per signal.

One row says what one family's signal said of one item, at one level. An item counts as positive for a family when its
manipulation is one that the family looks for; genuine items count as negative for every family; other manipulations say
nothing about this family and are left out.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.events.values import Family

LOOKED_FOR_BY: Mapping[str, tuple[Family, ...]] = {
    "face_swap": (Family.FACE_SWAP,),
    "face_swap_in_video": (Family.FACE_SWAP,),
    "face_edit": (Family.FACE_SWAP,),
    "reenactment": (Family.REENACTMENT, Family.FACE_SWAP),
    "gan_face": (Family.FACE_SYNTHESIS,),
    "diffusion_face": (Family.FACE_SYNTHESIS, Family.IMAGE_SYNTHESIS),
    "diffusion_image": (Family.IMAGE_SYNTHESIS,),
    "style_transfer": (Family.STYLE_TRANSFER,),
    "lip_sync": (Family.LIP_SYNC,),
    "shifted_sound": (Family.LIP_SYNC,),
    "replaced_sound": (Family.LIP_SYNC,),
    "splice": (Family.SPLICE,),
    "local_edit": (Family.LOCAL_EDIT,),
    "voice_clone": (Family.VOICE_CLONE,),
    "signed_as_generated": (Family.PROVENANCE,),
    **{
        family.value: (family,)
        for family in (Family.EYES_AND_HEAD, Family.LIGHTING, Family.GENERATOR_METADATA, Family.NUDITY)
    },
    **dict.fromkeys(("held_eyes", "one_eye_held", "moved_reflections"), (Family.EYES_AND_HEAD,)),
    **dict.fromkeys(("relit_face", "turning_light", "tinted_face", "flickering_face"), (Family.LIGHTING,)),
    **dict.fromkeys(("trembling_face", "warped_face", "drifting_face"), (Family.REENACTMENT,)),
}
"""Kinds of manipulation, as manifests call them, and the families whose detectors should find them."""


class Level(StrEnum):
    """What a row speaks of: one frame's (or segment's) evidence, or the whole upload."""

    FRAME = "frame"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One signal on one item.

    `made`: the item's kind of manipulation; empty for genuine ones. `score`: pooled and raw; `probability`: calibrated;
    both None when nothing was said, and `status` says why. `side`: pixels of the shorter side, 0 for sound. `variant`:
    what was done to the item before it was judged (empty: nothing), for robustness. `fold`: seen in training or not.
    """

    file: str
    fake: bool
    made: str
    source: str
    signal: Family
    level: Level
    status: str
    score: float | None
    probability: float | None
    low: float | None = None
    high: float | None = None
    kind: str = ""
    codec: str = ""
    side: int = 0
    at: float | None = None
    variant: str = ""
    fold: str = ""

    @property
    def counts(self) -> bool:
        """Whether the item is genuine or of a kind that this signal looks for."""
        return not self.fake or self.signal in LOOKED_FOR_BY.get(self.made, ())


_COLUMNS = tuple(ScoreRow.__dataclass_fields__)


def write_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Write all rows, with a head line."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        out = csv.writer(stream)
        out.writerow(_COLUMNS)
        for row in rows:
            out.writerow(["" if getattr(row, name) is None else str(getattr(row, name)) for name in _COLUMNS])


def read_scores(path: Path) -> tuple[ScoreRow, ...]:
    """All rows of a file. Only `file`, `fake` or `label`, `signal` and `score` must be there.

    Raises:
        ConfigError: no such file, a column is missing, or a line makes no sense; the line is named.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream)
            missing = {"file", "signal", "score"} - set(table.fieldnames or ())
            if missing:
                raise ConfigError(f"{path}: no column {', '.join(sorted(missing))}")
            return tuple(_row(line, path, table.line_num) for line in table)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not a CSV file: {error}") from None


def _row(line: Mapping[str, str | None], path: Path, number: int) -> ScoreRow:
    def text(name: str) -> str:
        return line.get(name) or ""

    try:
        if (label := text("label") or text("fake").lower()) not in {"real", "fake", "true", "false"}:
            raise ValueError("`label` is real or fake")
        return ScoreRow(
            file=text("file"),
            fake=label in {"fake", "true"},
            made=text("made") or text("family"),
            source=text("source"),
            signal=Family(text("signal")),
            level=Level(text("level") or Level.UPLOAD),
            status=text("status") or "scored",
            score=_share(text("score")),
            probability=_share(text("probability")),
            low=_share(text("low")),
            high=_share(text("high")),
            kind=text("kind"),
            codec=text("codec"),
            side=int(text("side") or 0),
            at=float(text("at")) if text("at") else None,
            variant=text("variant"),
            fold=text("fold"),
        )
    except ValueError as error:
        raise ConfigError(f"{path}, line {number}: {error}") from None


def _share(text: str) -> float | None:
    if not text:
        return None
    value = float(text)
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ValueError(f"{text} is no score: they lie between 0 and 1")
    return value


def of_family(rows: Iterable[ScoreRow], family: Family, level: Level = Level.UPLOAD) -> Sequence[ScoreRow]:
    """The scored, unaltered rows that say how good this family's signal is."""
    return [
        row
        for row in rows
        if row.signal is family and row.level is level and row.counts and row.score is not None and not row.variant
    ]
