"""Returned mails: the address gets no more mail, its owner sees why, and forged reports change nothing."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from services.domain.delivery.bounce import REFUSALS_IN_A_ROW
from services.flow import opt_in_links
from services.flow.commands import channels as channel_commands
from services.flow.commands import opt_in as opt_in_commands
from services.flow.upkeep import bounces, recovery
from services.store.accounts import accounts
from services.store.db.secrets import SecretBox
from services.store.db.tables import account, bounce, delivery, rate_limit
from services.store.delivery import bounces as store
from services.store.delivery import channels, ended_channels, operator_notices, opt_in
from services.store.delivery.bounces import soft_bounces
from services.store.delivery.records import SoftBounces
from services.store.maintenance import due_work
from tests.flow.conftest import Configure
from tests.support.imap import ImapSink
from tests.support.sinks import SmtpSink
from tests.support.world import Pipeline, entry

SAMPLES = Path(__file__).parents[2] / "data" / "bounces"
AGENTS = "One paper about agent planning"


def secrets(world: Pipeline) -> SecretBox:
    return SecretBox(world.settings.secret_keys)


def report(world: Pipeline, name: str, message_id: str = "") -> bytes:
    """A server's report about the first mail that was sent."""
    token = opt_in_links.unsubscribe_token(secrets(world), world.email, "ada@example.org")
    link = f"{world.settings.base_url}/unsubscribe/{token}"
    message_id = message_id or world.deliveries()[0]["message_id"]
    body = (SAMPLES / f"{name}.eml").read_bytes()
    return body.replace(b"MESSAGE-ID", message_id.encode()).replace(b"UNSUBSCRIBE", link.encode())


def handle(world: Pipeline, body: bytes) -> str:
    return bounces.handle_mail(world.db, world.settings, secrets(world), body)


def disabled(world: Pipeline) -> list[str]:
    with world.db.transaction() as tx:
        return [channel.disabled_because for channel in channels.all_of(tx)]


@pytest.fixture
def sent(world: Pipeline) -> Pipeline:
    world.subscribe(query="planning")
    world.run(entry(AGENTS, 1))
    return world


@pytest.mark.parametrize("name", ["postfix", "exchange", "gmail", "vague"])
def test_a_hard_bounce_disables_the_channel(sent: Pipeline, name: str) -> None:
    body = report(sent, name)
    assert [handle(sent, body), handle(sent, body)] == ["hard", "known"]
    assert disabled(sent)[0].startswith("mail to this address came back: 550")
    sent.run(entry("Another about planning", 2))
    assert len(sent.mails()) == 1
    if name != "vague":  # whose id is a relay's, so that only the channel is known
        assert sent.deliveries()[0]["error"].startswith("came back: 550")


def test_an_address_is_disabled_in_every_account_and_the_accounts_get_a_notice(sent: Pipeline) -> None:
    with sent.db.transaction() as tx:
        other = accounts.add(tx, "ben@example.org", "UTC")
    both = [
        channel_commands.find_or_add(sent.db, sent.settings, other, f"email:{one}", verified=True)
        for one in ("Ada@example.org", "ben@example.org")
    ]
    assert handle(sent, report(sent, "postfix")) == "hard"
    assert [bool(one) for one in disabled(sent)] == [True, True, False]
    notices = [(row["channel_id"], row["kind"]) for row in sent.deliveries()][1:]
    assert notices == [(both[1], "notice")]


def test_waiting_papers_are_sent_when_the_channel_is_enabled(sent: Pipeline) -> None:
    handle(sent, report(sent, "postfix"))
    sent.run(entry("Another about planning", 2))
    assert opt_in_commands.enable(sent.db, sent.settings, sent.email, sent.account)
    sent.deliver()
    assert len(sent.mails()) == 2
    with sent.db.transaction() as tx:
        assert opt_in.suppression_reason(tx, "ada@example.org") == ""


