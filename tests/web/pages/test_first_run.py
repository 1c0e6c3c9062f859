"""The first steps on the start page, and the line about the account's health."""

from tests.web.conftest import Browser, Site, text_of


def test_steps_tick_themselves_and_go_away(site: Site, ada: Browser) -> None:
    assert "No source is watched: nothing new can come" in text_of(ada.get("/"))
    assert "✓" not in ada.get("/").text.partition('<ol class="first">')[2].partition("</ol>")[0]
    answer = ada.post("/watch", {"category": "cs.LG", "daily_papers": "1"})
    assert answer.headers["location"].startswith("/?flash=watched")
    kinds = site.sql("SELECT kind, location FROM source WHERE polled ORDER BY kind")
    assert kinds == [("arxiv", "cs.LG"), ("daily-papers", "")]
    assert "✓ Watch something" in text_of(ada.get("/"))
    channel = site.channel(site.ada, "email:ada@example.org")
    site.subscription(site.ada, channel)
    page = ada.get("/")
    assert "✓ Describe it" in text_of(page)
    assert f'action="/channels/{channel}/test"' in page.text
    ada.post(f"/channels/{channel}/test")
    site.sql("UPDATE delivery SET state = 'sent', sent_at = now()")
    page = ada.get("/")
    assert '<ol class="first">' not in page.text
    assert "All well: 2 sources watched, not read yet" in text_of(page)


def test_only_operators_choose_sources_and_nothing_ticked_is_refused(site: Site, ada: Browser, ben: Browser) -> None:
    assert 'action="/watch"' not in ben.get("/").text
    assert "Ask an operator" in text_of(ben.get("/"))
    assert ada.post("/watch").status_code == 422
    assert ada.post("/watch", {"category": "cs.NONE"}).status_code == 422
    assert site.sql("SELECT * FROM source WHERE polled") == []


def test_a_silence_of_everything_is_said_and_ended_on_the_start_page(site: Site, ada: Browser) -> None:
    ada.post("/watch", {"daily_papers": "1"})
    ada.post("/silences", {"everything": "on", "until": "2999-01-01", "confirmed": "on"})
    page = ada.get("/").text
    assert "Everything is silenced until" in page
    assert 'action="/silences/1/end"' in page
    ada.post("/silences/1/end")
    assert "Everything is silenced" not in ada.get("/").text


def test_what_waits_is_shown_with_the_time_of_the_next_digest(site: Site, ada: Browser) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    site.subscription(site.ada, channel)
    paper = site.paper("Waits")
    site.sql(f"UPDATE channel SET next_digest_at = now() + interval '1 day' WHERE id = {channel}")
    site.sql(
        "INSERT INTO delivery_item (account_id, channel_id, paper_id, not_before, cadence)"
        f" VALUES ({site.ada}, {channel}, {paper}, now(), 'daily')"
    )
    page = text_of(ada.get("/"))
    assert "ada@example.org : 1 paper waits, next digest" in page
    ada.post("/watch", {"daily_papers": "1"})
    assert "with 1 paper" in text_of(ada.get("/"))


def test_a_channel_that_is_disabled_is_said(site: Site, ada: Browser) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    site.subscription(site.ada, channel)
    ada.post("/watch", {"daily_papers": "1"})
    site.sql("UPDATE channel SET disabled_because = 'mailbox is full', disabled_at = now()")
    assert "ada@example.org: disabled: mailbox is full" in text_of(ada.get("/"))


def test_being_away_pauses_every_subscription_of_the_account_only(site: Site, ada: Browser, ben: Browser) -> None:
    site.subscription(site.ada, name="One")
    long, other = site.subscription(site.ada, name="Long"), site.subscription(site.ben, name="Other")
    ada.post("/watch", {"daily_papers": "1"})
    ada.post(f"/subscriptions/{long}/pause", {"until": ""})
    assert "Everything is paused" not in ada.get("/").text
    assert ada.post("/away", {"until": "2020-01-01"}).status_code == 422
    assert ada.post("/away", {"until": "soon"}).status_code == 422
    assert ada.post("/away", {"until": "2999-01-01"}).status_code == 303
    assert "Everything is paused until" in ada.get("/").text
    ada.post("/away/end")
    assert "Everything is paused" not in ada.get("/").text
    paused = site.sql("SELECT id FROM subscription WHERE paused_until IS NOT NULL ORDER BY id")
    assert paused == [(long,)], "a pause until further notice is another decision"
    assert other not in {row[0] for row in paused}
