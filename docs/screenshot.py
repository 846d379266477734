"""The picture of the report in the README, taken of report.html by a headless Chromium on PATH.

    make report && python -m docs.screenshot

reads   report.html
writes  docs/report.png
"""

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from finetune.errors import UserError, run

REPORT = Path("report.html")
PICTURE = Path("docs/report.png")
SIZE = {"width": 1160, "height": 1100}


def main():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise UserError("no chromium, chromium-browser or google-chrome is on PATH; install one of them")
    if not REPORT.is_file():
        raise UserError(f"{REPORT} is missing; run `make report` first")
    with sync_playwright() as playwright:
        # Chromium's sandbox does not start for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(REPORT.resolve().as_uri())
        page.screenshot(path=PICTURE)
        browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    raise SystemExit(run(main))
