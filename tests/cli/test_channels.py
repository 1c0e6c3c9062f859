import re
from pathlib import Path

import pytest

from services.settings import Settings
from services.settings import settings as read_settings
from services.store.db.database import Database
from services.store.delivery import channels, deliveries, opt_in
from tests.cli.conftest import Paperwire

WEBHOOK = "https://hooks.slack.com/services/T000/B000/wonderland"


def test_the_list_shows_hours_and_no_secrets(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("channel", "add", ada, "email", ada, "--at", "07:30", "--weekday", "fri").code == 0
    answer = paperwire("channel", "add", ada, "slack-webhook", WEBHOOK)
    assert answer.code == 0, answer.err
    first, second = paperwire("channel", "list", "--json").json()
    assert (first["id"], first["account"], first["kind"], first["target"]) == ("1", ada, "email", ada)
    assert (first["at"], first["weekday"], first["verified"]) == ("07:30", "fri", True)
    assert second["kind"] == "slack"
    shown = paperwire("channel", "list").out + paperwire("channel", "list", "--json").out + answer.out
    assert "wonderland" not in shown


def test_a_channel_added_again_only_changes_its_hours(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("channel", "add", ada, "email", ada).code == 0
    assert paperwire("channel", "add", ada, "email", ada, "--at", "18:00").code == 0
    assert [one["at"] for one in paperwire("channel", "list", "--json").json()] == ["18:00"]


def test_a_webhooks_secret_is_shown_when_the_webhook_is_added_and_when_the_secret_is_renewed(
    paperwire: Paperwire, ada: str
) -> None:
    url = "https://example.org/hooks/geheim"
    (first,) = re.findall(r"whsec_\S+", paperwire("channel", "add", ada, "webhook", url).out)
    again = paperwire("channel", "add", ada, "webhook", url, "--at", "09:00")
    assert "whsec_" not in again.out + again.err
    (second,) = re.findall(r"whsec_\S+", paperwire("channel", "rotate", 1).out)
    assert first != second
    shown = paperwire("channel", "list", "--json").out
    assert "geheim" not in shown
    assert "whsec_" not in shown
    assert paperwire("channel", "add", ada, "slack", "#papers").code == 0
    assert "only a webhook" in paperwire("channel", "rotate", 2).error()
    assert "public internet" in paperwire("channel", "add", ada, "webhook", "http://10.0.0.1/hook").error()


def test_a_channel_may_get_messages_at_most_once(paperwire: Paperwire, ada: str) -> None:
    def at_most_once_settings() -> list[bool]:
        return [one["at_most_once"] for one in paperwire("channel", "list", "--json").json()]

    assert paperwire("channel", "add", ada, "slack", "#papers", "--never-twice").code == 0
    assert at_most_once_settings() == [True]
    assert paperwire("channel", "add", ada, "slack", "#papers", "--at", "09:00").code == 0
    assert at_most_once_settings() == [True]
    assert paperwire("channel", "add", ada, "slack", "#papers", "--rather-twice").code == 0
    assert at_most_once_settings() == [False]


def test_an_invalid_channel_is_rejected(paperwire: Paperwire, ada: str) -> None:
    assert "there are: " in paperwire("channel", "add", ada, "pigeon", "coop").error()
    assert "not an e-mail address" in paperwire("channel", "add", ada, "email", "lab").error()
    assert "08:00" in paperwire("channel", "add", ada, "email", "lab@example.org", "--at", "noon").error()
    assert "weekday" in paperwire("channel", "add", ada, "email", "lab@example.org", "--weekday", "noday").error()
    for step in ("test", "enable", "remove"):
        assert "no channel 7" in paperwire("channel", step, 7).error()


def test_each_test_is_a_delivery_of_its_own(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("channel", "add", ada, "email", ada).code == 0
    assert paperwire("channel", "test", 1).code == 0
    assert paperwire("channel", "test", 1).code == 0
    rows = paperwire("deliveries", "--json").json()
    assert [(row["id"], row["kind"], row["state"], row["papers"]) for row in rows] == [
        ("2", "test", "pending", []),
        ("1", "test", "pending", []),
    ]


def test_a_disabled_channel_is_not_tested_until_it_is_enabled(paperwire: Paperwire, ada: str, db: Database) -> None:
    assert paperwire("channel", "add", ada, "email", ada).code == 0
    with db.transaction() as tx:
        channels.disable(tx, 1, "the mailbox is gone")
    assert "the mailbox is gone" in paperwire("channel", "test", 1).error()
    assert paperwire("channel", "enable", 1).code == 0
    assert paperwire("channel", "test", 1).code == 0


def test_an_unsubscribed_channel_is_shown_and_can_be_subscribed_again(
    paperwire: Paperwire, ada: str, db: Database
) -> None:
    assert paperwire("channel", "add", ada, "email", ada).code == 0
    with db.transaction() as tx:
        opt_in.unsubscribe(tx, channels.find(tx, 1))
    assert paperwire("channel", "list", "--json").json()[0]["unsubscribed"] is True
    assert "unsubscribed" in paperwire("channel", "test", 1).error()
    assert paperwire("channel", "enable", 1).code == 0
    assert paperwire("channel", "list", "--json").json()[0]["unsubscribed"] is False


def test_another_address_gets_a_confirmation_mail_unless_the_operator_confirms_it(
    paperwire: Paperwire, ada: str
) -> None:
    answer = paperwire("channel", "add", ada, "email", "lab@example.org")
    assert answer.code == 0
    assert "nothing is sent to lab@example.org until its owner confirms: a confirmation mail is sent" in answer.err
    assert "not confirmed" in paperwire("channel", "test", 1).error()
    assert "got one lately" in paperwire("channel", "ask", 1).err
    assert [row["kind"] for row in paperwire("deliveries", "--json").json()] == ["confirm"]
    assert "by your word" in paperwire("channel", "confirm", 1).out
    assert paperwire("channel", "test", 1).code == 0
    assert "confirmed already" in paperwire("channel", "ask", 1).error()
    assert paperwire("channel", "add", ada, "email", "other@example.org", "--confirmed").code == 0
    assert [one["verified"] for one in paperwire("channel", "list", "--json").json()] == [True, True]


def test_a_new_address_in_a_subscription_gets_a_confirmation_mail(paperwire: Paperwire, ada: str) -> None:
    answer = paperwire("subscribe", ada, "--query", "agents", "--to", "email:lab@example.org", "--to", "email")
    assert "until its owner confirms" in answer.err
    assert [one["verified"] for one in paperwire("channel", "list", "--json").json()] == [False, True]


def test_removing_a_channel_cancels_its_waiting_deliveries(paperwire: Paperwire, ada: str, db: Database) -> None:
    assert paperwire("channel", "add", ada, "email", ada).code == 0
    assert paperwire("channel", "test", 1).code == 0
    assert paperwire("channel", "remove", 1).code == 0
    assert paperwire("channel", "list", "--json").json() == []
    with db.transaction() as tx:
        assert deliveries.list_all(tx)[0].state == "cancelled"


def test_stored_tokens_are_encrypted_again_with_a_new_key(
    paperwire: Paperwire, ada: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert paperwire("channel", "add", ada, "webhook", "https://hooks.example.org/x").code == 0
    old = settings.secret_key.get_secret_value()

    def set_keys(current: str, replaced: str) -> None:
        monkeypatch.setenv("PAPERWIRE_SECRET_KEY", current)
        monkeypatch.setenv("PAPERWIRE_SECRET_KEYS_OLD", replaced)
        read_settings.cache_clear()

    new = "a new key of thirty-two characters or more"
    set_keys(new, "")
    refused = paperwire("channel", "renew-encryption")
    assert (refused.code, "PAPERWIRE_SECRET_KEYS_OLD" in refused.error()) == (1, True)
    set_keys(new, old)
    assert "1 channel encrypted again" in paperwire("channel", "renew-encryption").out
    set_keys(new, "")
    assert "0 channels encrypted again" in paperwire("channel", "renew-encryption").out


@pytest.mark.parametrize("way", ["-", "@hook.txt", "env:HOOK"])
@pytest.mark.parametrize("command", ["channel add", "subscribe"])
def test_the_address_of_a_webhook_is_read_from_where_no_other_process_sees_it(
    paperwire: Paperwire, ada: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, command: str
) -> None:
    (tmp_path / "hook.txt").write_text(f"{WEBHOOK}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOK", WEBHOOK)
    in_place = {
        "channel add": ("channel", "add", ada, "slack-webhook", way),
        "subscribe": ("subscribe", ada, "--query", "agent", "--to", f"slack-webhook:{way}"),
    }
    answer = paperwire(*in_place[command], stdin=f"{WEBHOOK}\n".encode())
    assert answer.code == 0, answer.err
    assert "wonderland" not in answer.out + answer.err
    assert [one["target"] for one in paperwire("channel", "list", "--json").json()] == ["webhook …land"]


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("-", "standard input is empty"),
        ("@missing.txt", "cannot read missing.txt: No such file"),
        ("@empty.txt", "'empty.txt' is empty"),
        ("@binary", "not a text"),
        ("@.", "Is a directory"),
        ("env:MISSING", "'MISSING' is not set"),
    ],
)
def test_an_address_that_cannot_be_read_is_an_error(
    paperwire: Paperwire, ada: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, reason: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    monkeypatch.chdir(tmp_path)
    assert reason in paperwire("channel", "add", ada, "slack-webhook", way).error()
    assert reason in paperwire("subscribe", ada, "--query", "agent", "--to", f"slack-webhook:{way}").error()
    assert paperwire("subscription", "list", "--json").json() == []
