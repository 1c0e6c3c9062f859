"""Rows 5, 6 and 7: failures of a mail server."""

from datetime import timedelta

import pytest

from tests.faults.harness import FaultHarness
from tests.faults.oracle import Alert
from tests.support.sinks import CLOSE

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


def test_row_5_a_server_that_disconnects_after_the_mail_gets_it_at_most_twice(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    harness.smtp.script(".", CLOSE, CLOSE)
    harness.announce_and_notify("alpha", 3)
    harness.worker()
    harness.scheduler()
    harness.until(lambda: harness.states() == ["uncertain"], "the first attempt is uncertain")
    harness.set_clock(timedelta(minutes=15))
    harness.until(lambda: len(harness.messages()) == 2, "it is sent again")
    harness.until(lambda: harness.audit().uncertain_spent == 1, "no further attempt is due")
    harness.set_clock(timedelta(days=3))
    harness.subscribe("eve", "beta")
    harness.announce_and_notify("beta")
    first, second, other = harness.settle(resent=1)
    assert first == second
    assert other.channel == "eve@example.org"


@pytest.mark.faults
def test_row_5_a_late_answer_still_counts(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    harness.smtp.delays["."] = 12.0
    harness.announce_and_notify("alpha")
    harness.worker(concurrency=2)
    harness.scheduler()
    harness.until(lambda: harness.states() == ["sending"], "the mail is being sent")
    harness.set_clock(timedelta(minutes=2))
    harness.until(lambda: harness.states() == ["uncertain"], "its lease has expired")
    harness.set_clock(timedelta(0))
    harness.settle()
    assert harness.states() == ["sent"]


@pytest.mark.faults
def test_row_6_a_server_that_disconnects_before_the_mail_gets_it_once(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    harness.smtp.script("RCPT", *[CLOSE] * 20)
    harness.announce_and_notify("alpha", 2)
    harness.worker()
    harness.scheduler()
    statement = "SELECT state, attempt FROM delivery"
    for tries in range(1, 21):
        expected = [("pending", tries)]
        harness.until(lambda expected=expected: harness.query(statement) == expected, "the failure is recorded")
        harness.set_clock(timedelta(hours=tries))
    harness.settle()
    assert harness.smtp.tries("RCPT") == 21


def test_row_7_each_reply_affects_only_its_own_delivery(harness: FaultHarness) -> None:
    """451 is retried, 550 5.1.1 disables the channel, 552 ends the delivery, and a failed QUIT has no effect."""
    for name in ("grey", "gone", "full", "rude", "fine"):
        harness.subscribe(name, "alpha")
    harness.smtp.script("RCPT", "451 4.7.1 greylisted", to="grey@example.org")
    harness.smtp.script("RCPT", "550 5.1.1 no such user", to="gone@example.org")
    harness.smtp.script(".", "552 5.3.4 too big", to="full@example.org")
    harness.smtp.script("QUIT", CLOSE, to="rude@example.org")
    (paper,) = harness.announce_and_notify("alpha")
    harness.worker()
    harness.scheduler()
    undelivered = {Alert("gone@example.org", paper), Alert("full@example.org", paper)}
    harness.expected -= undelivered
    harness.until(lambda: len(harness.messages()) == 3, "the other subscribers have their mails")
    why = {label: (state, error) for label, state, error in harness.query(
        "SELECT label, state, error FROM delivery d JOIN channel c ON c.id = d.channel_id WHERE d.kind = 'message'"
    )}  # fmt: skip
    assert {label: state for label, (state, _) in why.items()} == {
        "grey@example.org": "sent",
        "gone@example.org": "pending",
        "full@example.org": "dead",
        "rude@example.org": "sent",
        "fine@example.org": "sent",
    }
    assert "5.1.1" in why["gone@example.org"][1]
    assert harness.query("SELECT label FROM channel WHERE disabled_because <> ''") == [("gone@example.org",)]
    assert {message.channel for message in harness.messages()} == {
        f"{name}@example.org" for name in ("grey", "rude", "fine")
    }


def test_row_7_a_rejected_sign_in_pauses_all_mail_and_uses_no_attempt(harness: FaultHarness) -> None:
    harness.env["PAPERWIRE_SMTP_URL"] = f"smtp://me:secret@127.0.0.1:{harness.smtp.port}?tls=none&timeout=600"
    harness.smtp.features("AUTH PLAIN")
    harness.smtp.always("AUTH", "535 5.7.8 no")
    harness.subscribe("ada", "alpha")
    harness.subscribe("eve", "alpha", to=["#papers"])
    harness.announce_and_notify("alpha")
    harness.worker()
    harness.scheduler()
    harness.until(
        lambda: harness.query("SELECT down_because FROM transport WHERE down_because <> ''"),
        "the mail transport is down",
    )
    harness.until(lambda: len(harness.messages()) == 1, "the Slack message has arrived")
    for minutes in (20, 40, 60):
        tries = harness.smtp.tries("AUTH")
        harness.set_clock(timedelta(minutes=minutes))
        harness.until(lambda tries=tries: harness.smtp.tries("AUTH") > tries, "it tries to sign in again")
    assert harness.query("SELECT attempt FROM delivery WHERE state = 'pending'") == [(0,)]
    harness.smtp.always("AUTH", "235 2.7.0 ok")
    harness.set_clock(timedelta(minutes=80))
    harness.settle()
