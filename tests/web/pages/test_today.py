"""The list of papers: order, filters, marks, and a paper's own page."""

import json
import re
from datetime import timedelta

from httpx2 import Response

from tests.web.conftest import DAY, Browser, Site, text_of


def test_no_matches_yet_says_what_to_do(site: Site, ada: Browser) -> None:
    assert "make your first subscription" in text_of(ada.get("/matches"))
    site.subscription(site.ada)
    assert "widen a subscription" in text_of(ada.get("/matches"))


def test_a_paper_is_shown_once_with_every_reason(site: Site, ada: Browser) -> None:
    paper = site.paper("Diffusion for all", authors=("Ada Lovelace",), categories=("cs.LG",))
    site.match(site.ada, site.subscription(site.ada, name="First"), paper, '"diffusion" in the title')
    site.match(site.ada, site.subscription(site.ada, name="Second", for_whom="Bob"), paper, "close to your interest")
    page = text_of(ada.get("/matches"))
    assert page.count("Diffusion for all") == 1
    for word in ("First", "&#34;diffusion&#34; in the title", "Second", "for Bob", "close to", "Ada Lovelace", "cs.LG"):
        assert word in page
    assert "Monday, 4 May" in page


def test_texts_of_a_feed_are_escaped_and_its_links_are_web_links(site: Site, ada: Browser) -> None:
    links = {"abstract": "javascript:alert(1)", "pdf": "https://example.org/a.pdf?x=<y>"}
    paper = site.paper("<script>alert(1)</script>", abstract="<img src=x onerror=alert(2)>", links=links)
    site.match(site.ada, site.subscription(site.ada), paper, "<b>why</b>")
    for path in ("/matches", f"/papers/{paper}"):
        page = ada.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b>why" not in page
        assert "javascript:" not in page
        assert "https://example.org/a.pdf" in page


def test_older_papers_are_on_the_next_page(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada)
    for number in range(1, 36):
        site.match(site.ada, one, site.paper(f"Paper number {number:03}", number))
    first = ada.get("/")
    (older,) = re.findall(r'href="(/\?page=\d+)"', first.text)
    second = ada.get(older)
    titles = re.findall(r">(Paper number \d{3})<", first.text + second.text)
    assert titles == [f"Paper number {number:03}" for number in range(35, 0, -1)]
    assert 'rel="next"' not in second.text
    assert "Back to the newest" in ada.get("/?page=3").text


def titles(browser: Browser, path: str = "/") -> list[str]:
    return re.findall(r'data-key="o">([^<]*)</a>', browser.get(path).text)


def mark(browser: Browser, paper: int, mark: str, **headers: str) -> Response:
    return browser.post("/marks", {"paper": paper, "mark": mark, "back": "/matches"}, **headers)


def test_days_by_announcement_unread_papers_first_then_upvotes(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada)
    papers = {
        title: site.paper(title, number, announced_on=DAY - timedelta(days=ago), upvotes=upvotes)
        for number, (title, ago, upvotes) in enumerate([("Old", 2, 90), ("Few", 0, 1), ("Read", 0, 80), ("Many", 0, 7)])
    }
    for title in ("Few", "Many", "Read", "Old"):  # The order of matching does not count.
        site.match(site.ada, one, papers[title])
    mark(ada, papers["Read"], "read")
    assert titles(ada) == ["Many", "Few", "Read", "Old"]
    page = ada.get("/").text
    assert "<title>(3) Today" in page
    assert "3 unread" in page


def test_filters_by_day_subscription_and_kept(site: Site, ada: Browser) -> None:
    one, two = site.subscription(site.ada, name="One"), site.subscription(site.ada, name="Two")
    new, old = site.paper("New", 1), site.paper("Old", 2, announced_on=DAY - timedelta(days=1))
    site.match(site.ada, one, new)
    site.match(site.ada, two, old)
    mark(ada, old, "star")
    assert titles(ada, f"/?day={DAY}") == ["New"]
    assert titles(ada, f"/?subscription={two}") == ["Old"]
    assert titles(ada, "/?starred=1") == ["Old"]
    assert titles(ada, f"/?starred=1&subscription={one}") == []
    ada.post(f"/subscriptions/{two}/delete")
    assert titles(ada) == ["New"]
    assert titles(ada, "/?starred=1") == ["Old"], "what is kept stays"
    assert ada.get("/?day=yesterday").status_code == 404


def test_a_paper_is_read_for_its_reader_only(site: Site, ada: Browser, ben: Browser) -> None:
    paper = site.paper("Robots")
    site.match(site.ada, site.subscription(site.ada), paper)
    site.match(site.ben, site.subscription(site.ben), paper)
    assert 'value="read"' in ada.get(f"/papers/{paper}").text
    mark(ada, paper, "read")
    assert "0 unread" in ada.get("/").text
    assert "1 unread" in ben.get("/").text
    assert mark(ada, paper, "unread").headers["location"] == "/matches"
    assert "1 unread" in ada.get("/").text


