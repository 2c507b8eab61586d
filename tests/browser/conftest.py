"""A portal in this process, a real Chromium, and pages that remember every trouble they saw."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from people import a_team, owner_of
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from apps.accounts import services
from apps.config.asgi import application

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
]
_LEFT = ("htmx:afterRequest", "htmx:sendError", "htmx:sendAbort")
PATIENCE_MS = 120_000  # for machines that do much else besides


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Playwright runs a loop in this thread, in which Django would refuse to ask the database.

    It ends with the module, since no asynchronous test of another one could run while it lasts.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def portal(transactional_db: None) -> Iterator[str]:
    """The address of the portal, over the test's own database."""
    config = uvicorn.Config(
        application,
        port=0,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the portal did not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@dataclass
class Reader:
    """A person with a browser. troubles: what their console complained about."""

    page: Page
    portal: str
    team: str = ""
    troubles: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        self.page.goto(f"{self.portal}{path}")
        return self.page

    def at(self, path: str) -> Page:
        """A page of the team."""
        return self.go(f"/t/{self.team}/{path}")

    def settle(self) -> None:
        """Wait until what the page loads by itself is there, and every chart in view is drawn."""
        expect(self.page.locator(".skeleton")).to_have_count(0, timeout=PATIENCE_MS)
        for chart in self.page.locator(".chart__plot").all():
            chart.scroll_into_view_if_needed()
        undrawn = self.page.locator(".chart__plot:not([data-drawn])")
        expect(undrawn).to_have_count(0, timeout=PATIENCE_MS)

    def forgive(self, words: str) -> None:
        """Some trouble was meant to be."""
        kept = [trouble for trouble in self.troubles if words not in trouble]
        assert kept != self.troubles, f"{words} did not happen"
        self.troubles = kept


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def stranger(context: BrowserContext, portal: str) -> Iterator[Reader]:
    """Somebody who has not signed in. At the end nothing may have gone wrong unnoticed:

    Chromium tells the console of violations of the policy and of what could not be loaded, too.
    """
    reader = Reader(context.new_page(), portal)

    def heard(message) -> None:
        if message.text.startswith(_LEFT):
            return  # a page was left while htmx waited for an answer
        if message.type in ("error", "warning"):
            where = message.location
            reader.troubles.append(f"{message.text} {where['url']}:{where['lineNumber']}")

    reader.page.on("console", heard)
    reader.page.on("pageerror", lambda error: reader.troubles.append(str(error)))
    yield reader
    assert reader.troubles == []


@pytest.fixture
def team(transactional_db: None):
    return a_team("crew")


@pytest.fixture
def owner(stranger: Reader, team) -> Reader:
    """The owner of `team`, signed in by a one-time link."""
    stranger.team = team.slug
    code = services.one_time_link(owner_of(team))
    stranger.go(f"/link/{code}/").get_by_role("button", name="Sign in").click()
    stranger.page.wait_for_url(f"**/t/{team.slug}/")
    stranger.page.wait_for_load_state("networkidle")  # behaviours are mounted
    return stranger


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Django under ASGI warns of WhiteNoise's files, and drops a request's buffer unclosed when
    its client leaves; here both happen in threads of the portal, beside the test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for one in ("StreamingHttpResponse must consume", "Exception ignored in"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{one}"))
