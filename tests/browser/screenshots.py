"""Takes the README's picture of a running portal: the page of a job, in light and dark.

python tests/browser/screenshots.py LINK PATH FOLDER

LINK: a one-time sign-in link of the portal. PATH: of the page, such as /t/demo/jobs/1/.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

_SIZE = {"width": 1280, "height": 1240}


def main(link: str, path: str, folder: Path) -> None:
    address = urlsplit(link)
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=_SIZE, device_scale_factor=1.5)
        page.goto(link)
        page.locator("form button").click()
        page.wait_for_url("**/t/*/")
        page.goto(f"{address.scheme}://{address.netloc}{path}")
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            page.evaluate("document.querySelector('.chart__plot')?.scrollIntoView()")
            expect(page.locator(".skeleton")).to_have_count(0, timeout=30_000)
            page.wait_for_timeout(3_000)  # charts, and the first news of the stream
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=folder / f"job-{theme}.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