def test_htmx_gets_the_row_and_the_number_of_unread_papers(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada)
    first, second = site.paper("First", 1), site.paper("Second", 2)
    for paper in (first, second):
        site.match(site.ada, one, paper)
    answer = mark(ada, first, "read", **{"HX-Request": "true"})
    assert json.loads(answer.headers["hx-trigger"]) == {"unread": 1}
    assert "First" in answer.text
    assert 'value="unread"' in answer.text
    assert "Second" not in answer.text
    assert "<html" not in answer.text


def test_all_of_a_filtered_list_are_read_but_not_what_came_later(site: Site, ada: Browser) -> None:
    one, two = site.subscription(site.ada, name="One"), site.subscription(site.ada, name="Two")
    site.match(site.ada, one, site.paper("Of one", 1))
    site.match(site.ada, two, site.paper("Of two", 2))
    form = ada.get(f"/?subscription={one}").text.partition('action="/marks/all"')[2].partition("</form>")[0]
    fields = dict(re.findall(r'name="(listed_at|subscription|day|starred|back)" value="([^"]*)"', form))
    site.match(site.ada, one, site.paper("Later", 3))
    answer = ada.post("/marks/all", fields)
    assert answer.headers["location"] == f"/?subscription={one}"
    assert site.sql("SELECT title FROM paper JOIN paper_mark ON paper_id = id") == [("Of one",)]


def test_wrong_marks_are_refused(site: Site, ada: Browser, ben: Browser) -> None:
    paper, hers = site.paper("Robots"), site.subscription(site.ada)
    assert mark(ada, paper, "burn").status_code == 422
    assert mark(ada, 0, "read").status_code == 422
    assert mark(ada, 999, "read").status_code == 404
    for listed_at in ("", "noon", "2026-05-04T08:00"):
        assert ada.post("/marks/all", {"listed_at": listed_at}).status_code == 422
    assert ben.post("/marks/all", {"listed_at": "2026-05-04T08:00Z", "subscription": hers}).status_code == 404
    assert site.sql("SELECT * FROM paper_mark") == []


def test_a_paper_of_several_subscriptions_has_a_vote_for_each(site: Site, ada: Browser) -> None:
    paper = site.paper("Diffusion of heat", abstract="Nothing else. We measure diffusion in metals. " * 12)
    first = site.subscription(site.ada, name="First", query="diffusion")
    second = site.subscription(site.ada, name="Second", query="heat")
    for one in (first, second):
        site.match(site.ada, one, paper)
    ada.post("/votes", {"subscription": second, "paper": paper, "verdict": "less"})
    page = ada.get("/").text
    assert {int(id) for id in re.findall(r'name="subscription" value="(\d+)"', page)} == {first, second}
    assert page.count('aria-pressed="true"') == 1
    assert "<mark>Diffusion</mark>" in page
    assert '<span class="key">' in page
    assert f"/papers/{paper}?subscription={second}#why-{second}" in page


def test_without_a_session_the_start_page_leads_to_the_sign_in(site: Site) -> None:
    assert site.browser().get("/").headers["location"] == "/signin?next=/"


def test_matches_can_be_limited_to_one_subscription(site: Site, ada: Browser) -> None:
    one, two = site.subscription(site.ada, name="One"), site.subscription(site.ada, name="Two")
    site.match(site.ada, one, site.paper("Of one", 1))
    site.match(site.ada, two, site.paper("Of two", 2))
    page = text_of(ada.get(f"/matches?subscription={one}"))
    assert "Of one" in page
    assert "Of two" not in page


def test_matches_of_a_deleted_subscription_are_not_shown(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada)
    site.match(site.ada, one, site.paper("Gone"))
    ada.post(f"/subscriptions/{one}/delete")
    assert "Gone" not in ada.get("/matches").text


def test_a_paper_is_found_by_any_of_its_names(site: Site, ada: Browser) -> None:
    paper = site.paper("Known by two names", 42)
    for name in (str(paper), "arxiv:2605.00042", "2605.00042"):
        assert "Known by two names" in ada.get(f"/papers/{name}").text
    for name in ("9999", "id:abc", "doi:10.1/x", "²", "arxiv:"):
        assert ada.get(f"/papers/{name}").status_code == 404


def test_a_paper_page_shows_why_it_matched_or_not(site: Site, ada: Browser) -> None:
    paper = site.paper("Diffusion for all")
    yes, no = site.subscription(site.ada, name="Yes"), site.subscription(site.ada, name="No", query="proteins")
    site.match(site.ada, yes, paper, '"diffusion" in the title')
    assert "matched" in text_of(ada.get(f"/papers/{paper}?subscription={yes}"))
    assert "not matched" in text_of(ada.get(f"/papers/{paper}?subscription={no}"))
