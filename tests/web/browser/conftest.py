"""The pages in a real browser: Debian's Chromium, on a server that listens on a loopback port of its own."""

import os
import shutil
from collections.abc import Callable, Iterator
from threading import Thread

import pytest
import uvicorn
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Page, sync_playwright

from services.web.auth import COOKIE
from tests.local.processes import until
from tests.web.conftest import Site

NAMES = ("chromium", "google-chrome")
SECONDS = 20
"""How long a test waits for what a page should show."""

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Ended after each file: while Playwright runs, no other test of this process can start an event loop."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        message = f"no browser: install one of {', '.join(NAMES)}"
        if os.environ.get("CI"):
            pytest.fail(f"{message}; .ci/run does so as root")
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    """The address at which the site answers."""
    server = uvicorn.Server(uvicorn.Config(site.app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the server listens")
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(SECONDS)


@pytest.fixture
def open_page(site: Site, address: str, chromium: Chromium) -> Iterator[OpenPage]:
    """Opens a page as Ada; a script error or a broken rule of the content security policy fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_as_ada(path: str, *, width: int = 1280, height: int = 900, script: bool = True) -> Page:
        context = chromium.new_context(
            base_url=address, viewport={"width": width, "height": height}, java_script_enabled=script
        )
        contexts.append(context)
        context.set_default_timeout(1000 * SECONDS)
        cookie = site.browser(site.ada).client.cookies.get(COOKIE)
        context.add_cookies([{"name": COOKIE, "value": str(cookie), "url": address}])
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(path)
        return page

    yield open_as_ada
    for context in contexts:
        context.close()
    assert errors == []
