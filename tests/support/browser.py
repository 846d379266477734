"""A real headless Chromium, for the pages that must open without a network."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium():
    """A running browser. Without one the test is skipped, or fails if REQUIRE_BROWSER is set."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        problem = f"no browser: none of {', '.join(NAMES)} is on PATH"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(problem)
        pytest.skip(problem)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # Chromium's sandbox does not start for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


class Opened:
    """An open page: a file, opened without a network, or the page of a server on this machine.

    `problems` lists its errors and every request to another machine.
    """

    def __init__(self, browser, where: Path | str, width: int = 1280, scheme: str = "light"):
        self.problems: list[str] = []
        address = where if isinstance(where, str) else where.as_uri()
        self.own = ("file:", "data:", "blob:", *([address] if isinstance(where, str) else []))
        self.context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            reduced_motion="reduce",
            offline=isinstance(where, Path),
        )
        self.context.route("**/*", self._route)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.goto(address)

    def _route(self, route):
        if route.request.url.startswith(self.own):
            route.continue_()
        else:
            self.problems.append(f"request: {route.request.url}")
            route.abort()

    def _console(self, message):
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def charts(self) -> list[int]:
        """Number of marks with a size on the screen, for each chart."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll("figure > svg, .vega-embed svg")].map((svg) =>
                [...svg.querySelectorAll("[role=graphics-symbol]")].filter((mark) => {
                    const {width, height} = mark.getBoundingClientRect();
                    return width > 0 || height > 0;
                }).length)"""
        )

    def is_too_wide(self) -> bool:
        """Whether the whole page scrolls sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
