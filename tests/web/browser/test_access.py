"""axe-core finds nothing serious on any page, light, dark and narrow, and no page scrolls sideways."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.attack.access import Access, address_of, routes_of, rows_of_ada, signed_tokens
from tests.web.browser.conftest import OpenPage
from tests.web.conftest import Site

AXE = (Path(__file__).parent / "axe.min.js").read_text()
RUN = """async (only) => {
  const options = only ? {runOnly: {type: "rule", values: only}} : {};
  const found = await axe.run(document, {...options, resultTypes: ["violations"]});
  return found.violations.filter(one => ["serious", "critical"].includes(one.impact))
    .map(one => one.id + ": " + one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" | "));
}"""
NARROW = 320
KINDS = (Access.PUBLIC, Access.LINK, Access.SIGNED_IN, Access.OWNER, Access.OPERATOR)
NO_PAGES = {"/healthz", "/readyz", "/metrics", "/feeds/{token}", "/account/export"}
"""Routes that answer with something else than a page."""
MAILS = ("/deliveries/{delivery_id}/message", "/outbox/{name}/html", "/templates/{sample}/html")
"""Messages as their receivers see them, which are tested as messages."""


def pages(site: Site) -> list[str]:
    """The address of each page, with rows of Ada for its parameters."""
    values = rows_of_ada(site)
    tokens = signed_tokens(site, values)
    found = []
    for method, path in routes_of(site, *KINDS):
        if method == "GET" and path not in NO_PAGES and path not in MAILS:
            kind = path.strip("/").partition("/")[0]
            found.append(address_of((method, path), {**values, "token": tokens.get(kind, values["token"])}))
    return [*found, "/search?q=aside", "/search?q=2601.09999", "/nowhere"]


def serious(page: Page, only: list[str] | None = None) -> Any:
    page.evaluate(AXE)
    return page.evaluate(RUN, only)


def problems(page: Page) -> list[str]:
    found = [f"light {one}" for one in serious(page)]
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    found += [f"dark {one}" for one in serious(page, ["color-contrast"])]
    page.set_viewport_size({"width": NARROW, "height": 700})
    found += [f"narrow {one}" for one in serious(page, ["color-contrast", "scrollable-region-focusable", "label"])]
    width = page.evaluate("document.documentElement.scrollWidth")
    return found + ([f"narrow: the page is {width} px wide"] if width > NARROW else [])


@pytest.mark.timeout(600)
def test_nothing_serious_is_found_on_any_page(site: Site, open_page: OpenPage) -> None:
    addresses = pages(site)
    page = open_page("/subscriptions")
    found = {}
    for address in addresses:
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.set_viewport_size({"width": 1280, "height": 900})
        answer = page.goto(address)
        if answer is None or "text/html" not in answer.headers.get("content-type", ""):
            continue
        if problems_of_page := problems(page):
            found[address] = problems_of_page
    assert not found, "\n".join(f"{address}: {one}" for address, each in found.items() for one in each)
