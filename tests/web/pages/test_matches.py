"""Matches by day with every reason, and a paper's own page."""

import re

from tests.web.conftest import Browser, Site, text_of


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
    assert "Today" in page


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


def test_older_matches_are_on_the_next_page(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada)
    for number in range(1, 36):
        site.match(site.ada, one, site.paper(f"Paper number {number:03}", number))
    first = ada.get("/matches")
    (older,) = re.findall(r'href="(/matches\?before=\d+)"', first.text)
    second = ada.get(older)
    titles = re.findall(r"Paper number \d{3}", first.text + second.text)
    assert titles == [f"Paper number {number:03}" for number in range(35, 0, -1)]
    assert 'rel="next"' not in second.text


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
