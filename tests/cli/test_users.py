import re

import pytest

from services.settings import settings
from services.store.accounts import credentials, invitations, members
from services.store.db.database import Database
from tests.cli.conftest import Paperwire


def test_the_first_account_is_the_operator(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("user", "add", "bob@example.org").code == 0
    first, second = paperwire("user", "list", "--json").json()
    assert (first["email"], first["operator"], first["timezone"]) == (ada, True, "Europe/Berlin")
    assert (second["operator"], second["timezone"]) == (False, "UTC")
    assert first["id"] == "1"
    assert ada in paperwire("user", "list").out


def test_time_zone_and_quiet_hours_are_changed(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("user", "set", ada, "--timezone", "Asia/Tokyo", "--quiet", "22:00-07:00").code == 0
    [account] = paperwire("user", "list", "--json").json()
    assert (account["timezone"], account["quiet_hours"]) == ("Asia/Tokyo", "22:00-07:00")
    assert paperwire("user", "set", ada, "--quiet", "").code == 0
    assert paperwire("user", "list", "--json").json()[0]["quiet_hours"] is None


def test_invalid_input_is_rejected(paperwire: Paperwire, ada: str) -> None:
    assert "already" in paperwire("user", "add", "Ada@Example.org").error()
    assert "not an e-mail address" in paperwire("user", "add", "ada").error()
    assert "time zone" in paperwire("user", "add", "x@example.org", "--timezone", "Mars/Base").error()
    assert "22:00-07:00" in paperwire("user", "set", ada, "--quiet", "at night").error()
    assert "nothing to change" in paperwire("user", "set", ada).error()
    assert "no account" in paperwire("user", "link", "nobody@example.org").error()


def test_a_link_signs_in_once(paperwire: Paperwire, ada: str, db: Database) -> None:
    answer = paperwire("user", "link", ada)
    found = re.fullmatch(r"http://127\.0\.0\.1:8400/signin\?key=([\w-]+)\n", answer.out)
    assert found
    with db.transaction() as tx:
        link = credentials.use_signin_link(tx, found[1])
        assert link is not None
        assert link.account_id == 1
        assert credentials.use_signin_link(tx, found[1]) is None


def test_a_link_signs_in_the_member_whose_address_is_given(paperwire: Paperwire, ada: str, db: Database) -> None:
    with db.transaction() as tx:
        members.add(tx, 1, "bob@example.org", "member")
    key = paperwire("user", "link", "Bob@example.org").out.strip().partition("=")[2]
    with db.transaction() as tx:
        link = credentials.use_signin_link(tx, key)
    assert link is not None
    assert (link.account_id, link.email) == (1, "bob@example.org")


def test_an_invitation_is_mailed(paperwire: Paperwire, ada: str, monkeypatch: pytest.MonkeyPatch, db: Database) -> None:
    assert "PAPERWIRE_SIGNUP is closed" in paperwire("user", "invite", "bob@example.org").error()
    monkeypatch.setenv("PAPERWIRE_SIGNUP", "invite")
    settings.cache_clear()
    assert "is invited" in paperwire("user", "invite", "bob@example.org").out
    assert "exists already" in paperwire("user", "invite", ada).error()
    with db.transaction() as tx:
        assert [one.email for one in invitations.all_open(tx)] == ["bob@example.org"]


def test_only_the_token_is_printed_on_stdout(paperwire: Paperwire, ada: str, db: Database) -> None:
    answer = paperwire("user", "token", ada)
    with db.transaction() as tx:
        assert credentials.account_of_api_token(tx, answer.out.strip()) == 1


def test_deleting_an_account_deletes_its_subscriptions_channels_and_deliveries(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("subscribe", ada, "--query", "agents").code == 0
    assert paperwire("user", "delete", ada).code == 0
    assert paperwire("user", "list", "--json").json() == []
    assert paperwire("channel", "list", "--json").json() == []
    assert paperwire("subscription", "list", "--json").json() == []
