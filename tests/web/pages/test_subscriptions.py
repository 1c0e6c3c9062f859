"""Subscriptions on the page: made, previewed, changed, paused, deleted."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from tests.web.conftest import Browser, Site, text_of

QUERY = {"name": "Mine", "query": "diffusion AND image", "cadence": "daily", "channels": "email"}


def rows(site: Site) -> list[dict[str, Any]]:
    columns = ("id", "name", "query", "interest", "volume", "cadence", "min_upvotes", "paused_until", "trending")
    found = site.sql(f"SELECT {', '.join(columns)} FROM subscription WHERE deleted_at IS NULL ORDER BY id")
    return [dict(zip(columns, row, strict=True)) for row in found]


def test_an_empty_page_says_what_to_do(ada: Browser) -> None:
    page = text_of(ada.get("/subscriptions"))
    assert "No subscriptions yet" in page
    assert "New subscription" in page


def test_a_query_subscribes_and_makes_the_own_address_a_channel(site: Site, ada: Browser) -> None:
    answer = ada.post("/subscriptions", QUERY)
    assert answer.headers["location"].startswith("/subscriptions/1?flash=created")
    assert [(row["name"], row["query"], row["volume"]) for row in rows(site)] == [("Mine", "diffusion image", "")]
    assert site.sql("SELECT kind, label, verified FROM channel") == [("email", "ada@example.org", True)]
    page = text_of(ada.get("/subscriptions?flash=created"))
    assert "daily to ada@example.org" in page
    assert "Subscribed." in page


def test_an_interest_keeps_its_volume(site: Site, ada: Browser) -> None:
    fields = {"interest": "agents that plan", "volume_count": "3", "volume_per": "day", "cadence": "immediate"}
    assert ada.post("/subscriptions", fields).status_code == 303
    assert rows(site)[0]["volume"] == "3/day"
    assert site.sql("SELECT count(*) FROM subscription_channel") == [(0,)]
    page = text_of(ada.get("/subscriptions"))
    assert "about 3 a day" in page
    assert "to no channel" in page


def test_the_page_says_that_interests_wait_for_the_embedder(site: Site, ada: Browser) -> None:
    site.sql(
        "INSERT INTO transport (key, down_because, check_at) "
        "VALUES ('embedder:all-MiniLM-L6-v2-int8', 'no answer within 20 s', now())"
    )
    ada.post("/subscriptions", QUERY)
    assert "embedder" not in text_of(ada.get("/subscriptions"))
    ada.post("/subscriptions", {"interest": "agents that plan", "volume_count": "3", "volume_per": "day"})
    page = text_of(ada.get("/subscriptions"))
    assert "The embedder gives no vectors (no answer within 20 s): interests wait for it, queries go on." in page


def test_an_invalid_query_is_shown_with_a_caret_and_the_typed_values(site: Site, ada: Browser) -> None:
    answer = ada.post("/subscriptions", {**QUERY, "query": "cats AND (dogs"})
    assert answer.status_code == 422
    assert "cats AND (dogs\n         ^" in answer.text
    assert 'value="Mine"' in answer.text
    assert 'value="cats AND (dogs"' in answer.text
    assert rows(site) == []


@pytest.mark.parametrize(
    ("field", "value", "texts"),
    [
        ("query", "", "needs a query"),
        ("liked", "arxiv:9999.99999", "no paper"),
        ("liked", "id:abc ²", "no paper"),
        ("min_upvotes", "many", "whole number"),
        ("cadence", "hourly", "no cadence"),
        ("sources", "carrier-pigeon", "no source kind"),
    ],
)
def test_an_invalid_field_is_named_and_nothing_is_saved(
    site: Site, ada: Browser, field: str, value: str, texts: str
) -> None:
    answer = ada.post("/subscriptions", {**QUERY, field: value})
    assert answer.status_code == 422
    assert texts in text_of(answer).lower()
    assert rows(site) == []


@pytest.mark.parametrize("path", ["/subscriptions", "/subscriptions/preview"])
def test_a_form_with_thousands_of_examples_is_rejected_without_a_look_up(site: Site, ada: Browser, path: str) -> None:
    with statements(site) as seen:
        answer = ada.post(path, {"liked": " ".join(map(str, range(10_000))), "disliked": "2605.00001"})
    assert "takes 50 papers as examples" in text_of(answer)
    assert len(seen) < 20
    assert rows(site) == []


def test_examples_are_looked_up_together_and_each_once(site: Site, ada: Browser) -> None:
    numbers = [site.paper(f"Paper {number}", number) for number in range(1, 26)]
    liked = [str(number) for number in numbers] + [f"arxiv:2605.{number:05d}" for number in range(1, 26)]
    with statements(site) as seen:
        fields = {**QUERY, "volume_count": "5", "volume_per": "week", "liked": " ".join(liked * 20)}
        answer = ada.post("/subscriptions", fields)
    assert answer.status_code == 303
    assert site.sql("SELECT count(*) FROM interest_example") == [(25,)]
    assert sum("paper_identifier" in statement for statement in seen) < 5


def test_a_name_keeps_no_characters_that_reorder_text(site: Site, ada: Browser) -> None:
    ada.post("/subscriptions", {**QUERY, "name": "gnp.\u202eMine\u2066 \u200bنمی\u200cخواهم"})
    assert rows(site)[0]["name"] == "gnp.Mine نمی\u200cخواهم"


def test_the_preview_states_the_rate_of_the_days_that_have_papers(site: Site, ada: Browser) -> None:
    site.paper("Diffusion for every image", announced_on=datetime.now(UTC).date())
    assert "About 1 a week" in text_of(ada.post("/subscriptions/preview", QUERY))


def test_a_channel_that_is_ticked_twice_is_used_once(site: Site, ada: Browser) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    assert ada.post("/subscriptions", {**QUERY, "channels": [f"{channel}", f"0{channel}"]}).status_code == 303
    assert site.sql("SELECT channel_id FROM subscription_channel") == [(channel,)]


@contextmanager
def statements(site: Site) -> Iterator[list[str]]:
    """The SQL statements of the pages."""
    engine = site.app.state.context.db.engine
    seen = list[str]()

    def record(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", record)
    yield seen
    event.remove(engine, "before_cursor_execute", record)


def test_the_preview_is_a_fragment_for_htmx_and_a_page_without_it(site: Site, ada: Browser) -> None:
    site.paper("Diffusion for every image", announced_on=datetime.now(UTC).date())
    fragment = ada.post("/subscriptions/preview", QUERY, **{"HX-Request": "true"})
    assert "<html" not in fragment.text
    page = ada.post("/subscriptions/preview", QUERY)
    assert "<html" in page.text
    assert 'value="diffusion AND image"' in page.text
    for answer in (fragment, page):
        assert answer.status_code == 200
        assert "Diffusion for every image" in answer.text
        assert "1 of 1 papers" in text_of(answer)
        assert "<svg" in answer.text
    assert rows(site) == []


def test_the_preview_of_an_invalid_query_has_the_caret(ada: Browser) -> None:
    answer = ada.post("/subscriptions/preview", {"query": '"open'}, **{"HX-Request": "true"})
    assert answer.status_code == 200
    assert "^" in answer.text
    assert 'role="alert"' in answer.text


def test_the_preview_of_an_empty_form_asks_for_input(ada: Browser) -> None:
    answer = ada.post("/subscriptions/preview", {"query": ""}, **{"HX-Request": "true"})
    assert "Type a query or an interest" in answer.text


def test_a_preview_while_signed_out_leads_to_the_sign_in_page(site: Site) -> None:
    answer = site.browser().post("/subscriptions/preview", QUERY, **{"HX-Request": "true"})
    assert answer.headers["hx-redirect"] == "/signin"


def test_a_subscription_is_changed_through_its_form(site: Site, ada: Browser) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    one = site.subscription(site.ada, channel, trending=10, min_upvotes=5)
    form = ada.get(f"/subscriptions/{one}")
    assert 'value="diffusion"' in form.text
    assert 'name="trending" value="10"' in form.text
    fields = {
        "name": "Renamed",
        "query": "robots",
        "min_upvotes": "7",
        "trending": "3",
        "cadence": "weekly",
        "channels": str(channel),
    }
    assert ada.post(f"/subscriptions/{one}", fields).status_code == 303
    (row,) = rows(site)
    assert (row["name"], row["query"], row["min_upvotes"], row["cadence"]) == ("Renamed", "robots", 7, "weekly")
    assert row["trending"] == 3
    assert ada.post(f"/subscriptions/{one}", {**fields, "query": "(", "trending": ""}).status_code == 422


def test_a_pause_lasts_until_the_day_begins_in_the_accounts_time_zone(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada)
    day = (datetime.now(UTC) + timedelta(days=9)).date()
    ada.post(f"/subscriptions/{one}/pause", {"until": day.isoformat()})
    until = rows(site)[0]["paused_until"]
    assert until.astimezone(UTC).date() == day - timedelta(days=1)  # Berlin is ahead of UTC
    assert "Paused until" in text_of(ada.get("/subscriptions"))
    ada.post(f"/subscriptions/{one}/resume")
    assert rows(site)[0]["paused_until"] is None


def test_a_pause_without_a_day_lasts_until_further_notice(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada)
    ada.post(f"/subscriptions/{one}/pause", {"until": ""})
    assert "Paused until further notice" in text_of(ada.get("/subscriptions"))


@pytest.mark.parametrize("day", ["2020-01-01", "9998-01-01", "soon"])
def test_a_pause_needs_a_future_day(site: Site, ada: Browser, day: str) -> None:
    one = site.subscription(site.ada)
    assert ada.post(f"/subscriptions/{one}/pause", {"until": day}).status_code == 400
    assert rows(site)[0]["paused_until"] is None


def test_deleting_needs_a_confirmation(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada, name="<b>Old</b>")
    page = ada.get(f"/subscriptions/{one}/delete")
    assert "&lt;b&gt;Old&lt;/b&gt;" in page.text
    assert len(rows(site)) == 1
    assert ada.post(f"/subscriptions/{one}/delete").status_code == 303
    assert rows(site) == []


def test_errors_and_counts_are_shown(site: Site, ada: Browser) -> None:
    one = site.subscription(site.ada)
    site.match(site.ada, one, site.paper("A paper"))
    site.sql("UPDATE subscription SET error = 'waits for the embedder: no answer'")
    page = text_of(ada.get("/subscriptions"))
    assert "waits for the embedder" in page
    assert "1 in 30 days" in page


def test_trending_papers_are_subscribed_to_without_a_query(site: Site, ada: Browser) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    site.paper("A trending paper", upvotes=9)
    preview = ada.post("/subscriptions/preview", {"trending": "10", "cadence": "daily"}, **{"HX-Request": "true"})
    assert "A trending paper" in preview.text
    fields = {"name": "Trending", "trending": "10", "cadence": "daily", "channels": str(channel)}
    assert ada.post("/subscriptions", fields).status_code == 303
    assert rows(site)[0]["trending"] == 10
    assert "the 10 most upvoted of Daily Papers" in text_of(ada.get("/subscriptions"))
    answer = ada.post("/subscriptions", {**fields, "cadence": "immediate"})
    assert answer.status_code == 422
    assert "daily or weekly" in text_of(answer)
    assert "is not a whole number" in text_of(ada.post("/subscriptions", {**fields, "trending": "ten"}))
