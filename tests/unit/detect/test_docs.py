"""docs/detectors.md says what is so."""

import re
from pathlib import Path

from pipeline.detect.ensemble import detect
from pipeline.detect.port import Mode, ReportStatus
from pipeline.detect.registry import DEFAULT, DETECTORS, Entry, load
from pipeline.testing import FakeInfer, clip_of, constant, picture

DOCS = (Path(__file__).parents[3] / "docs/detectors.md").read_text(encoding="utf-8")


async def test_the_detector_in_the_docs_works():
    """The example, as it stands, judges a clip."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    scope: dict = {"__name__": "style_transfer"}
    exec(code, scope)
    entry = Entry(scope["StyleTransfer"](frames=2), Mode.SHADOW, 30.0)
    registry = load()
    registry = type(registry)(registry.faces, 30.0, registry.embed, 30.0, (entry,))
    infer = FakeInfer({"style_transfer": constant(probability=0.25)})
    findings = await detect(clip_of(*[picture(seed=i) for i in range(5)]), registry, infer, within=60)
    (report,) = findings.reports
    assert (report.status, [score.value for score in report.scores]) == (ReportStatus.OK, [0.25, 0.25])


def test_every_detector_and_status_is_in_the_docs():
    """A detector or a status that is not described cannot be added."""
    for name, made in DETECTORS.items():
        assert f"| `{name}` |" in DOCS
        assert all(f"`{family}`" in DOCS for family in made().families)
    assert all(f"`{status}`" in DOCS for status in ReportStatus)


def test_the_line_in_the_docs_is_a_line_of_the_default():
    """The example configuration is the one that ships."""
    (line,) = re.findall(r"^  - \{name: face_forgery.*$", DOCS, re.MULTILINE)
    assert line in DEFAULT.read_text(encoding="utf-8")
