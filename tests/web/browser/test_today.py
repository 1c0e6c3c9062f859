"""The list of papers with the keyboard, and without JavaScript."""

from playwright.sync_api import expect

from tests.local.processes import until
from tests.web.browser.conftest import OpenPage
from tests.web.conftest import Site


def fill(site: Site) -> None:
    one = site.subscription(site.ada, query="", interest="robots that learn", volume="5/week")
    for number in range(3):
        site.match(site.ada, one, site.paper(f"Robots, part {number}", number + 1, upvotes=9 - number))


def test_keys_move_mark_keep_vote_and_open(site: Site, open_page: OpenPage) -> None:
    fill(site)
    page = open_page("/")
    expect(page).to_have_title("(3) Today · paperwire")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".current")).to_contain_text("Robots, part 1")
    page.keyboard.press("x")
    expect(page).to_have_title("(2) Today · paperwire")
    expect(page.locator(".current.read")).to_contain_text("Robots, part 1")
    page.keyboard.press("s")
    expect(page.locator(".current").get_by_label("Keep no longer")).to_be_visible()
    page.keyboard.press("k")
    page.keyboard.press("m")
    expect(page.locator(".current").get_by_label("More like this")).to_have_attribute("aria-pressed", "true")
    assert site.sql("SELECT title, verdict FROM feedback JOIN paper ON paper_id = id") == [("Robots, part 0", "more")]
    page.keyboard.press("?")
    expect(page.get_by_text("keep, or keep no longer")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", level=1)).to_have_text("Robots, part 0")
    until(lambda: site.sql("SELECT count(*) FROM paper_mark WHERE read_at IS NOT NULL") == [(2,)], "opening marks it")


def test_marks_work_without_javascript(site: Site, open_page: OpenPage) -> None:
    fill(site)
    page = open_page("/", script=False)
    page.get_by_label("Mark as read").first.click()
    expect(page).to_have_title("(2) Today · paperwire")
    page.get_by_role("button", name="Mark all as read").click()
    expect(page).to_have_title("Today · paperwire")
