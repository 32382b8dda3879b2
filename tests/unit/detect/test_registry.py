"""The detectors file."""

from pathlib import Path

import pytest

from pipeline.detect import registry
from pipeline.detect.port import Mode
from pipeline.detect.registry import DETECTORS, load, parse
from pipeline.errors import ConfigError

STEPS = "find_faces: {deadline: 1}\nembed: {deadline: 1}\n"


def detectors(*lines):
    return STEPS + "detectors:\n" + "".join(f"  - {line}\n" for line in lines)


def test_the_default_runs_every_detector_live():
    """Nothing has to be configured to get all there is; heads that were refitted come with files of their own."""
    loaded = load()
    assert {entry.detector.name for entry in loaded.entries} == set(DETECTORS) - {"refitted_faces"}
    assert {entry.mode for entry in loaded.entries} == {Mode.LIVE}
    assert all(entry.deadline > 0 for entry in loaded.entries)
    assert loaded.versions == tuple(sorted(loaded.versions))


def test_every_detector_is_listed_under_its_own_name():
    """The name in the file is the name in the evidence."""
    assert all(name == made().name for name, made in DETECTORS.items())


def test_a_file_chooses_mode_deadline_and_options(tmp_path: Path):
    """What the file says is what runs, in its order."""
    path = tmp_path / "detectors.yaml"
    path.write_text(
        detectors(
            "{name: nudity, mode: shadow, deadline: 3, options: {frames: 2}}", "{name: face_forgery, deadline: 9.5}"
        )
    )
    nudity, forgery = load(path).entries
    assert (nudity.detector.name, nudity.mode, nudity.deadline, nudity.detector.frames) == ("nudity", "shadow", 3, 2)
    assert (forgery.detector.name, forgery.mode, forgery.deadline) == ("face_forgery", "live", 9.5)


def test_versions_tell_what_changes_the_findings():
    """Options that are not the default and the shadow mode show, so stored findings are not taken for today's."""
    plain, other, shadow = (
        parse(detectors(line)).versions
        for line in (
            "{name: nudity, deadline: 1, options: {frames: 6}}",
            "{name: nudity, deadline: 9, options: {frames: 2}}",
            "{name: nudity, deadline: 1, mode: shadow}",
        )
    )
    assert "nudity@1" in plain
    assert "nudity@1+shadow" in shadow
    assert len({plain, other, shadow}) == 3


def test_the_models_that_are_asked_are_told():
    """Each with who asks; a detector without a model asks none."""
    asked = {(asker, model.name) for asker, model in load().models}
    assert ("find_faces", "face_detector") in asked
    assert ("follow_faces", "face_mesh") in asked
    assert "generator_metadata" not in {asker for asker, _ in asked}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (detectors("{name: nose, deadline: 1}"), "unknown detector 'nose'; there are eyes_and_head, face_forgery"),
        (detectors("{name: nudity, deadline: 1}", "{name: nudity, deadline: 2}"), "listed more than once: nudity"),
        (detectors("{name: nudity, deadline: 1, mode: on}"), "mode"),
        (
            detectors("{name: nudity, deadline: 1, mode: dead}"),
            "nudity: unknown mode 'dead'; a detector is live or shadow",
        ),
        (detectors("{name: nudity, deadline: 0}"), "nudity: deadline must be a number of seconds above 0, not 0"),
        (detectors("{name: nudity, deadline: .nan}"), "nudity: deadline must be"),
        (detectors("{name: nudity, deadline: 1, options: {speed: 9}}"), "nudity: unknown option speed; there are"),
        (detectors("{name: nudity, deadline: 1, options: {frames: many}}"), "nudity: Expected `int`, got `str`"),
        (detectors("{name: nudity, deadline: 1, options: {frames: 0}}"), "nudity: frames must be at least 1"),
        (detectors("{name: nudity, deadline: 1, weight: 3}"), "unknown field `weight`"),
        (STEPS + "detectors: []", "no detector is listed: nothing would be judged"),
        ("detectors: []", "find_faces"),
        (detectors("{name: nudity, deadline: 1}").replace("1}", "1, options: {longest: 3}}", 1), "find_faces: "),
        ("a: [", "not a detectors file"),
        ("", "not a detectors file"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_clear_words(text, words):
    """Every mistake in the file is a ConfigError that says what to change."""
    with pytest.raises(ConfigError) as refused:
        parse(text)
    assert words in str(refused.value)


def test_a_mistake_names_its_file(tmp_path: Path):
    """A file that is wrong or missing is named."""
    path = tmp_path / "detectors.yaml"
    with pytest.raises(ConfigError, match=r"detectors\.yaml"):
        load(path)
    path.write_text("detectors: []")
    with pytest.raises(ConfigError, match=r"detectors\.yaml"):
        load(path)


def test_there_is_one_list_of_detectors():
    """Every file of the package that defines a detector is in the list, and the list holds nothing else."""
    here = Path(registry.__file__).parent
    defining = {path.stem for path in here.glob("*.py") if "families: ClassVar" in path.read_text(encoding="utf-8")}
    assert defining == set(DETECTORS)
