"""The Account page: address, time zone, quiet hours."""

from datetime import UTC, datetime

import pytest

from services.flow import opt_in_links
from tests.web.conftest import Browser, Site, text_of

SAME = {"email": "ada@example.org", "timezone": "Europe/Berlin"}


def test_time_zone_and_quiet_hours_are_saved(site: Site, ada: Browser) -> None:
    fields = {**SAME, "timezone": "Asia/Tokyo", "quiet_from": "22:00", "quiet_to": "07:00"}
    assert ada.post("/account", fields).status_code == 303
    query = f"SELECT timezone, quiet_from::text, quiet_to::text FROM account WHERE id = {site.ada}"
    assert site.sql(query) == [("Asia/Tokyo", "22:00:00", "07:00:00")]
    ada.post("/account", SAME)
    assert site.sql(query) == [("Europe/Berlin", None, None)]


def test_an_operators_address_changes_at_once_with_its_channel(site: Site, ada: Browser) -> None:
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
    ("fields", "texts"),
    [
        ({"email": "ben@example.org"}, "already"),
        ({"email": "nonsense"}, "not an e-mail address"),
        ({"timezone": "Mars/Olympus"}, "not a time zone"),
        ({"timezone": ""}, "not a time zone"),
        ({"quiet_from": "22:00"}, "both a beginning and an end"),
        ({"quiet_from": "25:00", "quiet_to": "07:00"}, "quiet hours"),
    ],
)
def test_invalid_input_is_reported_and_changes_nothing(
    site: Site, ada: Browser, fields: dict[str, str], texts: str
) -> None:
    before = site.sql("SELECT * FROM account")
    answer = ada.post("/account", {**SAME, **fields})
    assert answer.status_code == 422
    assert texts in text_of(answer).lower()
    name = next(iter(fields))
    assert f'id="{name}-error"' in answer.text, "the message stands beside its field"
    assert all(f'value="{value}"' in answer.text for value in fields.values()), "what was typed stays"
    assert site.sql("SELECT * FROM account") == before


def test_an_address_that_is_a_channel_already_is_rejected(site: Site, ada: Browser) -> None:
    site.channel(site.ada, "email:ada@example.org")
    site.channel(site.ada, "email:other@example.org")
    answer = ada.post("/account", {**SAME, "email": "other@example.org"})
    assert answer.status_code == 422
    assert site.sql(f"SELECT email FROM account WHERE id = {site.ada}") == [("ada@example.org",)]


def confirm(site: Site, channel: int) -> int:
    """Follows the link that is mailed to the new address; returns the status of the answer."""
    ((label,),) = site.sql(f"SELECT label FROM channel WHERE id = {channel}")
    token = opt_in_links.confirm_token(site.app.state.context.secrets, channel, label, datetime.now(UTC))
    return site.browser().client.post(f"/confirm/{token}").status_code


def emails(site: Site) -> list[tuple[object, ...]]:
    return site.sql(f"SELECT email, new_email FROM account WHERE id = {site.ben}")


def channels_in_use(site: Site) -> list[tuple[object, ...]]:
    query = f"SELECT id, label, verified FROM channel WHERE account_id = {site.ben} AND deleted_at IS NULL ORDER BY id"
    return site.sql(query)


def test_a_new_address_is_used_once_confirmed_and_gets_the_waiting_papers(site: Site, ben: Browser) -> None:
    old = site.channel(site.ben, "email:ben@example.org")
    one = site.subscription(site.ben, old)
    assert ben.post("/account", {"email": "ben@new.example", "timezone": "UTC"}).status_code == 303
    assert emails(site) == [("ben@example.org", "ben@new.example")]
    ((_, _, first), (new, label, verified)) = channels_in_use(site)
    assert (first, label, verified) == (True, "ben@new.example", False)
    assert "until the link mailed to ben@new.example is followed" in text_of(ben.get("/account"))
    site.subscription(site.ben, int(str(new)), name="Other")
    paper = site.paper("A paper")
    columns = "(account_id, channel_id, paper_id, not_before, cadence)"
    site.sql(f"INSERT INTO delivery_item {columns} VALUES ({site.ben}, {new}, {paper}, now(), 'daily')")
    for _ in range(2):
        assert confirm(site, int(str(new))) in (200, 404)
    assert emails(site) == [("ben@new.example", "")]
    assert channels_in_use(site) == [(old, "ben@new.example", True)]
    linked = site.sql("SELECT subscription_id, channel_id FROM subscription_channel ORDER BY 1")
    assert linked == [(one, old), (one + 1, old)]
    assert site.sql("SELECT channel_id, dropped_because FROM delivery_item") == [(old, "")]


def test_a_change_of_address_can_be_cancelled(site: Site, ben: Browser) -> None:
    ben.post("/account", {"email": "ben@new.example", "timezone": "UTC"})
    ben.post("/account", {"email": "ben@example.org", "timezone": "UTC"})
    assert emails(site) == [("ben@example.org", "")]
    ((new, _, _),) = channels_in_use(site)
    assert confirm(site, int(str(new))) == 200
    assert emails(site) == [("ben@example.org", "")]


def test_only_the_owner_of_an_address_learns_that_another_account_has_it(site: Site, ben: Browser) -> None:
    answers = [
        ben.post("/account", {"email": email, "timezone": "UTC"}) for email in ("ada@example.org", "x@y.example")
    ]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    ((taken, _, _), _) = channels_in_use(site)
    ben.post("/account", {"email": "ada@example.org", "timezone": "UTC"})
    assert confirm(site, int(str(taken))) == 409
    assert emails(site) == [("ben@example.org", "ada@example.org")]


def test_an_operators_mail_waits_for_the_confirmation_of_the_new_address(site: Site, ada: Browser) -> None:
    channel = site.channel(site.ada, "email:ada@example.org")
    ada.post("/account", {**SAME, "email": "ada@new.example"})
    assert site.sql(f"SELECT verified FROM channel WHERE id = {channel}") == [(False,)]
    assert site.sql("SELECT kind FROM delivery") == [("confirm",)]
    assert confirm(site, channel) == 200
    assert site.sql(f"SELECT verified FROM channel WHERE id = {channel}") == [(True,)]
