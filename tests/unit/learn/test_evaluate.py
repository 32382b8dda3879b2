"""Evaluating: what is read, what is measured, what is warned of. The judging itself is the stages' own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import cv2
import numpy as np
import pytest
from msgspec import structs

from pipeline.errors import ConfigError
from pipeline.events import MediaDecided, MediaUploaded, Versions
from pipeline.events.values import (
    Action,
    Decision,
    Evidence,
    Failure,
    Family,
    FrameHash,
    MediaFacts,
    MediaKind,
    Signal,
    SignalStatus,
)
from pipeline.learn.alter import alter
from pipeline.learn.evaluate import (
    Evaluation,
    Item,
    altered,
    failures,
    made_copies,
    near_duplicates,
    read_items,
    rows_of,
    summarise,
    warnings_of,
)
from pipeline.learn.page import page
from pipeline.learn.scores import Level, ScoreRow
from pipeline.match.pdq import pdq
from pipeline.policy.file import load
from pipeline.testing import picture

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = load(None)


def item(number: int, fake: bool, source: str = "a", **changed) -> Item:
    kind = "face_swap" if fake else ""
    return Item(f"{source}/{number}.jpg", Path(f"{source}/{number}.jpg"), fake, kind, source, "dev", **changed)


def decided(
    score: float, note: str = "", hashes: tuple[FrameHash, ...] = (), kind: MediaKind = MediaKind.IMAGE
) -> MediaDecided:
    signal = Signal(
        family=Family.FACE_SWAP,
        status=SignalStatus.SCORED,
        probability=score,
        low=score,
        high=score,
        pooled=score,
        evidence=(Evidence(detector="d", score=score, at=0.0, note=note), Evidence(detector="d", score=score / 2)),
    )
    return MediaDecided(
        decision_id=UUID(int=1),
        media_id="m",
        upload=MediaUploaded(media_id="m", uri="file:///m", uploaded_at=NOW),
        decided_at=NOW,
        decision=Decision(action=Action.ALLOW, reasons=(), policy_version="p"),
        versions=Versions(unmask="1", policy="p"),
        facts=MediaFacts(kind=kind, container="jpeg", width=640, height=480),
        signals=(signal,),
        hashes=hashes,
    )


def sample(count: int = 40) -> tuple[list[Item], dict[str, MediaDecided]]:
    """Half fakes, which score higher, of two sources."""
    rng = np.random.default_rng(0)
    items = [item(n, n % 2 == 0, "ab"[n // 2 % 2]) for n in range(count)]
    return items, {i.key: decided(float(np.clip(rng.normal(0.7 if i.fake else 0.3, 0.15), 0, 1)), "why") for i in items}


class TestManifests:
    """What is read, and what is refused with what to change."""

    def write(self, folder: Path, text: str, *files: str) -> Path:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
        (folder / "m.csv").write_text(text)
        return folder / "m.csv"

    def test_group_or_source(self, tmp_path):
        """A group names the source; else the source up to its colon; a split and a family choose."""
        text = "file,label,family,source,split\na.jpg,real,,x/y:1.jpg,dev\nb.jpg,fake,face_swap,x/z:2.jpg,train\n"
        found = read_items(self.write(tmp_path, text, "a.jpg", "b.jpg"))
        assert [(i.source, i.fake, i.made, i.split) for i in found] == [
            ("x/y", False, "", "dev"),
            ("x/z", True, "face_swap", "train"),
        ]
        assert len(read_items(tmp_path / "m.csv", splits=("dev",))) == 1
        assert len(read_items(tmp_path / "m.csv", families=("gan_face",))) == 1

    def test_a_draw_is_the_same_each_time(self, tmp_path):
        """At most so many of each label and source, by seed."""
        names = [f"{n}.jpg" for n in range(20)]
        text = "file,label,family\n" + "".join(f"{n},real,\n" for n in names)
        path = self.write(tmp_path, text, *names)
        assert read_items(path, most=5) == read_items(path, most=5)
        assert len(read_items(path, most=5)) == 5
        assert read_items(path, most=5) != read_items(path, most=5, seed=1)

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("file,label\na,real\n", "no column family"),
            ("file,label,family\na,odd,\n", "line 2: the label is real or fake"),
            ("file,label,family\na,real,\n", "1 files are not there, the first is a"),
            ("file,label,family\n", "nothing is left of 0 files"),
        ],
    )
    def test_refused(self, tmp_path, text, complaint):
        """The line or the first missing file is named."""
        with pytest.raises(ConfigError, match=complaint):
            read_items(self.write(tmp_path, text))


def test_a_row_per_upload_and_per_piece_of_evidence():
    """The pooled score with its probability, and each score that it came from."""
    items, results = sample(2)
    rows = rows_of(items, results)
    assert [row.level for row in rows] == [Level.UPLOAD, Level.FRAME, Level.FRAME] * 2
    assert (rows[0].side, rows[0].codec, rows[0].made) == (480, "jpeg", "face_swap")


def test_figures_by_family_source_and_kind():
    """What can be told apart is told apart, at both levels, by source, and the worst errors are named."""
    items, results = sample()
    (found,) = summarise(results, rows_of(items, results), POLICY, rounds=50)
    assert found.upload.area.value > 0.9
    assert (found.upload.real, found.upload.fake) == (20, 20)
    assert found.frame is not None
    assert {source.source for source in found.sources} == {"a", "b"}
    assert [kind for kind, _ in found.kinds] == ["face_swap"]
    assert all(mistake.evidence == "why; why" or mistake.evidence == "why" for mistake in found.worst)


def test_altered_copies_are_compared_with_the_same_items_unaltered():
    """Robustness compares like with like: only the items that were altered, as they are and as they became."""
    items, results = sample()
    copies = [replace(i, variant="jpeg-50") for i in items[:20]]
    results |= {c.key: decided(0.5) for c in copies}
    (found,) = summarise(results, rows_of([*items, *copies], results), POLICY, rounds=20)
    assert [(name, q.real, q.fake) for name, q in found.robustness] == [
        ("image, as it is", 10, 10),
        ("jpeg-50", 10, 10),
    ]
    assert found.robustness[1][1].area.value == 0.5
    assert found.upload.real == 20


def test_pictures_and_videos_are_compared_with_themselves():
    """What H.264 does to videos is told beside the videos as they are, not beside pictures."""
    items, results = sample()
    videos = [replace(i, file=f"{i.file}.mp4", made="face_swap_in_video" if i.fake else "") for i in items[:8]]
    copies = [replace(i, variant="jpeg-50") for i in items[:20]] + [replace(i, variant="h264-36") for i in videos]
    results |= {c.key: decided(0.9 if c.fake else 0.1, kind=MediaKind.VIDEO) for c in videos}
    results |= {
        c.key: decided(0.5, kind=MediaKind.VIDEO if c.file.endswith(".mp4") else MediaKind.IMAGE) for c in copies
    }
    (found,) = summarise(results, rows_of([*items, *videos, *copies], results), POLICY, rounds=20)
    assert [(name, q.real, q.fake) for name, q in found.robustness] == [
        ("image, as it is", 10, 10),
        ("jpeg-50", 10, 10),
        ("video, as it is", 4, 4),
        ("h264-36", 4, 4),
    ]
    assert [q.area.value for name, q in found.robustness[2:]] == [1.0, 0.5]


def test_what_flatters_is_warned_of():
    """Sources of one label, training files, near-duplicates, anecdotes and kinds that nobody looks for."""
    items = [item(1, True, "f"), item(2, False, "r"), replace(item(3, True, "f"), split="train", made="teleport")]
    results = {i.key: decided(0.5) for i in items}
    told = " | ".join(warnings_of(items, (), rows_of(items, results), [("x", "y", 3)]))
    for word in (
        "2 of 2 sources hold one label",
        "1 of 3 items are of the split",
        "near-duplicates",
        "anecdotes",
        "teleport",
    ):
        assert word in told


def test_what_could_not_be_screened_is_said():
    """A file that is refused counts nowhere: the table says how many, which and why."""
    items = [item(1, True, "a"), item(2, False, "a")]
    failure = Failure(stage="decode", reason="undecodable", detail="it ends too early")
    results = {items[0].key: decided(0.5), items[1].key: structs.replace(decided(0.5), failure=failure)}
    told = " | ".join(warnings_of(items, failures(items, results), rows_of(items, results), ()))
    assert f"1 of 2 items could not be screened and are counted nowhere, the first of them {items[1].file}" in told
    assert "it ends too early" in told


def test_a_manifest_may_name_links(tmp_path):
    """What is read is the file behind the link, which is where the fetcher may read."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "kept" / "a.jpg")
    (tmp_path / "m.csv").write_text("file,label,family\na.jpg,real,real\n", "utf-8")
    (found,) = read_items(tmp_path / "m.csv")
    assert found.path == (tmp_path / "kept" / "a.jpg").resolve()
    assert found.file == "a.jpg"


