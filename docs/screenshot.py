"""Takes the pictures of the report and of the server's page for the docs, with a headless Chromium on PATH.

    make report && python -m docs.screenshot

reads   report.html, models/export/
writes  docs/report.png, docs/serve.png
"""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from finetune.base.command import run
from finetune.base.errors import UserError

REPORT = Path("report.html")
FOLDER = Path("docs")
SIZE = {"width": 1160, "height": 1100}
TEXT = "The first hour is slow and the plot makes little sense, yet the two leads are so charming that I left the cinema smiling."


@contextmanager
def serving():
    """Address of a server on a free port; it stops at the end of the block."""
    command = [sys.executable, "-m", "finetune.serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        started = server.stdout.readline().split()
        if not started:
            raise UserError("the server did not start; run `make repro` first")
        try:
            yield started[2]
        finally:
            server.terminate()


def report_picture(browser: Browser):
    page = browser.new_page(viewport=SIZE, color_scheme="light")
    page.goto(REPORT.resolve().as_uri())
    page.screenshot(path=FOLDER / "report.png")


def server_picture(browser: Browser):
    page = browser.new_page(viewport=SIZE, color_scheme="light")
    with serving() as address:
        page.goto(address)
        page.fill("#text", TEXT)
        page.keyboard.press("Control+Enter")
        page.locator("#strongest tr").first.wait_for()
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.screenshot(path=FOLDER / "serve.png", full_page=True)


def main():
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise UserError("no chromium, chromium-browser or google-chrome is on PATH; install one of them")
    if not REPORT.is_file():
        raise UserError(f"{REPORT} is missing; run `make report` first")
    with sync_playwright() as playwright:
        # Chromium's sandbox does not start for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        for picture in (report_picture, server_picture):
            picture(browser)
        browser.close()
    for path in sorted(FOLDER.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    raise SystemExit(run(main))
