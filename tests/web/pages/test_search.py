"""Search: names of papers open them, words and sentences list papers."""

import pytest

from services.flow.commands import search
from tests.web.conftest import Browser, Site, text_of


@pytest.mark.parametrize(
    "name",
    [
        "2605.00001",
        "arXiv:2605.00001v2 [cs.CL]",
        "https://arxiv.org/abs/2605.00001",
        "https://huggingface.co/papers/2605.00001",
        "https://www.alphaxiv.org/abs/2605.00001",
        "10.48550/arXiv.2605.00001",
        "https://doi.org/10.48550/arXiv.2605.00001",
        "1",
    ],
)
def test_a_name_of_a_paper_opens_it(site: Site, ada: Browser, name: str) -> None:
    paper = site.paper("Robots that learn")
    assert ada.client.get("/search", params={"q": name}).headers["location"] == f"/papers/{paper}"


def test_a_paper_that_nobody_announced_gets_a_page_that_says_what_would_bring_it(site: Site, ada: Browser) -> None:
    for path in ("/search?q=2601.09999", "/papers/arxiv:2601.09999", "/search?q=https://doi.org/10.1038/x123"):
        answer = ada.get(path)
        assert answer.status_code == 404
        assert "never announced to us" in text_of(answer)
        assert "Subscriptions" in text_of(answer), "the navigation stays"
    assert "arxiv : " in text_of(ada.get("/search?q=2601.09999"))


def test_words_find_papers_the_best_match_first(site: Site, ada: Browser) -> None:
    site.paper("Networks", 1, abstract="A robot is mentioned here.")
    site.paper("Robots that learn", 2)
    site.paper("Language", 3)
    page = ada.get("/search?q=robot")
    assert page.text.index("Robots that learn") < page.text.index("Networks")
    assert "2 papers with these words, the best match first" in text_of(page)
    newest = ada.get("/search?q=robot&sort=newest")
    assert "the newest first" in text_of(newest)
    assert "Language" not in page.text
    assert 'href="/subscriptions/new?query=robot"' in page.text


def test_the_language_of_queries_and_its_errors(site: Site, ada: Browser) -> None:
    site.paper("Robots that learn", 1, authors=("Ada Lovelace",))
    site.paper("Robots in a survey", 2)
    page = text_of(ada.client.get("/search", params={"q": "robot* -survey"}))
    assert "1 paper with these words" in page
    assert "1 paper with these words" in text_of(ada.client.get("/search", params={"q": 'author:"Ada Lovelace"'}))
    answer = ada.client.get("/search", params={"q": "(robots"})
    assert answer.status_code == 422
    assert "never closed" in text_of(answer)
    assert 'value="(robots"' in answer.text


def test_a_sentence_finds_papers_by_meaning(site: Site, ada: Browser) -> None:
    site.paper("Robots that learn")
    page = ada.client.get("/search", params={"q": "how machines learn to move by themselves"})
    assert page.status_code == 200
    assert "closest in meaning" in text_of(page)
    assert "Nothing found" in text_of(page), "no paper has a vector yet"


def test_words_that_no_paper_has_are_searched_by_meaning(site: Site, ada: Browser) -> None:
    site.paper("Robots that learn")
    assert "No paper has these words" in text_of(ada.get("/search?q=zebrafish"))


def test_an_empty_search_says_what_can_be_entered(ada: Browser) -> None:
    assert "What you can enter" in text_of(ada.get("/search"))


@pytest.mark.parametrize(
    "q",
    [
        "x" * 3000,
        "\x00",
        "<script>alert(1)</script>",
        "((((((((((((((((",
        "\ud800".encode("utf-8", "replace").decode(),
        "99999999999999999999",
    ],
)
def test_odd_input_gets_an_answer(site: Site, ada: Browser, q: str) -> None:
    answer = ada.client.get("/search", params={"q": q})
    assert answer.status_code in (200, 422)
    assert "<script>alert" not in answer.text


def test_a_search_has_pages(site: Site, ada: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE_SIZE", 2)
    for number in range(1, 6):
        site.paper(f"Robots number {number}", number)
    seen = []
    path = "/search?q=robots"
    while path:
        page = ada.get(path)
        seen += [f"number {n}" for n in range(1, 6) if f"Robots number {n}" in page.text]
        after = page.text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        path = after
    assert sorted(seen) == [f"number {n}" for n in range(1, 6)]
    assert ada.get("/search?q=robots&page=501").status_code == 404


def test_the_page_of_a_paper_leads_to_its_authors_categories_and_the_like(site: Site, ada: Browser) -> None:
    paper = site.paper("Robots", 1, authors=("Ada Lovelace",), categories=("cs.RO",))
    text = ada.get(f"/papers/{paper}").text
    for link in ("/search?q=author%3A%22Ada%20Lovelace%22", "/search?q=cat%3Acs.RO", f"/search?like={paper}"):
        assert f'href="{link}"' in text
        assert ada.get(link.replace("&amp;", "&")).status_code == 200
    assert "not embedded yet" in text_of(ada.get(f"/search?like={paper}"))
    assert ada.get("/search?like=999").status_code == 404


def test_what_came_by_a_subscription_of_another_account_is_not_said(site: Site, ada: Browser, ben: Browser) -> None:
    paper = site.paper("Robots that learn")
    site.match(site.ada, site.subscription(site.ada, name="Her secret"), paper)
    assert "came by Her secret" in text_of(ada.get("/search?q=robots"))
    assert "Her secret" not in ben.get("/search?q=robots").text


def test_too_many_papers_to_rank_are_shown_by_date_and_the_page_says_so(
    site: Site, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_RANKED", 1)
    for number in (1, 2):
        site.paper(f"Robots number {number}", number)
    assert "the newest first, since they are too many to rank" in text_of(ada.get("/search?q=robots"))
