"""The console's pages: templates that say what is where; modules under /static bring them to life through the API."""

from __future__ import annotations

from pathlib import Path

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

HERE = Path(__file__).parent
STATIC = HERE / "static"


class Pages:
    """The templates, read once. Nothing is put into a page unescaped."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, template: str, /, **words: object) -> HTMLResponse:
        """A page."""
        return HTMLResponse(self._templates.get_template(template).render(words))
