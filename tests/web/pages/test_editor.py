"""The editor: prefilled, previewed, changed by its buttons, saved."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from httpx2 import Response

from services.flow.commands import subscribe
from services.web import editor_preview
from tests.web.conftest import Browser, Site, text_of

HTMX = {"HX-Request": "true"}


def preview(browser: Browser, fields: dict[str, Any]) -> Response:
    """The fragment that htmx gets."""
    return browser.post("/subscriptions/preview", fields, **HTMX)


def papers(site: Site, *titles: str, days_ago: int = 0, first: int = 1, **values: Any) -> list[int]:
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    return [site.paper(title, first + n, announced_on=day, **values) for n, title in enumerate(titles)]


def field(answer: Response, name: str) -> str:
    """The value of a field of the form."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.text)
    assert found, f"no field {name}"
    return found[1]


def test_a_link_fills_the_form_in(site: Site, ada: Browser) -> None:
    page = ada.get("/subscriptions/new?query=%22web+agent%2A%22%0A&interest=plans+%3Cb%3E&liked=2605.00001")
    assert 'value="&#34;web agent*&#34;"' in page.text
    assert "plans &lt;b&gt;" in page.text
    assert field(page, "liked") == "2605.00001"
    assert 'hx-trigger="load, input' in page.text


def test_a_link_with_a_huge_text_fills_in_what_the_field_holds(ada: Browser) -> None:
    page = ada.get(f"/subscriptions/new?query={'a' * 5_000}")
    assert field(page, "query") == "a" * 500


def test_the_first_channel_is_ticked(site: Site, ada: Browser) -> None:
    assert re.search(r'name="channels" value="email"[^>]* checked', ada.get("/subscriptions/new").text)
    channel = site.channel(site.ada, "email:ada@example.org")
    site.channel(site.ada, "email:other@example.org")
    page = ada.get("/subscriptions/new").text
    assert re.findall(r'name="channels" value="(\d+)"[^>]* checked', page) == [str(channel)]


def test_a_channel_that_gets_nothing_says_so(site: Site, ada: Browser) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    site.sql(f"UPDATE channel SET verified = false WHERE id = {channel}")
    assert "email · not confirmed" in text_of(ada.get("/subscriptions/new"))


def test_enter_presses_the_button_that_previews(ada: Browser) -> None:
    page = ada.get("/subscriptions/new").text
    assert "subscriptions/preview" in re.findall(r"<button[^>]*>", page[page.index('id="editor"') :])[0]


def test_saving_opens_the_subscription_with_its_papers(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion for images")
    answer = ada.post("/subscriptions/new", {"query": "diffusion"})
    assert answer.status_code == 303
    page = ada.get(answer.headers["location"].partition("#")[0])
    assert "Subscribed." in text_of(page)
    assert "<mark>Diffusion</mark> for images" in page.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("liked", "arxiv:9999.99999"), ("min_upvotes", "many"), ("trending", "0x"), ("volume_count", "some")],
)
def test_an_error_stands_beside_its_field_and_what_was_typed_stays(
    site: Site, ada: Browser, name: str, value: str
) -> None:
    answer = ada.post(
        "/subscriptions/new", {"interest": "robots", "volume_per": "week", "volume_count": "5"} | {name: value}
    )
    assert answer.status_code == 422
    assert field(answer, name) == value
    assert "robots</textarea>" in answer.text
    wrong = "volume" if name == "volume_count" else name
    assert f'role="alert" id="{wrong}-error"' in answer.text
    assert answer.text.index(f'id="{name}"') < answer.text.index(f'id="{wrong}-error"')
    assert "<nav" in answer.text


def test_the_words_that_matched_are_marked(site: Site, ada: Browser) -> None:
    papers(site, "Robots that plan", abstract="First nothing. Then a robot learns to plan.")
    answer = preview(ada, {"query": "robot"})
    assert "<mark>Robots</mark> that plan" in answer.text
    assert "<mark>robot</mark> learns" in answer.text.replace('<span class="key">', "").replace("</span>", "")