def shapes(seed: int) -> np.ndarray:
    """A picture of blocks, which PDQ tells from others as it does photographs."""
    rng = np.random.default_rng(seed)
    image = np.full((240, 320, 3), 128, np.uint8)
    for _ in range(40):
        x, y, w, h = (int(v) for v in rng.integers(0, 120, 4) * (2, 1.5, 1, 1))
        image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return image


def test_near_duplicates_of_training_files_are_found(tmp_path):
    """The same picture at half its size is one; another picture is not."""
    image = shapes(1)
    cv2.imwrite(str(tmp_path / "seen.png"), image[..., ::-1])
    training = [Item("seen.png", tmp_path / "seen.png", False, "", "a", "train")]

    def hashed(pixels: np.ndarray) -> MediaDecided:
        code, good = pdq(pixels)
        return decided(0.5, hashes=(FrameHash(at=0.0, pdq=code, quality=good),))

    small = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    found = near_duplicates({"same": hashed(small), "other": hashed(shapes(2))}, training, lambda _: None)
    assert [(key, file) for key, file, _ in found] == [("same", "seen.png")]


def test_alterations_keep_the_picture(tmp_path):
    """Each gives a readable file; what does not apply gives none."""
    source = tmp_path / "one.png"
    cv2.imwrite(str(source), picture(320, 240)[..., ::-1])
    for name in ("jpeg-80", "jpeg-50", "half-size", "crop", "screenshot"):
        made = alter(source, name, tmp_path)
        assert made is not None
        assert cv2.imread(str(made)) is not None
    assert alter(source, "h264-28", tmp_path) is None
    assert alter(tmp_path / "sound.wav", "jpeg-80", tmp_path) is None


