"""Cut what an image needs out of the lock file: `python docker/cut_lock.py`. The parts are committed; a test compares.

The lock holds everything with its hashes, the tools of development too. What an image needs of it is the closure of the
project's own requirements, as the installed distributions state them. So this runs where everything is installed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

HERE = Path(__file__).parent
ROOT = HERE.parent
IMAGES = {"worker": (), "console": ("console",), "models": ("stack",)}
"""The extras of the project that each image has."""


def entries(lock: str) -> dict[NormalizedName, str]:
    """The entry of each distribution: its pin, and its hashes on the lines that follow."""
    parts = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    return {canonicalize_name(re.split(r"[=\s]", part)[0]): part for part in parts if part.strip()}


def closure(wanted: Iterable[str]) -> set[NormalizedName]:
    """Every distribution that these requirements lead to, here: on Linux and this Python."""
    found: set[tuple[NormalizedName, str]] = set()
    waiting = [(requirement, "") for requirement in wanted]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for asked in ("", *requirement.extras):
            if (name, asked) not in found:
                found.add((name, asked))
                waiting += [(more, asked) for more in requires(name) or ()]
    return {name for name, _ in found}


def cut(image: str) -> str:
    """The requirements of one image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for extra in IMAGES[image]:
        wanted += project["optional-dependencies"][extra]
    locked = entries((ROOT / ".lock/requirements.txt").read_text(encoding="utf-8"))
    head = "# Cut out of .lock/requirements.txt by `python docker/cut_lock.py`.\n"
    return head + "".join(locked[name] for name in sorted(closure(wanted)))


def main() -> None:
    """Write every file."""
    for image in IMAGES:
        (HERE / f"{image}.txt").write_text(cut(image), encoding="utf-8")


if __name__ == "__main__":
    main()