def test_more_papers_are_shown_on_request(site: Site, ada: Browser) -> None:
    papers(site, *(f"Diffusion study {n}" for n in range(14)))
    first = preview(ada, {"query": "diffusion"})
    assert first.text.count('class="found"') == 10
    assert "and 4 more" in text_of(first)
    more = preview(ada, {"query": "diffusion", "shown": field(first, "shown"), "do": "more"})
    assert more.text.count('class="found"') == 14
    assert "more</button>" not in more.text


def test_the_days_can_be_chosen_and_stay_chosen(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion of old", days_ago=100)
    papers(site, "Diffusion of new", first=2)
    short = preview(ada, {"query": "diffusion"})
    assert "Diffusion</mark> of old" not in short.text
    year = preview(ada, {"query": "diffusion", "days": field(short, "days"), "do": "days:365"})
    assert "Diffusion</mark> of old" in year.text
    assert field(year, "days") == "365"
    assert field(preview(ada, {"query": "diffusion", "days": "12345"}), "days") == "60"


def test_a_vote_in_the_editor_changes_the_form_and_stores_nothing(site: Site, ada: Browser) -> None:
    one, two = papers(site, "Diffusion agents", "Diffusion cats")
    fields = {"query": "diffusion", "liked": "arxiv:2605.00002", "volume_count": "5", "volume_per": "week"}
    voted = preview(ada, fields | {"disliked": f"{one}", "do": f"like:{one}"})
    assert 'id="fields" class="stack" hx-swap-oob="true"' in voted.text
    assert field(voted, "liked") == f"arxiv:2605.00002, {one}"
    assert field(voted, "disliked") == ""
    away = preview(ada, {"query": "diffusion", "do": f"dislike:{one}"})
    assert f'value="unvote:{one}" class="plain" formaction="/subscriptions/preview#papers"' in away.text
    undone = preview(ada, fields | {"do": f"unvote:{two}"})
    assert field(undone, "liked") == ""
    assert site.sql("SELECT count(*) FROM interest_example") == [(0,)]


@pytest.mark.parametrize("do", ["", "x", "like:", "like:x", "like:99999999999999999999", "days:0", "query", ":"])
def test_an_unknown_button_does_nothing(site: Site, ada: Browser, do: str) -> None:
    papers(site, "Diffusion agents")
    answer = preview(ada, {"query": "diffusion", "do": do})
    assert answer.status_code == 200
    assert 'id="fields"' not in answer.text


def test_typing_leaves_the_fields_alone(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion agents")
    answer = preview(ada, {"query": "diffusion"})
    assert 'id="fields"' not in answer.text
    assert 'id="bar-summary" class="bar-summary" href="#papers" hx-swap-oob="true"' in answer.text
    assert 'data-name="diffusion"' in answer.text


def test_a_query_takes_the_best_if_it_is_asked_to(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion diffusion", "A thing", abstract="Of diffusion.")
    fields = {"query": "diffusion", "cadence": "daily", "volume_count": "5", "volume_per": "week"}
    assert "2 of 2 papers" in text_of(preview(ada, fields))
    best = preview(ada, fields | {"limit": "best"})
    assert "1 of 2 papers" in text_of(best)
    assert "The best 5 a week" in text_of(best)
    assert "2 match the query; the others are held back" in text_of(best)
    everything = preview(ada, fields | {"limit": "best", "do": "everything"})
    assert "2 of 2 papers" in text_of(everything)
    saved = ada.post("/subscriptions/new", fields | {"limit": "best"})
    assert site.sql("SELECT best, volume FROM subscription") == [("5/week", "")]
    page = ada.get(saved.headers["location"].partition("?")[0]).text
    assert re.search(r'value="best" checked', page)
    assert "the best 5 a week" in text_of(ada.get("/subscriptions"))


def test_the_best_cannot_come_at_once(site: Site, ada: Browser) -> None:
    fields = {"query": "diffusion", "cadence": "immediate", "volume_count": "5", "volume_per": "week", "limit": "best"}
    answer = ada.post("/subscriptions/new", fields)
    assert answer.status_code == 422
    assert 'role="alert" id="cadence-error"' in answer.text


def test_advice_has_a_button_that_changes_the_form(site: Site, ada: Browser) -> None:
    papers(site, *(f"Diffusion {n}" for n in range(3)), *(f"Protein {n}" for n in range(4)))
    fields = {"query": "diffusion", "cadence": "immediate", "volume_count": "9", "volume_per": "day"}
    broad = preview(ada, fields)
    assert 'value="best:5/week"' in broad.text
    mended = preview(ada, fields | {"do": "best:5/week"})
    assert 'id="fields" class="stack" hx-swap-oob="true"' in mended.text
    assert field(mended, "volume_count") == "5"
    assert re.search(r'name="cadence" value="daily" checked', mended.text)


def test_a_change_says_what_it_gains_and_loses(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion agents", "Diffusion cats", "Robots")
    one = site.subscription(site.ada, query="diffusion")
    fields = {"query": "robots OR cats", "cadence": "daily", "editing": f"{one}"}
    answer = preview(ada, fields)
    assert "Gained 1 Lost 1" in text_of(answer)
    assert 'class="ghost"' in answer.text
    assert "outlined: as it is saved" in text_of(answer)
    lost = preview(ada, fields | {"do": "tab:lost"})
    assert "<mark>" not in lost.text
    assert "Diffusion agents" in text_of(lost)
    assert field(lost, "tab") == "lost"


def test_a_near_miss_offers_to_leave_its_clause_out(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion survey")
    near = preview(ada, {"query": "diffusion -survey", "do": "tab:near"})
    assert "fails only -survey" in text_of(near)
    assert 'value="query:diffusion"' in near.text
    wanted = preview(ada, {"query": "diffusion -survey", "tab": "near", "do": "query:diffusion"})
    assert field(wanted, "query") == "diffusion"
    assert "Diffusion</mark> survey" in wanted.text


def test_weeks_before_the_archive_begins_are_hatched(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion agents")
    answer = preview(ada, {"query": "diffusion"})
    assert answer.text.count('class="no-archive"') == 8
    assert "the archive has no papers" in answer.text


def test_a_vote_says_what_it_changed(site: Site, ada: Browser) -> None:
    one, _ = papers(site, "Diffusion agents", "Diffusion cats")
    first = preview(ada, {"query": "diffusion"})
    assert "since you began" not in first.text
    seen = field(first, "seen")
    voted = preview(ada, {"query": "diffusion", "seen": seen, "do": f"dislike:{one}"})
    assert field(voted, "began") == seen
    changed = preview(ada, {"query": "cats", "began": seen})
    assert "+0 −1 since you began" in text_of(changed)


def test_a_rare_query_says_how_many_papers_and_when(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion of old", days_ago=90)
    for week in range(8):
        papers(site, f"Robots of week {week}", days_ago=7 * week, first=10 + week)
    papers(site, "Diffusion agents", days_ago=20, first=3)
    day = datetime.now(UTC).date() - timedelta(days=20)
    answer = text_of(preview(ada, {"query": "author:nobody OR diffusion"}))
    assert "a week" not in answer.partition("papers in the")[0]
    assert f"1 paper, the last on {day.day} {day:%b}" in answer
    none = text_of(preview(ada, {"query": "old"}))
    assert "The archive holds 1 paper, the last on" in none
    assert "Try fewer words" not in none


def test_a_preview_is_mailed_as_a_trial_and_changes_nothing(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion agents", "Diffusion cats", "Robots")
    sent = ada.post("/subscriptions/try", {"query": "diffusion", "name": "Heat"}, **HTMX)
    assert "2 papers on the way to ada@example.org" in text_of(sent)
    ((kind, trial),) = site.sql("SELECT kind, trial FROM delivery")
    assert (kind, trial["name"], len(trial["papers"])) == ("test", "Heat", 2)
    assert site.sql("SELECT count(*) FROM subscription") == [(0,)]
    page = ada.post("/subscriptions/try", {"query": "diffusion"})
    assert 'name="query" value="diffusion"' in page.text
    assert "2 papers on the way" in text_of(page)


@pytest.mark.parametrize(
    ("fields", "text"),
    [({"query": "nowhere"}, "no paper matches"), ({"query": "("}, "Nothing was sent"), ({}, "no paper matches")],
)
def test_a_trial_without_papers_says_so(site: Site, ada: Browser, fields: dict[str, str], text: str) -> None:
    assert text in text_of(ada.post("/subscriptions/try", fields, **HTMX))
    answer = ada.post("/subscriptions/try", fields)
    assert answer.status_code == 422
    assert text in text_of(answer)
    assert "New subscription" in answer.text
    assert site.sql("SELECT count(*) FROM delivery") == [(0,)]


def test_trials_count_as_test_messages(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion agents")
    for _ in range(site.settings.tests_per_hour):
        assert ada.post("/subscriptions/try", {"query": "diffusion"}, **HTMX).status_code == 200
    refused = ada.post("/subscriptions/try", {"query": "diffusion"}, **HTMX)
    assert refused.status_code == 429
    assert f"at most {site.settings.tests_per_hour} test messages an hour" in text_of(refused)
    assert site.sql("SELECT count(*) FROM delivery") == [(site.settings.tests_per_hour,)]


def test_a_query_that_only_excludes_offers_what_to_look_for(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion agents", "Robots", categories=("cs.LG",))
    only = preview(ada, {"query": "-survey"})
    assert 'value="query:cat:cs.LG -survey"' in only.text
    mended = preview(ada, {"query": "-survey", "do": "query:cat:cs.LG -survey"})
    assert "2 of 2 papers" in text_of(mended)
    assert 'value="query:' not in preview(ada, {"query": "(survey"}).text


def test_an_unchanged_subscription_shows_no_empty_lists(site: Site, ada: Browser) -> None:
    papers(site, "Diffusion agents")
    one = site.subscription(site.ada, query="diffusion")
    answer = text_of(preview(ada, {"query": "diffusion", "cadence": "daily", "editing": f"{one}"}))
    assert "Lost" not in answer
    assert "All 1 New to me 1 Near misses" in answer


def test_trending_papers_are_no_best_of_a_query(site: Site, ada: Browser) -> None:
    day = datetime.now(UTC).date()
    for number in range(3):
        site.paper(f"Diffusion {number}", number + 1, announced_on=day, upvotes=number + 1)
    answer = text_of(preview(ada, {"query": "diffusion", "trending": "1", "cadence": "daily"}))
    assert "About 1 a week" in answer
    assert "held back" not in answer


def test_the_page_after_saving_does_not_wait_for_another_preview(
    site: Site, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editor_preview, "MAX_WAIT_SECONDS", 0.01)
    one = site.subscription(site.ada)
    with site.app.state.context.previews.taken(site.ada, 0):
        page = ada.get(f"/subscriptions/{one}?flash=saved")
    assert page.status_code == 200
    assert 'hx-trigger="load, input' in page.text


@pytest.mark.parametrize(
    ("path", "module", "name"),
    [
        ("/subscriptions/preview", editor_preview, "run_preview"),
        ("/subscriptions/new", subscribe, "save"),
    ],
)
def test_a_query_past_its_time_limit_says_so_and_keeps_the_form(
    site: Site, ada: Browser, monkeypatch: pytest.MonkeyPatch, path: str, module: Any, name: str
) -> None:
    def slow(*_: Any, **__: Any) -> None:
        with site.db.transaction() as tx:
            tx.exec_driver_sql("SET LOCAL statement_timeout = 10")
            tx.exec_driver_sql("SELECT pg_sleep(60)")

    monkeypatch.setattr(module, name, slow)
    answer = ada.post(path, {"query": "diffusion"})
    assert answer.status_code == 429
    assert "took too long" in text_of(answer)
    assert field(answer, "query") == "diffusion"