def test_a_suppressed_address_gets_no_opt_in_request(sent: Pipeline) -> None:
    handle(sent, report(sent, "postfix"))
    with sent.db.transaction() as tx:
        other = accounts.add(tx, "ben@example.org", "UTC")
    one = channel_commands.find_or_add(sent.db, sent.settings, other, "email:ada@example.org")
    assert not opt_in_commands.request_opt_in(sent.db, sent.settings, one)


def test_a_soft_bounce_is_counted_and_does_not_disable_the_channel(sent: Pipeline) -> None:
    assert handle(sent, report(sent, "full")) == "soft"
    assert disabled(sent) == [""]
    with sent.db.transaction() as tx:
        found = soft_bounces(tx, sent.account, sent.now() - timedelta(days=1))
        assert found == {sent.email: SoftBounces(1, "552 5.2.2 Mailbox full")}
        assert soft_bounces(tx, sent.account, sent.now() + timedelta(days=1)) == {}


def come_back_over_quota(world: Pipeline, attempt: int) -> str:
    """The same mail comes back once more; each report has other bytes."""
    return handle(world, report(world, "full").replace(b"Mailbox full", b"Mailbox full, attempt %d" % attempt))


def a_day_later(world: Pipeline, hours: int = 24) -> None:
    world.make_due(delivery, next_attempt_at=timedelta(hours=hours), refused_since=timedelta(hours=hours))
    world.deliver()


def test_a_mail_that_a_full_mailbox_returned_is_sent_again_a_day_later(smtp: SmtpSink, sent: Pipeline) -> None:
    message_id = sent.deliveries()[0]["message_id"]
    assert come_back_over_quota(sent, 1) == "soft"
    assert come_back_over_quota(sent, 2) == "soft", "the report of another server about the same mail"
    (row,) = sent.deliveries()
    assert (row["state"], row["error"]) == ("pending", "came back: 552 5.2.2 Mailbox full, attempt 2")
    assert timedelta(hours=23) < row["next_attempt_at"] - sent.now() <= timedelta(hours=24)
    a_day_later(sent, hours=23)
    assert len(smtp.mails) == 1
    a_day_later(sent, hours=1)
    assert [row["state"] for row in sent.deliveries()] == ["sent"]
    assert [message_id.encode() in mail.body for mail in smtp.mails] == [True, True]
    assert disabled(sent) == [""]


def test_a_mail_that_a_full_mailbox_keeps_returning_is_given_up_after_two_days(sent: Pipeline) -> None:
    channel_commands.find_or_add(sent.db, sent.settings, sent.account, "email:ada@home.example", verified=True)
    for attempt in range(3):
        assert come_back_over_quota(sent, attempt) == "soft"
        a_day_later(sent)
    (row, notice) = sent.deliveries()
    assert (row["state"], row["next_attempt_at"]) == ("dead", None)
    assert "given up after 48 h: came back: 552 5.2.2" in row["error"]
    assert (notice["kind"], "was given up" in notice["subject"]) == ("notice", True)
    assert disabled(sent)[0] == ""


def test_mails_that_came_back_from_a_full_mailbox_and_arrived_later_do_not_stop_the_channel(sent: Pipeline) -> None:
    for number in range(REFUSALS_IN_A_ROW + 1):
        if number:
            sent.run(entry(f"Paper {number} about planning", number + 1))
        message_id = sent.deliveries()[number]["message_id"]
        assert handle(sent, report(sent, "full", message_id)) == "soft"
        a_day_later(sent)
    assert handle(sent, returned(sent, REFUSALS_IN_A_ROW)) == "soft"
    assert disabled(sent) == [""]


@pytest.mark.parametrize("why", ["old", "unsubscribed", "removed"])
def test_a_returned_mail_that_nobody_waits_for_is_not_sent_again(smtp: SmtpSink, sent: Pipeline, why: str) -> None:
    with sent.db.transaction() as tx:
        if why == "unsubscribed":
            opt_in.unsubscribe(tx, channels.find(tx, sent.email))
        elif why == "removed":
            ended_channels.remove(tx, sent.email)
    if why == "old":
        sent.make_due(delivery, sent_at=timedelta(days=8))
    assert come_back_over_quota(sent, 1) == "soft"
    a_day_later(sent, hours=48)
    assert len(smtp.mails) == 1
    assert sent.deliveries()[0]["state"] == ("sent" if why == "old" else "cancelled")


