"""Chromium, and the console that it looks at. Playwright and the browser live as long as a module of tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from pipeline.console.parts import Times
from pipeline.policy.rules import Policy
from pipeline.review.people import Role
from tests.browser.scene import Backstage, Samples, Site, served
from tests.console import POLICY

REPOSITORY = Path(__file__).parents[2]
_WATCH = """
window.pointed = 0;
window.violations = [];
for (const kind of ["pointerdown", "mousedown", "mousemove", "touchstart", "wheel"])
  addEventListener(kind, () => { window.pointed += 1; }, { capture: true, passive: true });
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@pytest.fixture(scope="session")
def home() -> Path:
    """Where fetched parts are kept between runs."""
    return Path(os.environ.get("UNMASK_HOME") or REPOSITORY / ".unmask").absolute()


@pytest.fixture(scope="session")
def backstage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backstage]:
    """A loop in a thread, with a real fetch and a real sandboxed decoder."""
    made = Backstage(tmp_path_factory.mktemp("backstage"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def samples(backstage: Backstage) -> Samples:
    """Media files, made by code."""
    return Samples.written(backstage.folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    assert program, "Chromium is missing: `make system` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


Serve = Callable[..., Site]


@pytest.fixture
def serve(backstage: Backstage, samples: Samples, tmp_path: Path) -> Iterator[Serve]:
    """Serve a console: `serve(policy=…, times=…)`."""
    with ExitStack() as running:

        def start(policy: Policy = POLICY, times: Times | None = None) -> Site:
            return running.enter_context(served(backstage, samples, tmp_path, policy, times))

        yield start


@pytest.fixture
def site(serve: Serve) -> Site:
    """A console under the default policy."""
    return serve()


@dataclass
class Visit:
    """Somebody at their browser. What goes wrong on a page is kept; `expected` says what a test provokes."""

    context: BrowserContext
    page: Page
    site: Site
    troubles: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def go(self, path: str) -> Page:
        """Open a page of the console."""
        self.page.goto(self.site.url + path)
        return self.page

    def press(self, *keys: str) -> None:
        """Keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def watch(self, page: Page) -> Page:
        """Keep what goes wrong on it."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(words in message.text for words in self.expected):
            self.troubles.append(f"{message.type}: {message.text}")

    def asked(self, request: Request) -> None:
        """Nothing may be asked of anybody but the console."""
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob") and f"{where.scheme}://{where.netloc}" != self.site.url:
            self.troubles.append(f"a request to {request.url}")


Visits = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visits]:
    """Somebody comes: `visit(site, Role.REVIEWER, name="bob")`. At the end every page has been without trouble: no
    error, no warning, no violation of the content security policy, no request to anywhere else."""
    came: list[Visit] = []

    def come(site: Site, *roles: Role, name: str = "ann", queues: tuple[str, ...] = ("*",), **options: Any) -> Visit:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        )
        context.add_init_script(_WATCH)
        if roles:
            context.add_cookies([site.cookie(*roles, name=name, queues=queues)])  # type: ignore[list-item]
        made = Visit(context, context.new_page(), site)
        context.on("request", made.asked)
        made.watch(made.page)
        came.append(made)
        return made

    yield come
    troubles = []
    for each in came:
        if not each.page.is_closed() and each.page.url.startswith("http"):
            troubles += [f"violation: {what}" for what in each.page.evaluate("window.violations")]
        each.context.close()
        troubles += each.troubles
    assert troubles == []
