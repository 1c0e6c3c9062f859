"""The change log: every change of settings by page, with who made it and from where."""

import pytest

from services.flow import opt_in_links
from services.store.accounts import members, sessions
from services.store.db import change_log
from tests.web.conftest import Browser, Site, text_of

SURVEYS = {"query": "survey", "until": "2999-01-01"}
SAME = {"email": "ben@example.org", "timezone": "UTC"}


def changes(site: Site, account_id: int) -> list[tuple[object, ...]]:
    return site.sql(f"SELECT actor, ip, what, detail FROM change_log WHERE account_id = {account_id} ORDER BY id")


def whats(site: Site, account_id: int) -> list[str]:
    return [f"{what}: {detail}" for _, _, what, detail in changes(site, account_id)]


def test_the_log_says_who_changed_what_from_where(site: Site, ben: Browser) -> None:
    ben.post("/account", {**SAME, "timezone": "Asia/Tokyo", "quiet_from": "22:00", "quiet_to": "07:00"})
    assert changes(site, site.ben) == [
        ("ben@example.org", "testclient", "saved the time zone and quiet hours", "Asia/Tokyo, quiet 22:00-07:00")
    ]
    assert "Asia/Tokyo, quiet 22:00-07:00 today, " in text_of(ben.get("/account"))
    assert "ben@example.org saved the time zone" in text_of(ben.get("/account/changes"))


def test_each_step_of_the_pages_leaves_one_entry(site: Site, ben: Browser) -> None:
    channel = site.channel(site.ben, "email:ben@example.org")
    subscription = site.subscription(site.ben, channel, name="Whales")
    assert whats(site, site.ben) == [], "what a test does itself has no actor"
    steps: list[tuple[str, dict[str, str], str]] = [
        (f"/subscriptions/{subscription}/pause", {"until": ""}, "paused the subscription: Whales"),
        (f"/subscriptions/{subscription}/resume", {}, "resumed the subscription: Whales"),
        (f"/subscriptions/{subscription}/feed", {}, "gave the feed a new address: Whales"),
        (
            "/silences",
            {"query": "survey", "until": "2999-01-01", "confirmed": "on"},
            "silenced papers: survey, until 2999-01-01",
        ),
        (
            f"/channels/{channel}/hours",
            {"at": "09:00", "weekday": "tue"},
            "changed the hours of the channel: ben@example.org",
        ),
        ("/channels", {"kind": "slack", "target": "#papers"}, "added the channel: #papers"),
        (f"/channels/{channel}/enable", {}, "enabled the channel: ben@example.org"),
        ("/account/people/invite", {"email": "carol@example.org"}, "invited a person: carol@example.org: member"),
        ("/account/invitations/1/revoke", {}, "revoked an invitation: carol@example.org"),
        ("/silences/1/end", {}, "ended a silence: survey"),
        (f"/channels/{channel}/remove", {}, "removed the channel: ben@example.org"),
        (f"/subscriptions/{subscription}/delete", {}, "deleted the subscription: Whales"),
        ("/account", {**SAME, "email": "ben@new.example"}, "asked for a new address: ben@new.example"),
    ]
    for path, fields, entry in steps:
        before = len(whats(site, site.ben))
        assert ben.post(path, fields).status_code == 303, path
        assert entry in whats(site, site.ben)[before:], (path, whats(site, site.ben)[before:])


def test_a_changed_subscription_names_its_changed_fields(site: Site, ben: Browser) -> None:
    channel = site.channel(site.ben, "email:ben@example.org")
    subscription = site.subscription(site.ben, channel, name="Whales", query="whales")
    fields = {"name": "Whales", "query": "whales OR dolphins", "cadence": "weekly", "channels": str(channel)}
    assert ben.post(f"/subscriptions/{subscription}", fields).status_code == 303
    assert whats(site, site.ben) == ["changed the subscription: Whales: query, cadence"]


def test_a_change_that_fails_leaves_no_entry(site: Site, ben: Browser) -> None:
    assert ben.post("/silences", {"query": "(", "until": "2999-01-01"}).status_code == 422
    assert ben.post("/account", {**SAME, "timezone": "Mars/Olympus"}).status_code == 422
    assert changes(site, site.ben) == []


def test_a_step_of_an_operator_stands_in_the_log_of_the_account_it_changes(site: Site, ada: Browser) -> None:
    ada.post(f"/members/{site.ben}/operator", {"operator": "on"})
    ada.post(f"/members/{site.ben}/sign-out")
    ada.post("/sources", {"kind": "arxiv", "location": "cs.LG"})
    ada.post("/sources/1/remove")
    assert [(actor, what) for actor, _, what, _ in changes(site, site.ben)] == [
        ("ada@example.org", "made the account an operator's"),
        ("ada@example.org", "signed out everywhere"),
    ]
    assert whats(site, site.ada) == ["added a source: arxiv cs.LG", "removed a source: arxiv cs.LG"]


def test_a_mailed_link_is_named_as_such(site: Site, ben: Browser) -> None:
    channel = site.channel(site.ben, "email:ben@example.org")
    token = opt_in_links.unsubscribe_token(site.app.state.context.secrets, channel, "ben@example.org")
    site.browser().client.post(f"/unsubscribe/{token}")
    assert changes(site, site.ben) == [
        ("a link in a message", "testclient", "unsubscribed the channel", "ben@example.org")
    ]


def test_the_log_names_a_member_who_is_gone(site: Site, ben: Browser) -> None:
    with site.db.transaction() as tx:
        member_id = members.add(tx, site.ben, "carol@example.org", "member")
        carol = Browser(site.app, sessions.start(tx, site.ben, member_id=member_id))
    carol.post("/account", {**SAME, "timezone": "Asia/Tokyo"})
    ben.post(f"/account/people/{member_id}/remove")
    assert "carol@example.org saved the time zone" in text_of(ben.get("/account/changes"))


def test_one_account_does_not_see_the_changes_of_another(site: Site, ada: Browser, ben: Browser) -> None:
    ada.post("/account", {"email": "ada@example.org", "timezone": "Asia/Tokyo"})
    assert "Tokyo" not in ben.get("/account/changes").text


def test_a_long_detail_is_cut_and_markup_stays_text(site: Site, ben: Browser) -> None:
    with site.db.transaction() as tx, change_log.acting(change_log.Actor("<i>x</i>")):
        change_log.record(tx, site.ben, "subscribed", "<b>" + "x" * 1_000)
    assert site.sql("SELECT length(detail) FROM change_log") == [(change_log.MAX_DETAIL,)]
    page = ben.get("/account/changes").text
    assert "<i>" not in page
    assert "&lt;b&gt;xxx" in page


def test_older_changes_are_on_the_next_page(site: Site, ben: Browser) -> None:
    site.sql(
        "INSERT INTO change_log (account_id, actor, what, detail)"
        f" SELECT {site.ben}, 'x', 'subscribed', 'number ' || n FROM generate_series(1, 101) n"
    )
    first = ben.get("/account/changes").text
    assert "number 101<" in first
    assert "number 1<" not in first
    assert "number 1<" in ben.get("/account/changes?before=2").text


@pytest.mark.parametrize("before", ["x", "99999999999999999999", "0", "-1"])
def test_an_invalid_page_is_no_error_of_the_server(ben: Browser, before: str) -> None:
    assert ben.get(f"/account/changes?before={before}").status_code in (200, 404, 422)