def returned(world: Pipeline, number: int) -> bytes:
    """The report that the mail with this number came back by a policy, which does not name the recipient."""
    message_id = [row["message_id"] for row in world.deliveries() if row["channel_id"] == world.email][number]
    return report(world, "full", message_id).replace(b"5.2.2", b"5.7.1").replace(b"Mailbox full", b"SPF says no")


def test_several_returned_mails_in_a_row_stop_the_channel_of_one_account(sent: Pipeline) -> None:
    with sent.db.transaction() as tx:
        other = accounts.add(tx, "ben@example.org", "UTC")
    channel_commands.find_or_add(sent.db, sent.settings, other, "email:ada@example.org", verified=True)
    for number in range(REFUSALS_IN_A_ROW):
        if number:
            sent.run(entry(f"Paper {number} about planning", number + 1))
        assert disabled(sent) == ["", ""]
        assert handle(sent, returned(sent, number)) == "soft"
    because = f"{REFUSALS_IN_A_ROW} mails in a row were refused, the last one with: 552 5.7.1 SPF says no"
    assert disabled(sent) == [because, ""]
    with sent.db.transaction() as tx:
        channels.enable(tx, sent.email)
    sent.run(entry("One more about planning", 9))
    assert handle(sent, returned(sent, REFUSALS_IN_A_ROW)) == "soft"
    assert disabled(sent) == ["", ""]


def test_a_mail_that_arrives_between_returned_mails_keeps_the_channel(sent: Pipeline) -> None:
    for number in range(REFUSALS_IN_A_ROW + 3):
        if number:
            sent.run(entry(f"Paper {number} about planning", number + 1))
        if number != 2:
            assert handle(sent, returned(sent, number)) == "soft"
        assert (disabled(sent) == [""]) is (number < REFUSALS_IN_A_ROW + 2)


@pytest.mark.parametrize("name", ["postfix", "exchange", "gmail"])
def test_a_report_about_a_foreign_mail_changes_nothing(sent: Pipeline, name: str) -> None:
    body = report(sent, name, "<digest-000000000000000000000000@localhost>")
    forged = body.replace(f"/unsubscribe/{sent.email}-".encode(), b"/unsubscribe/9-")
    assert handle(sent, forged) == "ignored"
    assert handle(sent, b"Subject: hello\r\n\r\nhow are you?") == "ignored"
    assert (disabled(sent), sent.rows(select(bounce))) == ([""], [])


