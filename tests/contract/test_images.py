"""Dockerfiles, and what they install."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def test_dockerfiles_pass_the_linter() -> None:
    """hadolint finds nothing."""
    root = Path(__file__).parents[2]
    linter = shutil.which("hadolint", path=str(root / ".venv/bin")) or "hadolint"
    done = subprocess.run([linter, *sorted((root / "docker").glob("*Dockerfile"))], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_the_images_requirements_are_the_lock_s() -> None:
    """What docker/cut_lock.py would write is what is committed."""
    import importlib.util

    path = Path(__file__).parents[2] / "docker" / "cut_lock.py"
    spec = importlib.util.spec_from_file_location("cut_lock", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for image in module.IMAGES:
        assert (path.parent / f"{image}.txt").read_text(encoding="utf-8") == module.cut(image)
