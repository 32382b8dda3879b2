"""The tables of `unmask evaluate` and `unmask calibrate` on a terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, ConsoleRenderable

from pipeline.calibration import Band, FamilyCalibration, Platt, Unit
from pipeline.events.values import Family, MediaKind
from pipeline.learn.calibrate import Fitted
from pipeline.learn.evaluate import Evaluation, FamilyResult
from pipeline.learn.measure import Figure, Quality, Trust
from pipeline.show import calibration_table, evaluation_table

AREA = Figure(0.469, 0.301, 0.632)
QUALITY = Quality(1200, 1000, AREA, AREA, ((0.01, Figure(0.57, 0.5, 0.6)), (0.05, AREA)), roc=(), pr=())
TRUST = Trust(error=0.038, brier=0.2, abstained=1.0, false_positives=1.0, missed=0.0, bins=())


def printed(table: ConsoleRenderable) -> str:
    stream = StringIO()
    Console(width=80, file=stream).print(table)
    text = stream.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_no_figure_of_an_evaluation_is_cut_on_a_narrow_terminal() -> None:
    """Every figure of every family stands in full in 80 columns, none wider."""
    families = tuple(FamilyResult(family, QUALITY, None, TRUST, False, (), (), (), (), ()) for family in Family)
    text = printed(evaluation_table(Evaluation(1, (), families, (), (), (), "", "", 0.0)))
    for figure in ("0.469", "[0.30, 0.63]", "1200", "1000", "0.57", "0.038", "100%", "100.0%", "chance"):
        assert text.count(figure) >= len(Family), figure


def test_no_figure_of_a_calibration_is_cut_on_a_narrow_terminal() -> None:
    """Every figure of every family stands in full in 80 columns, none wider."""
    made = FamilyCalibration(
        curve=Platt(slope=1.0),
        abstain=Band(low=0.45, high=0.85),
        auc=(0.469, 0.301, 0.632),
        real=1200,
        fake=1000,
        advisory=True,
    )
    fitted = [Fitted(family, made, 0.423, 0.308, 1.0, 0.125, 0.25, 2, 19) for family in Family]
    text = printed(calibration_table(fitted))
    for figure in ("0.469", "[0.30, 0.63]", "1200", "1000", "0.423", "0.308", "0.45", "0.85", "100%", "12.5%", "25.0%"):
        assert text.count(figure) >= len(Family), figure


def test_a_calibration_says_whose_items_its_bands_are_about() -> None:
    """Too few sources, or items asked for, are said in words; so is how many sources the others' band did not hold."""
    for by, sources, said in (
        (Unit.ITEMS, 7, "7 sources of genuine items, 19 are needed: nothing is promised of a new source"),
        (Unit.ITEMS, 31, "by items, as asked for: nothing is promised of a new source"),
        (Unit.SOURCES, 1, "1 source of genuine items, 19 are needed: the band reaches to 1"),
        (Unit.SOURCES, 31, "2 of 31 sources of genuine items have items above the band of the others"),
        (Unit.SOURCES, 31, "too few of them have video: of video by itself nothing is promised"),
    ):
        made = FamilyCalibration(curve=Platt(slope=1.0), by=by, real_sources=sources)
        text = printed(
            calibration_table([Fitted(Family.FACE_SWAP, made, 0.1, 0.1, 0.1, 0.1, 0.1, 2, 19, (MediaKind.VIDEO,))])
        )
        assert said in " ".join(text.split())
