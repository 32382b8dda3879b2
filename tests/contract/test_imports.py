"""What a command may cost before it does anything."""

from __future__ import annotations

import subprocess
import sys

SLOW = ("sklearn", "scipy", "matplotlib", "onnx", "onnxruntime", "av", "faust", "tritonclient", "fastapi", "alembic")


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    """`unmask --help` answers at once: what only some commands need is imported where they need it."""
    script = f"import sys, pipeline.cli; print(*(name for name in {SLOW!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
