"""Rows 5, 6 and 7: what a mail server can do to a mail."""

from datetime import timedelta

import pytest

from tests.faults.oracle import Told
from tests.faults.rig import Rig
from tests.sinks import CLOSE

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


def test_row_5_a_server_that_hangs_up_after_the_mail_may_get_it_twice_but_never_thrice(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.smtp.script(".", CLOSE, CLOSE)
    rig.tell("alpha", 3)
    rig.worker()
    rig.scheduler()
    rig.until(lambda: rig.states() == ["uncertain"], "the first sending is in doubt")
    rig.set_clock(timedelta(minutes=15))
    rig.until(lambda: len(rig.messages()) == 2, "it is sent once more")
    rig.until(lambda: rig.audit().uncertain_spent == 1, "the second doubt is the last")
    rig.set_clock(timedelta(days=3))
    rig.reader("eve", "beta")
    rig.tell("beta")
    first, second, other = rig.settle(doubtful=1)
    assert first == second
    assert other.channel == "eve@example.org"


@pytest.mark.faults
def test_row_5_an_answer_that_comes_late_still_counts(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.smtp.delays["."] = 12.0
    rig.tell("alpha")
    rig.worker(concurrency=2)
    rig.scheduler()
    rig.until(lambda: rig.states() == ["sending"], "the mail is on its way")
    rig.set_clock(timedelta(minutes=2))
    rig.until(lambda: rig.states() == ["uncertain"], "its lease ran out")
    rig.set_clock(timedelta(0))
    rig.settle()
    assert rig.states() == ["sent"]


@pytest.mark.faults
def test_row_6_a_server_that_hangs_up_before_the_mail_gets_it_once_in_the_end(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.smtp.script("RCPT", *[CLOSE] * 20)
    rig.tell("alpha", 2)
    rig.worker()
    rig.scheduler()
    for tries in range(1, 21):
        noted = [("pending", tries)]
        rig.until(lambda noted=noted: rig.query("SELECT state, attempt FROM delivery") == noted, "the failure is noted")
        rig.set_clock(timedelta(hours=tries))
    rig.settle()
    assert rig.smtp.tries("RCPT") == 21


def test_row_7_each_reply_is_taken_for_what_it_is_and_concerns_nobody_else(rig: Rig) -> None:
    """451 passes, 550 5.1.1 is the address's end, 552 the mail's, and a farewell that fails is none of the mail's."""
    for name in ("grey", "gone", "full", "rude", "fine"):
        rig.reader(name, "alpha")
    rig.smtp.script("RCPT", "451 4.7.1 greylisted", to="grey@example.org")
    rig.smtp.script("RCPT", "550 5.1.1 no such user", to="gone@example.org")
    rig.smtp.script(".", "552 5.3.4 too big", to="full@example.org")
    rig.smtp.script("QUIT", CLOSE, to="rude@example.org")
    (paper,) = rig.tell("alpha")
    rig.worker()
    rig.scheduler()
    unreached = {Told("gone@example.org", paper), Told("full@example.org", paper)}
    rig.expected -= unreached
    rig.until(lambda: len(rig.messages()) == 3, "the others have theirs")
    why = {label: (state, error) for label, state, error in rig.query(
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
    assert rig.query("SELECT label FROM channel WHERE disabled_because <> ''") == [("gone@example.org",)]
    assert {one.channel for one in rig.messages()} == {f"{name}@example.org" for name in ("grey", "rude", "fine")}


def test_row_7_a_refused_sign_in_holds_all_mail_and_burns_no_attempt(rig: Rig) -> None:
    rig.env["PAPERWIRE_SMTP_URL"] = f"smtp://me:secret@127.0.0.1:{rig.smtp.port}?tls=none&timeout=600"
    rig.smtp.features("AUTH PLAIN")
    rig.smtp.always("AUTH", "535 5.7.8 no")
    rig.reader("ada", "alpha")
    rig.reader("eve", "alpha", to=["#papers"])
    rig.tell("alpha")
    rig.worker()
    rig.scheduler()
    rig.until(lambda: rig.query("SELECT down_because FROM transport WHERE down_because <> ''"), "mail is held")
    rig.until(lambda: len(rig.messages()) == 1, "Slack goes on")
    for minutes in (20, 40, 60):
        tries = rig.smtp.tries("AUTH")
        rig.set_clock(timedelta(minutes=minutes))
        rig.until(lambda tries=tries: rig.smtp.tries("AUTH") > tries, "it knocks again")
    assert rig.query("SELECT attempt FROM delivery WHERE state = 'pending'") == [(0,)]
    rig.smtp.always("AUTH", "235 2.7.0 ok")
    rig.set_clock(timedelta(minutes=80))
    rig.settle()
