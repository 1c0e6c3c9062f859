"""The editor in a browser: a query is typed, its papers appear, the slider moves, and it is saved."""

import re
from datetime import UTC, datetime, timedelta

from playwright.sync_api import expect

from services.flow.pipeline import embed
from tests.web.browser.conftest import OpenPage
from tests.web.conftest import Site


def fill(site: Site) -> None:
    """Papers of five days, with their words and vectors."""
    today = datetime.now(UTC).date()
    subjects = ("Diffusion models for images", "Proteins that fold", "Robots that walk", "Diffusion of heat")
    for number in range(24):
        title = f"{subjects[number % 4]}, part {number}"
        site.paper(title, number + 1, announced_on=today - timedelta(days=number % 5))
    while embed.work(site.db, site.settings, site.app.state.context.embedder):
        pass
    while embed.index_papers(site.db):
        pass


def saved(site: Site) -> list[tuple[str, str, str]]:
    return [(str(a), str(b), str(c)) for a, b, c in site.sql("SELECT query, interest, volume FROM subscription")]


def test_a_typed_query_shows_its_papers_and_enter_does_not_save(site: Site, open_page: OpenPage) -> None:
    fill(site)
    page = open_page("/subscriptions/new")
    page.get_by_label("Query", exact=True).press_sequentially("diffusion images")
    expect(page.locator("article.found")).to_have_count(6)
    expect(page.locator("mark").first).to_have_text("Diffusion")
    expect(page.locator("#name")).to_have_attribute("placeholder", "diffusion images")
    page.get_by_label("Query", exact=True).fill("robots")
    page.get_by_label("Query", exact=True).press("Enter")
    expect(page.locator("article.found").first).to_contain_text("Robots that walk")
    assert page.url.endswith("/subscriptions/new")
    assert saved(site) == []


def test_the_slider_sets_the_volume_and_ctrl_enter_saves(site: Site, open_page: OpenPage) -> None:
    fill(site)
    page = open_page("/subscriptions/new")
    page.get_by_label("Interest", exact=True).fill("diffusion models that make images")
    slider = page.locator("#slider input")
    expect(slider).to_be_visible()
    before = page.locator("#scores").get_attribute("data-at")
    slider.focus()
    slider.press("ArrowLeft")
    expect(page.locator("#volume_count")).not_to_have_value("5")
    expect(page.locator("#scores")).not_to_have_attribute("data-at", str(before))
    volume = f"{page.locator('#volume_count').input_value()}/{page.locator('#volume_per').input_value()}"
    page.get_by_label("Interest", exact=True).press("Control+Enter")
    page.wait_for_url(re.compile(r"/subscriptions/\d+\?flash=created"))
    expect(page.locator("article.found").first).to_contain_text("Diffusion")
    assert saved(site) == [("", "diffusion models that make images", volume)]


def test_a_vote_becomes_an_example_of_the_form(site: Site, open_page: OpenPage) -> None:
    fill(site)
    page = open_page("/subscriptions/new?query=robots")
    page.get_by_role("button", name="Less like this").first.click()
    expect(page.locator("#disliked")).not_to_have_value("")
    expect(page.locator(".figure")).to_contain_text("since you began")
    assert site.sql("SELECT count(*) FROM subscription") == [(0,)]


def test_on_a_phone_the_papers_are_a_sheet(site: Site, open_page: OpenPage) -> None:
    fill(site)
    page = open_page("/subscriptions/new?query=robots", width=360, height=780)
    expect(page.locator("#bar-summary")).to_contain_text("a week · see papers")
    expect(page.locator("#papers")).to_be_hidden()
    page.locator("#bar-summary").click()
    expect(page.locator("article.found").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#papers")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_a_script_the_buttons_preview_and_save(site: Site, open_page: OpenPage) -> None:
    fill(site)
    page = open_page("/subscriptions/new", script=False)
    page.locator("#query").fill("robots")
    page.locator("#query").press("Enter")
    expect(page.locator("article.found").first).to_contain_text("Robots that walk")
    assert saved(site) == []
    page.get_by_role("button", name="Near misses").click()
    expect(page.locator("#query")).to_have_value("robots")
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_url(re.compile(r"/subscriptions/\d+\?flash=created"))
    assert [query for query, _, _ in saved(site)] == ["robots"]
