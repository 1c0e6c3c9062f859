"""The Channels page: adding, testing, enabling and removing channels, and the state of each."""

import re

import pytest

from tests.web.conftest import Browser, Site, text_of

HOURS = {"at": "08:00", "weekday": "mon"}
WEBHOOK = "https://hooks.slack.com/services/T000/B000/verysecretpart"


def test_a_slack_channel_is_added_with_its_hours(site: Site, ada: Browser) -> None:
    fields = {"kind": "slack", "target": "#papers", "at": "17:30", "weekday": "fri"}
    assert ada.post("/channels", fields).status_code == 303
    ((label, at, weekday),) = site.sql("SELECT label, at::text, weekday FROM channel")
    assert (label, at, weekday) == ("#papers", "17:30:00", 4)
    page = text_of(ada.get("/channels"))
    assert "#papers" in page
    assert "Digests at 17:30, weekly on fri" in page


def test_the_address_of_a_webhook_is_not_shown_again(site: Site, ada: Browser) -> None:
    assert ada.post("/channels", {"kind": "slack-webhook", "target": WEBHOOK, **HOURS}).status_code == 303
    assert "verysecretpart" not in ada.get("/channels").text
    assert "verysecretpart" not in str(site.sql("SELECT * FROM channel"))


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("slack-webhook", "https://hooks.slack.com.evil.example/services/secret"),
        ("slack-webhook", "file:///etc/passwd"),
        ("slack", "not a channel!"),
        ("slack", ""),
        ("webhook", "http://169.254.169.254/latest"),
        ("webhook", "papers"),
        ("email", "no address"),
        ("pigeon", "x"),
    ],
)
def test_an_invalid_target_is_rejected(site: Site, ada: Browser, kind: str, target: str) -> None:
    answer = ada.post("/channels", {"kind": kind, "target": target, **HOURS})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert site.sql("SELECT * FROM channel") == []


def test_changing_the_hours_keeps_the_target(site: Site, ada: Browser) -> None:
    one = site.channel(site.ada, f"slack-webhook:{WEBHOOK}")
    before = site.sql("SELECT label, transport FROM channel")
    assert ada.post(f"/channels/{one}/hours", {"at": "06:15", "weekday": "sun"}).status_code == 303
    assert site.sql("SELECT at::text, weekday FROM channel") == [("06:15:00", 6)]
    assert site.sql("SELECT label, transport FROM channel") == before


def test_a_webhooks_secret_is_shown_once_and_stored_encrypted(site: Site, ada: Browser) -> None:
    added = ada.post("/channels", {"kind": "webhook", "target": "https://example.org/hooks/geheim", **HOURS})
    assert added.status_code == 200
    (secret,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", added.text)
    assert added.headers["cache-control"] == "no-store"
    page = ada.get("/channels").text
    assert "example.org" in page
    assert not [word for word in (secret, "geheim") if word in page + str(site.sql("SELECT * FROM channel"))]
    again = ada.post("/channels", {"kind": "webhook", "target": "https://example.org/hooks/geheim", **HOURS})
    assert "whsec_" not in again.text
    (renewed,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", ada.post("/channels/1/secret").text)
    assert renewed != secret


def test_only_a_webhook_has_a_secret_to_renew(site: Site, ada: Browser) -> None:
    one = site.channel(site.ada, "slack:#papers")
    assert ada.post(f"/channels/{one}/secret").status_code == 422


def test_a_channel_may_get_messages_at_most_once(site: Site, ada: Browser) -> None:
    one = site.channel(site.ada, "slack:#papers")
    ada.post(f"/channels/{one}/hours", {**HOURS, "at_most_once": "on"})
    assert site.sql("SELECT at_most_once FROM channel") == [(True,)]
    assert 'name="at_most_once" checked' in ada.get("/channels").text
    ada.post(f"/channels/{one}/hours", HOURS)
    assert site.sql("SELECT at_most_once FROM channel") == [(False,)]


def test_a_test_message_is_a_delivery(site: Site, ada: Browser) -> None:
    one = site.channel(site.ada, "email:ada@example.org")
    ada.post(f"/channels/{one}/test")
    ada.post(f"/channels/{one}/test")
    assert site.sql("SELECT kind, state FROM delivery") == [("test", "pending")] * 2


def test_a_disabled_channel_says_why_and_is_enabled(site: Site, ada: Browser) -> None:
    one = site.channel(site.ada, "slack:#gone")
    site.sql("UPDATE channel SET disabled_because = 'channel_not_found', disabled_at = now()")
    page = text_of(ada.get("/channels"))
    assert "disabled" in page
    assert "channel_not_found" in page
    assert ada.post(f"/channels/{one}/test").status_code == 409
    ada.post(f"/channels/{one}/enable")
    assert site.sql("SELECT disabled_because FROM channel") == [("",)]


def test_a_channel_whose_transport_is_down_shows_the_reason(site: Site, ada: Browser) -> None:
    site.channel(site.ada, "email:ada@example.org")
    site.sql("INSERT INTO transport (key, down_because) VALUES ('smtp', 'connection refused')")
    page = text_of(ada.get("/channels"))
    assert "waiting" in page
    assert "connection refused" in page
    assert "nothing is lost" in page


def test_removing_a_channel_needs_a_confirmation(site: Site, ada: Browser) -> None:
    one = site.channel(site.ada, "slack:#papers")
    assert "#papers" in ada.get(f"/channels/{one}/remove").text
    assert site.sql("SELECT count(*) FROM channel WHERE deleted_at IS NULL") == [(1,)]
    ada.post(f"/channels/{one}/remove")
    assert site.sql("SELECT count(*) FROM channel WHERE deleted_at IS NULL") == [(0,)]
