"""What each part of the detectors costs, and so what leaving it out buys: an upload judged with and without it.

`python -m tests.benchmarks.parts [--photograph FILE] [--clip FILE] [--times N]` prints the table of docs/quality.md.
The same files go through the stages of the stream, one after another, with an inference server of their own; CPU is the
kernel's count for this process and all below it: the decoder's children and the server. Runs with everything and runs
without a part take turns, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from pipeline.demo.media import write_video
from pipeline.local import judging, triton_at_hand
from pipeline.models.samples import sample_photographs
from pipeline.policy.file import load
from pipeline.policy.rules import Policy
from pipeline.settings import Settings
from tests.benchmarks.corpus import read_photos
from tests.benchmarks.measured import cpu_seconds

DEFAULT = Path("pipeline/detect/default.yaml")
WHOLE = "everything"
CLIP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of judging one file, once per repeat."""

    each: tuple[float, ...]

    def __str__(self) -> str:
        return f"{median(self.each):.2f} ({min(self.each):.2f}–{max(self.each):.2f})"


def without_parts(settings: Settings, folder: Path) -> dict[str, Settings]:
    """Settings by what they leave out: each detector in turn, and the closer look as a whole."""
    lines = DEFAULT.read_text("utf-8").splitlines()
    found = {WHOLE: settings, "the closer look": settings.model_copy(update={"decode_closer_frames": 0})}
    for line in lines:
        if line.strip().startswith("- {name: "):
            name = line.split("name: ")[1].split(",")[0]
            file = folder / f"without-{name}.yaml"
            file.write_text("\n".join(each for each in lines if each != line) + "\n", "utf-8")
            found[name] = settings.model_copy(update={"detectors_file": file})
    return found


async def measure(
    files: Sequence[Path], settings: Settings, policy: Policy, times: int, folder: Path
) -> Mapping[str, Sequence[Spent]]:
    """Per part left out, what each file costs."""
    found: dict[str, list[list[float]]] = {}
    async with triton_at_hand(settings, lambda _: None) as url:
        at_hand = settings.model_copy(update={"triton_url": url})
        for _ in range(times):
            for name, chosen in without_parts(at_hand, folder).items():
                async with judging(chosen, policy, sorted({file.parent for file in files})) as (judge, _by):
                    await judge(files[0])  # starts children and connections
                    for number, file in enumerate(files):
                        before = cpu_seconds(os.getpid())
                        decided = (await judge(file)).decided
                        if decided.failure:
                            raise SystemExit(f"{file}: {decided.failure.reason} without {name}")
                        spent = cpu_seconds(os.getpid()) - before
                        found.setdefault(name, [[] for _ in files])[number].append(spent)
    return {name: [Spent(tuple(each)) for each in rows] for name, rows in found.items()}


def table(found: Mapping[str, Sequence[Spent]]) -> str:
    """As Markdown, the dearest part first: what is left when a part is left out, and what that buys."""
    whole = found[WHOLE]
    lines = [
        "| left out | photograph, CPU s | it buys | clip, CPU s | it buys |",
        "|---|---|---|---|---|",
        f"| nothing | {whole[0]} | | {whole[1]} | |",
    ]
    parts = [name for name in found if name != WHOLE]
    for name in sorted(parts, key=lambda name: median(found[name][1].each)):
        photo, clip = found[name]
        buys = [median(all_of.each) - median(part.each) for all_of, part in zip(whole, (photo, clip), strict=True)]
        lines.append(f"| {name} | {photo} | {buys[0]:+.2f} | {clip} | {buys[1]:+.2f} |")
    return "\n".join(lines)


def two_faces(path: Path, settings: Settings) -> Path:
    """A photograph of 1280 × 640 pixels with two faces: the sample portrait twice."""
    photos = read_photos({p.name: p.path for p in sample_photographs(settings.home, settings.models_dir)})
    portrait = cv2.resize(photos["astronaut"], (640, 640), interpolation=cv2.INTER_CUBIC)
    both = np.hstack([portrait, portrait[:, ::-1]])
    if not cv2.imwrite(str(path), np.ascontiguousarray(both[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90]):
        raise OSError(f"{path} cannot be written")
    return path


def one_face(path: Path, settings: Settings) -> Path:
    """Thirty seconds of 1280 × 720 with one face and a tone."""
    photos = read_photos({p.name: p.path for p in sample_photographs(settings.home, settings.models_dir)})
    write_video(path, [(photos["astronaut"], CLIP_SECONDS)])
    return path


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--photograph", type=Path, help="of your own, instead of the sample portrait twice")
    options.add_argument("--clip", type=Path, help="of your own, instead of thirty seconds of the sample portrait")
    options.add_argument("--times", type=int, default=3)
    asked = options.parse_args()
    settings = Settings()
    policy = load(settings.policy_file, settings.calibration_file)
    with tempfile.TemporaryDirectory(prefix="unmask-parts-") as made:
        folder = Path(made)
        files = (
            asked.photograph or two_faces(folder / "two-faces.jpg", settings),
            asked.clip or one_face(folder / "one-face.mp4", settings),
        )
        print(table(asyncio.run(measure([file.resolve() for file in files], settings, policy, asked.times, folder))))


if __name__ == "__main__":
    main()
