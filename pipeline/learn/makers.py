"""Manipulated copies of genuine files, for measuring: a blend with itself, another sound track, a segment of itself.

Each takes a genuine file, the path of the copy without its ending, and a seed; it returns the copy, or None where it
does not apply. Nobody's face is put on anybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

Maker = Callable[[Path, Path, int], Path | None]

MAKERS: Mapping[str, Maker] = {}