def test_a_report_about_an_unsent_mail_is_ignored(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        assert operator_notices.send(tx, world.account, "k", "text", "localhost")
    body = report(world, "exchange")
    assert handle(world, body) == "ignored"


def test_a_mail_with_the_token_unsubscribes(sent: Pipeline) -> None:
    token = opt_in_links.unsubscribe_token(secrets(sent), sent.email, "ada@example.org")
    forged = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert handle(sent, f"Subject: unsubscribe {forged}\r\n\r\n".encode()) == "ignored"
    assert handle(sent, f"Subject: unsubscribe {token}\r\n\r\n".encode()) == "unsubscribed"
    with sent.db.transaction() as tx:
        assert channels.find(tx, sent.email).unsubscribed_at is not None


def test_the_mailbox_is_read_every_five_minutes_by_one_worker(
    sent: Pipeline, configure: Configure, tmp_path: Path
) -> None:
    for name in ("new", "cur"):
        (tmp_path / "Back" / name).mkdir(parents=True)
    (tmp_path / "Back/new/1").write_bytes(report(sent, "postfix"))
    configure(bounce_url=f"maildir://{tmp_path}/Back")

    def is_due() -> bool:
        with sent.db.transaction() as tx:
            return "slow" in due_work.stages_with_work(tx, sent.now(), 1.0, "no model")

    def work() -> bool:
        return bounces.work(sent.db, sent.settings, secrets(sent))

    assert is_due()
    assert not work()
    assert disabled(sent) != [""]
    assert list((tmp_path / "Back/new").iterdir()) == []
    (tmp_path / "Back/new/2").write_bytes(b"Subject: other\n\n")
    work()
    assert [one.name for one in (tmp_path / "Back/new").iterdir()] == ["2"]
    sent.make_due(rate_limit, available_at=timedelta(minutes=6))
    work()
    assert list((tmp_path / "Back/new").iterdir()) == []


def read(world: Pipeline, times: int) -> None:
    """Reads the mailbox several times, as if five minutes had passed each time."""
    for _ in range(times):
        world.make_due(rate_limit, available_at=timedelta(minutes=6))
        assert not bounces.work(world.db, world.settings, secrets(world))
    world.deliver()


def why_unreadable(world: Pipeline) -> str:
    with world.db.transaction() as tx:
        return store.mailbox_failure(tx)


def notices(world: Pipeline) -> list[str]:
    return [row["subject"] for row in world.deliveries() if row["kind"] == "notice"]


@pytest.fixture
def operated(world: Pipeline) -> Pipeline:
    """Ada, who has a mail channel, is the operator."""
    with world.db.transaction() as tx:
        tx.execute(update(account).values(operator=True))
    return world


def test_the_operator_gets_one_notice_about_a_mailbox_that_refuses_the_sign_in(
    operated: Pipeline, configure: Configure
) -> None:
    operated.subscribe(query="planning")
    operated.run(entry(AGENTS, 1))
    with ImapSink("INBOX", [report(operated, "postfix")], refuse="LOGIN") as sink:
        configure(bounce_url=f"imap://me:secret@127.0.0.1:{sink.port}/INBOX?tls=none")
        read(operated, 1)
        assert "refuses the sign-in" in why_unreadable(operated)
        assert notices(operated) == []  # it may have been but a restart
        read(operated, 5)
        assert [one.partition(": ")[0] for one in notices(operated)] == ["Returned mails cannot be read"]
        assert "secret" not in notices(operated)[0]
        assert "cannot be read" in operated.mails()[-1] + operated.mails()[0]
        with operated.db.transaction() as tx:
            assert not recovery.probe_transport(operated.db, operated.settings, secrets(operated))
            assert channels.all_of(tx)[0].down_because == ""
        sink.refuse = ""
        read(operated, 1)
        assert (why_unreadable(operated), sink.seen) == ("", {1})
        assert disabled(operated)[0].startswith("mail to this address came back")
        sink.refuse = "LOGIN"
        read(operated, 1)
        assert len(notices(operated)) == 1


@pytest.mark.parametrize("url", ["maildir:///nowhere/at/all", "imap://me:secret@127.0.0.1:1/INBOX?tls=none"])
def test_the_operator_gets_a_notice_each_time_the_mailbox_becomes_unreachable(
    operated: Pipeline, configure: Configure, tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("new", "cur"):
        (tmp_path / "Back" / name).mkdir(parents=True)
    for times in (1, 2):
        configure(bounce_url=url)
        read(operated, 3)
        assert "cannot be read" in why_unreadable(operated)
        assert len(notices(operated)) == times
        configure(bounce_url=f"maildir://{tmp_path}/Back")
        read(operated, 1)
        assert why_unreadable(operated) == ""
    assert "bounces are not read" in capsys.readouterr().out


def test_a_mailbox_that_is_no_longer_configured_is_no_failure(operated: Pipeline, configure: Configure) -> None:
    configure(bounce_url="maildir:///nowhere/at/all")
    read(operated, 1)
    configure(bounce_url="")
    read(operated, 1)
    assert why_unreadable(operated) == ""
