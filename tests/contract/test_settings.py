"""docs/settings.md lists every setting."""

from __future__ import annotations

from pathlib import Path

from pipeline.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def rendered() -> str:
    """The document, from the code."""
    lines = ["# Settings", "", "All come from the environment. `unmask settings` prints them with their values.", ""]
    lines += ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = "–" if default in (None, "") else f"`{default}`"
        lines.append(f"| `UNMASK_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"


def test_every_setting_is_documented():
    """The document is what the code says; `python -m tests.contract.test_settings` writes it."""
    assert DOCUMENT.read_text(encoding="utf-8") == rendered()


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(), encoding="utf-8")
