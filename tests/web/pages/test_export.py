"""The export: everything that belongs to an account as JSON, and nothing of another account."""

import json
from typing import Any

import pytest

from services.store.accounts import export, members, sessions
from services.store.db.tables import metadata
from tests.web.conftest import Browser, Site

SECRET = "https://hooks.slack.com/services/T0/B0/verysecret"


@pytest.fixture
def full(site: Site, ben: Browser) -> None:
    """Ben has something of everything."""
    channel = site.channel(site.ben, f"slack:{SECRET}")
    subscription = site.subscription(site.ben, channel, name="Whales", query="whales")
    paper = site.paper("Whales sing")
    site.match(site.ben, subscription, paper, "it contains whales")
    site.sql(f"INSERT INTO feedback (subscription_id, paper_id, verdict) VALUES ({subscription}, {paper}, 'more')")
    site.sql(f"INSERT INTO paper_mark (account_id, paper_id, starred_at) VALUES ({site.ben}, {paper}, now())")
    site.sql(f"INSERT INTO interest_example (subscription_id, paper_id) VALUES ({subscription}, {paper})")
    site.sql(
        "INSERT INTO delivery (account_id, channel_id, kind, idem_key, message_id, state, rendered, subject)"
        f" VALUES ({site.ben}, {channel}, 'digest', 'k', '<m@x>', 'sent', 'the bytes', '1 paper')"
    )
    site.sql(
        "INSERT INTO delivery_item (account_id, channel_id, paper_id, not_before, cadence, delivery_id)"
        f" VALUES ({site.ben}, {channel}, {paper}, now(), 'daily', 1)"
    )
    ben.post("/silences", {"query": "survey", "until": "2999-01-01", "confirmed": "on"})


def exported(browser: Browser) -> dict[str, Any]:
    answer = browser.get("/account/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert "attachment" in answer.headers["content-disposition"]
    document: dict[str, Any] = json.loads(answer.text)
    return document


@pytest.mark.usefixtures("full")
def test_the_export_holds_everything_that_is_theirs(site: Site, ben: Browser) -> None:
    document = exported(ben)
    assert document["account"][0]["email"] == "ben@example.org"
    assert [one["email"] for one in document["members"]] == ["ben@example.org"]
    assert (document["subscriptions"][0]["name"], document["subscriptions"][0]["query"]) == ("Whales", "whales")
    assert document["channels"][0]["kind"] == "slack"
    assert document["silences"][0]["query"] == "survey"
    assert document["sessions"][0]["address"] == "192.0.2.7"
    assert document["votes"][0]["verdict"] == "more"
    assert document["votes"][0]["title"] == "Whales sing"
    assert (document["marks"][0]["title"], document["marks"][0]["read_at"]) == ("Whales sing", None)
    assert document["examples"][0]["liked"] is True
    assert document["matches"][0]["decided"]["why"] == "it contains whales"
    assert (document["deliveries"][0]["subject"], document["deliveries"][0]["papers"]) == ("1 paper", [1])
    assert document["changes"][0]["what"] == "silenced papers"
    assert all(document.values()) or not document["invitations"]


@pytest.mark.usefixtures("full")
def test_the_export_holds_no_secret_and_nothing_of_others(site: Site, ada: Browser, ben: Browser) -> None:
    text = ben.get("/account/export").text
    for secret in ("verysecret", "the bytes", "feed_key", 'digest":', "lease_token", "ada@example.org"):
        assert secret not in text, secret
    assert "secret" not in exported(ben)["channels"][0]
    document = exported(ada)
    assert not any(document[name] for name in ("subscriptions", "channels", "matches", "deliveries", "votes"))


def test_every_table_of_an_account_is_exported_or_named_here(ben: Browser) -> None:
    left_out = {"api_token", "signin_link", "source", "confirmation", "delivery_item"}
    names = {"change_log": "changes", "match": "matches", "delivery": "deliveries", "paper_mark": "marks"}
    of_accounts = {table.name for table in metadata.sorted_tables if "account_id" in table.c}
    assert {names.get(table, f"{table}s") for table in of_accounts - left_out} <= exported(ben).keys()


def test_many_rows_come_in_parts(site: Site, ben: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 2)
    channel = site.channel(site.ben, "email:ben@example.org")
    for number in range(5):
        site.subscription(site.ben, channel, name=f"number {number}")
    document = exported(ben)
    assert [one["name"] for one in document["subscriptions"]] == [f"number {number}" for number in range(5)]
    assert len(document["subscription_channels"]) == 5


def test_a_member_gets_the_own_sessions_only(site: Site, ben: Browser) -> None:
    with site.db.transaction() as tx:
        member_id = members.add(tx, site.ben, "carol@example.org", "member")
        carol = Browser(site.app, sessions.start(tx, site.ben, "198.51.100.3", member_id=member_id))
    assert [one["address"] for one in exported(carol)["sessions"]] == ["198.51.100.3"]
    assert len(exported(ben)["sessions"]) == 2


def test_an_account_that_is_to_be_deleted_can_be_exported(ben: Browser) -> None:
    ben.post("/account/deletion", {"email": "ben@example.org"})
    assert exported(ben)["account"][0]["delete_at"]


def test_strangers_export_nothing(site: Site) -> None:
    assert site.browser().get("/account/export").headers["location"].startswith("/signin")
