"""The table of `unmask evaluate` on a terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from pipeline.events.values import Family
from pipeline.learn.evaluate import Evaluation, FamilyResult
from pipeline.learn.measure import Figure, Quality, Trust
from pipeline.show import evaluation_table

AREA = Figure(0.469, 0.301, 0.632)
QUALITY = Quality(1200, 1000, AREA, AREA, ((0.01, Figure(0.57, 0.5, 0.6)), (0.05, AREA)), roc=(), pr=())
TRUST = Trust(error=0.038, brier=0.2, abstained=1.0, false_positives=1.0, missed=0.0, bins=())


def test_no_figure_is_cut_on_a_narrow_terminal() -> None:
    """Every figure of every family stands in full in 80 columns, none wider."""
    families = tuple(FamilyResult(family, QUALITY, None, TRUST, False, (), (), (), (), ()) for family in Family)
    console = Console(width=80, file=StringIO())
    console.print(evaluation_table(Evaluation(1, (), families, (), (), (), "", "", 0.0)))
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for figure in ("0.469", "[0.30, 0.63]", "1200", "1000", "0.57", "0.038", "100%", "100.0%", "chance"):
        assert text.count(figure) >= len(Family), figure
