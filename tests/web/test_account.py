"""The account: address, time zone, quiet hours."""

import pytest

from .conftest import Browser, Site, text_of

SAME = {"email": "ada@example.org", "timezone": "Europe/Berlin"}


def test_time_zone_and_quiet_hours_are_saved(site: Site, ada: Browser) -> None:
    fields = {**SAME, "timezone": "Asia/Tokyo", "quiet_from": "22:00", "quiet_to": "07:00"}
    assert ada.post("/account", fields).status_code == 303
    query = f"SELECT timezone, quiet_from::text, quiet_to::text FROM account WHERE id = {site.ada}"
    assert site.sql(query) == [("Asia/Tokyo", "22:00:00", "07:00:00")]
    ada.post("/account", SAME)
    assert site.sql(query) == [("Europe/Berlin", None, None)]


def test_mails_follow_an_operator_to_a_new_address(site: Site, ada: Browser) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    site.subscription(site.ada, channel)
    site.channel(site.ben, "email:ben@example.org")
    assert ada.post("/account", {**SAME, "email": "Ada@New.example"}).status_code == 303
    moved = site.sql(f"SELECT label, target FROM channel WHERE id = {channel}")
    assert moved == [("ada@new.example", {"address": "ada@new.example"})]
    assert site.sql(f"SELECT label FROM channel WHERE account_id = {site.ben}") == [("ben@example.org",)]
    assert site.sql(f"SELECT email FROM account WHERE id = {site.ada}") == [("ada@new.example",)]
    assert "to ada@new.example" in text_of(ada.get("/subscriptions"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"email": "ben@example.org"}, "already"),
        ({"email": "nonsense"}, "no e-mail address"),
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"timezone": ""}, "no time zone"),
        ({"quiet_from": "22:00"}, "both a beginning and an end"),
        ({"quiet_from": "25:00", "quiet_to": "07:00"}, "quiet hours"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_changes(
    site: Site, ada: Browser, fields: dict[str, str], said: str
) -> None:
    before = site.sql("SELECT * FROM account")
    answer = ada.post("/account", {**SAME, **fields})
    assert answer.status_code == 422
    assert said in text_of(answer).lower()
    assert site.sql("SELECT * FROM account") == before


def test_an_address_that_is_a_channel_already_is_refused(site: Site, ada: Browser) -> None:
    site.channel(site.ada, "email:ada@example.org")
    site.channel(site.ada, "email:other@example.org")
    answer = ada.post("/account", {**SAME, "email": "other@example.org"})
    assert answer.status_code == 422
    assert site.sql(f"SELECT email FROM account WHERE id = {site.ada}") == [("ada@example.org",)]


def test_only_operators_change_their_address(site: Site, ben: Browser) -> None:
    answer = ben.post("/account", {"email": "victim@example.org", "timezone": "UTC"})
    assert answer.status_code == 422
    assert site.sql(f"SELECT email FROM account WHERE id = {site.ben}") == [("ben@example.org",)]
    assert ben.post("/account", {"timezone": "Asia/Tokyo"}).status_code == 303
