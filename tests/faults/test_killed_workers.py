"""Rows 1 to 4, 10 and 13: workers that die, freeze or come in crowds."""

import signal
from datetime import timedelta

import pytest

from services import plugins
from services.flow.commands.add_source import add_source
from tests.faults.rig import Rig
from tests.sinks import Answer

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

CONNECTIONS = 4
"""Of a worker to a mail server, unless its URL says otherwise."""
FEED = """<?xml version="1.0"?><rss version="2.0"><channel><title>Papers</title><link>http://127.0.0.1/</link>
<item><title>P00001 about alpha and its many planning agents</title><link>http://127.0.0.1/1</link><guid>1</guid></item>
</channel></rss>"""


@pytest.mark.faults
def test_row_1_a_paper_whose_reader_died_after_storing_it_is_matched(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.slack.always("/feed", Answer(body=FEED, headers={"Content-Type": "application/rss+xml"}))
    with rig.db.transaction() as tx:
        feed = plugins.source("feed")
        add_source(tx, feed, feed.location(f"{rig.slack.url}/feed"), None, announce_first=True)
    victim = rig.worker("poll", FAULT="ingested")
    rig.scheduler()
    rig.until(victim.lost, "the worker dies with the papers stored")
    victim.kill()
    assert rig.query("SELECT count(*) FROM paper")[0][0] == 1
    rig.expect("alpha", ["P00001"])
    rig.worker("embed,match")
    rig.worker("poll,deliver")
    rig.settle(30)


@pytest.mark.faults
def test_row_2_a_delivery_whose_message_was_never_sent_goes_out(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.tell("alpha", 2)
    victim = rig.worker(FAULT="gathered")
    rig.until(victim.lost, "the worker dies with the delivery made")
    victim.kill()
    assert rig.query("SELECT count(*) FROM delivery")[0][0] == 1
    with rig.servers.broker() as broker:
        broker.flushall()
    rig.worker()
    rig.scheduler()
    rig.settle()


@pytest.mark.parametrize("point", ["claimed", "accepted"])
def test_row_3_a_worker_that_dies_before_the_mail_costs_no_copy(rig: Rig, point: str) -> None:
    rig.reader("ada", "alpha")
    rig.tell("alpha", 2)
    victim = rig.worker(FAULT=point)
    rig.until(victim.lost, "the worker dies")
    victim.kill()
    assert rig.states() == ["claimed"]
    rig.worker()
    rig.scheduler()
    rig.set_clock(timedelta(minutes=3))
    rig.settle()
    assert rig.smtp.tries("RCPT")


def test_row_4_a_worker_that_dies_with_the_yes_in_hand_sends_one_more_copy_and_never_three(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.tell("alpha", 2)
    victim = rig.worker(FAULT="answered")
    rig.scheduler()
    rig.until(lambda: len(rig.messages()) == 1, "the first copy")
    rig.set_clock(timedelta(hours=1))
    rig.until(lambda: rig.states() == ["uncertain"], "its lease ran out")
    rig.set_clock(timedelta(hours=2))
    rig.until(lambda: len(rig.messages()) == 2, "the second copy")
    rig.set_clock(timedelta(hours=3))
    rig.until(lambda: rig.audit().uncertain_spent == 1, "nothing more is tried")
    victim.kill()
    rig.set_clock(timedelta(days=3))
    rig.worker()
    rig.reader("eve", "beta")
    rig.tell("beta")
    rig.settle(doubtful=1)


@pytest.mark.faults
def test_row_4_a_worker_killed_among_many_mails_leaves_no_more_in_doubt_than_it_had_connections(rig: Rig) -> None:
    for number in range(40):
        rig.reader(f"reader{number}", "alpha")
    rig.smtp.delays["."] = 2.0
    rig.tell("alpha")
    victim = rig.worker()
    rig.until(lambda: rig.smtp.read >= 2, "mails are out and none is answered")
    victim.kill()
    in_hand = rig.states().count("sending")
    assert 2 <= in_hand <= CONNECTIONS
    rig.smtp.delays.clear()
    rig.worker()
    rig.scheduler()
    rig.set_clock(timedelta(minutes=15))
    rig.until(lambda: rig.states().count("uncertain") == in_hand, "the leases of those ran out")
    rig.set_clock(timedelta(minutes=31))
    assert len(rig.settle(doubtful=in_hand)) <= 40 + in_hand


def test_row_10_a_worker_that_wakes_up_after_its_claim_ran_out_sends_nothing(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.smtp.delays["RCPT"] = 2.0
    rig.tell("alpha")
    sleeper = rig.worker()
    rig.until(lambda: rig.smtp.tries("RCPT"), "the recipient is named")
    sleeper.send(signal.SIGSTOP)
    rig.smtp.delays.clear()
    rig.scheduler()
    rig.worker()
    rig.set_clock(timedelta(minutes=3))
    rig.settle()
    sleeper.send(signal.SIGCONT)
    rig.until(lambda: sleeper.said("left to another worker"), "it sees that it is late")
    rig.settle()


@pytest.mark.faults
def test_row_10_a_worker_that_wakes_up_after_its_mail_was_sent_again_leaves_it_at_two(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    rig.smtp.delays["."] = 2.0
    rig.tell("alpha")
    sleeper = rig.worker()
    rig.until(lambda: rig.smtp.read, "the mail is out")
    sleeper.send(signal.SIGSTOP)
    rig.smtp.delays.clear()
    rig.scheduler()
    rig.worker()
    rig.set_clock(timedelta(minutes=15))
    rig.until(lambda: rig.states() == ["uncertain"], "its lease ran out")
    rig.set_clock(timedelta(minutes=31))
    rig.settle(doubtful=1)
    sleeper.send(signal.SIGCONT)
    rig.until(lambda: sleeper.said("left to another worker"), "it sees that it is late")
    assert len(rig.settle(doubtful=1)) == 2
    assert rig.states() == ["sent"]


def test_row_13_one_message_fifty_times_over_eight_workers_is_one_copy(rig: Rig) -> None:
    for number in range(5):
        rig.reader(f"reader{number}", "alpha", to=["email", f"#room{number}"])
    rig.announce("alpha", 3)
    rig.match()
    rig.ring("notify", 50)
    rig.ring("deliver", 50)
    rig.worker(concurrency=8)
    rig.scheduler()  # It calls again when a workspace's gate opens, which fifty messages may all be too early for.
    rig.until(lambda: len(rig.messages()) >= 10, "all have theirs")
    with rig.servers.broker() as broker:
        rig.until(lambda: broker.llen("deliver") == 0, "every message is used up")
    assert len(rig.settle()) == 10