def test_altered_items_are_made_once(tmp_path):
    """A second run finds the copies of the first."""
    source = tmp_path / "one.png"
    cv2.imwrite(str(source), picture(320, 240)[..., ::-1])
    items = [Item("one.png", source, False, "", "a", "dev")]
    first = altered(items, ("crop", "jpeg-50"), tmp_path / "copies", 5, lambda _: None)
    before = {i.path: i.path.stat().st_mtime_ns for i in first}
    again = altered(items, ("crop", "jpeg-50"), tmp_path / "copies", 5, lambda _: None)
    assert {i.path: i.path.stat().st_mtime_ns for i in again} == before
    assert {i.variant for i in first} == {"crop", "jpeg-50"}


def test_manipulated_copies_are_labelled_as_what_they_are(tmp_path):
    """A painted picture is a fake of its kind, of the source of its original."""
    source = tmp_path / "one.png"
    cv2.imwrite(str(source), picture(320, 240)[..., ::-1])
    copies = made_copies([Item("one.png", source, False, "", "a", "dev")], tmp_path / "made", 1, 0, lambda _: None)
    kinds = {copy.made: copy for copy in copies}
    assert {"style_transfer", "local_edit"} <= set(kinds)
    assert "splice" not in kinds
    assert all(copy.fake and copy.source == "a" and copy.path.is_file() for copy in copies)


