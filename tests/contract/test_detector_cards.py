"""No detector without a line in docs/detectors.md, a card, and a sentence on what its families cannot see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipeline.detect.ensemble import detect
from pipeline.detect.port import Detector, Mode, ReportStatus
from pipeline.detect.registry import DEFAULT, DETECTORS, Entry, load
from pipeline.testing import FakeInfer, clip_of, faces_at, picture

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/detectors.md").read_text(encoding="utf-8")
LIMITS = yaml.safe_load((ROOT / "pipeline/report/limits.yaml").read_text(encoding="utf-8"))


@pytest.fixture(params=sorted(DETECTORS))
def detector(request: pytest.FixtureRequest) -> Detector:
    return DETECTORS[request.param]()


def row(name: str) -> str:
    """The detector's line in the table."""
    rows = re.findall(rf"^\| `{name}` \|.*$", DOCUMENT, re.MULTILINE)
    assert len(rows) == 1, f"docs/detectors.md has {len(rows)} lines for {name}"
    return rows[0]


def test_it_is_in_the_table_with_its_families_and_its_model(detector: Detector) -> None:
    """Whoever adds a detector adds a line that says what it looks at."""
    line = row(detector.name)
    assert [family for family in detector.families if f"`{family}`" not in line] == []
    assert detector.model is None or f"`{detector.model.name}`" in line


def test_it_has_a_card_and_the_table_links_to_it(detector: Detector) -> None:
    """What it was trained on, how good it is and where it fails is written down, and can be found."""
    cards = re.findall(r"\]\(([^)]+\.md)\)", row(detector.name))
    assert cards, f"no card is linked in the line of {detector.name}"
    for card in cards:
        assert len((ROOT / "docs" / card).read_text(encoding="utf-8").split()) > 80


def test_every_model_has_a_card() -> None:
    """Steps that are no detectors ask models too."""
    missing = [model.name for _, model in load().models if not (ROOT / "models" / model.name / "CARD.md").is_file()]
    assert missing == []


def test_its_families_have_a_sentence_on_their_limits(detector: Detector) -> None:
    """The report for people says what was not, and cannot be, seen."""
    assert [family.value for family in detector.families if len(LIMITS.get(family.value, "")) < 40] == []


def test_the_table_has_no_detector_that_is_not_there() -> None:
    """A detector that went leaves its line behind."""
    (table,) = re.findall(r"^## What there is\n(.*?)^## ", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(DETECTORS)


def test_every_status_is_in_the_document() -> None:
    """What a report can say is explained."""
    assert [status.value for status in ReportStatus if f"`{status}`" not in DOCUMENT] == []


def test_the_line_in_the_document_is_a_line_of_the_default() -> None:
    """The example of a detectors file is the one that ships."""
    (line,) = re.findall(r"^  - \{name: face_forgery.*$", DOCUMENT, re.MULTILINE)
    assert line in DEFAULT.read_text(encoding="utf-8")


async def test_the_detector_in_the_document_works() -> None:
    """The detector of one's own, as it stands, judges the faces of a clip."""
    (code,) = re.findall(r"```python\n(# acme_detectors\.py.*?)```", DOCUMENT, re.DOTALL)
    scope: dict[str, object] = {"__name__": "acme_detectors"}
    exec(compile(code, "acme_detectors.py", "exec", dont_inherit=True), scope)
    kind = scope["AcmeFaces"]
    assert callable(kind)
    steps = load()
    only = type(steps)(steps.faces, 30.0, steps.embed, 30.0, (Entry(kind(faces=2), Mode.SHADOW, 30.0),))
    infer = FakeInfer({"face_detector": faces_at((80, 60, 180, 170))})
    findings = await detect(clip_of(*[picture(seed=i) for i in range(4)]), only, infer, within=60)
    (report,) = findings.reports
    assert (report.status, report.coverage, len(report.scores)) == (ReportStatus.OK, 1.0, 2)
    assert infer.asked("acme_faces") == 2
    assert all(score.box is not None and score.track is not None for score in report.scores)