def test_a_video_with_a_changed_face_comes_with_a_genuine_twin(tmp_path, monkeypatch):
    """The twin counts as genuine and of the same source; there are no more of them than of the copies asked for."""

    def make(source, out, seed):
        out.with_suffix(".mp4").write_bytes(source.name.encode())
        return out.with_suffix(".mp4")

    monkeypatch.setattr("pipeline.learn.evaluate.MAKERS", {"face_swap_in_video": make})
    monkeypatch.setattr("pipeline.learn.evaluate.TWINS", {"encoded_again": make})
    items = [Item(f"{n}.mp4", tmp_path / f"{n}.mp4", False, "", "a", "dev") for n in range(3)]
    copies = made_copies(items, tmp_path / "made", 2, 0, lambda _: None)
    assert [(c.file, c.fake, c.made, c.source) for c in copies] == [
        ("face_swap_in_video of 0.mp4", True, "face_swap_in_video", "a"),
        ("encoded_again of 0.mp4", False, "", "a"),
        ("face_swap_in_video of 1.mp4", True, "face_swap_in_video", "a"),
        ("encoded_again of 1.mp4", False, "", "a"),
    ]


def page_of(
    items: list[Item],
    results: dict[str, MediaDecided],
    rows: list[ScoreRow],
    *,
    failed: tuple[tuple[str, str], ...] = (),
    warnings: tuple[str, ...] = (),
) -> str:
    """The page on these items."""
    evaluation = Evaluation(
        items=len(items),
        failed=failed,
        families=summarise(results, rows, POLICY, rounds=20),
        costs=(),
        warnings=warnings,
        detectors=("d@1",),
        policy="p",
        calibration="c",
        seconds=1.0,
    )
    return page(evaluation, rows, items, "Title")


def test_the_page_stands_alone():
    """Summary, plots and warnings in one file that loads nothing; strangers' names are escaped."""
    items, results = sample()
    rows = rows_of(items, results)
    html = page_of(items, results, rows, failed=(("bad.jpg", "<b>torn</b>"),), warnings=("<script>",))
    assert "face swap" in html
    assert "<svg" in html
    assert "<script" not in html
    assert "&lt;b&gt;torn" in html
    assert "src='http" not in html


def test_what_was_not_measured_is_a_dash():
    """With genuine items alone nothing can be missed, and the page does not call that "nan"."""
    items, results = sample()
    genuine = [item for item in items if not item.fake]
    rows = rows_of(genuine, results)
    families = summarise(results, rows, POLICY, rounds=20)
    assert any(family.trust is not None and np.isnan(family.trust.missed) for family in families)
    html = page_of(genuine, results, rows)
    assert "nan%" not in html


def test_a_source_is_measured_by_a_curve_of_its_own_items():
    """Scores that are all too low are put right by some of the source's items, measured on the others; few items, no
    figure."""
    rng = np.random.default_rng(0)
    items = [item(n, n % 2 == 1, "large") for n in range(120)] + [item(n, n % 2 == 1, "small") for n in range(20)]
    results = {i.key: decided(float(rng.uniform(0.1, 0.2) if i.fake else rng.uniform(0, 0.1))) for i in items}
    (family,) = summarise(results, rows_of(items, results), POLICY, rounds=10)
    by_name = {source.source: source.error_refitted for source in family.sources}
    large = by_name["large"]
    assert large is not None
    assert (large.items, large.rest) == (80, 40)
    assert large.mean < 0.15
    assert family.trust is not None
    assert family.trust.error > 2 * large.mean
    assert by_name["small"] is None


def test_copies_say_of_themselves_what_a_generator_would_say(tmp_path):
    """A generator's entry and signed credentials are put into copies, each for the family that reads it."""
    source = tmp_path / "one.png"
    cv2.imwrite(str(source), picture(320, 240)[..., ::-1])
    copies = made_copies([Item("one.png", source, False, "", "a", "dev")], tmp_path / "made", 1, 0, lambda _: None)
    told = {copy.made: copy.path.read_bytes() for copy in copies}
    assert b"Sampler" in told["generator_metadata"]
    assert b"trainedAlgorithmicMedia" in told["signed_as_generated"]
