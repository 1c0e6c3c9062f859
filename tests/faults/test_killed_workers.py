"""Rows 1 to 4, 10 and 13: workers that are killed, are stopped, or compete for the same work."""

import signal
from datetime import timedelta

import pytest

from services import plugins
from services.flow.commands.add_source import add_source
from tests.faults.harness import FaultHarness
from tests.support.sinks import Answer

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

CONNECTIONS = 4
"""The default number of connections that a worker opens to a mail server."""
FEED = """<?xml version="1.0"?><rss version="2.0"><channel><title>Papers</title><link>http://127.0.0.1/</link>
<item><title>P00001 about alpha and its many planning agents</title><link>http://127.0.0.1/1</link><guid>1</guid></item>
</channel></rss>"""


@pytest.mark.faults
def test_row_1_a_paper_is_matched_after_its_worker_died_with_the_paper_stored(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    harness.slack.always("/feed", Answer(body=FEED, headers={"Content-Type": "application/rss+xml"}))
    with harness.db.transaction() as tx:
        feed = plugins.source("feed")
        add_source(tx, feed, feed.location(f"{harness.slack.url}/feed"), None, announce_first=True)
    victim = harness.worker("poll", FAULT="ingested")
    harness.scheduler()
    harness.until(victim.sigkilled, "the worker is killed after storing the papers")
    victim.kill()
    assert harness.query("SELECT count(*) FROM paper")[0][0] == 1
    harness.expect("alpha", ["P00001"])
    harness.worker("embed,match")
    harness.worker("poll,deliver")
    harness.settle(30)


@pytest.mark.faults
def test_row_2_a_delivery_is_sent_after_its_worker_died_before_sending(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    harness.announce_and_notify("alpha", 2)
    victim = harness.worker(FAULT="gathered")
    harness.until(victim.sigkilled, "the worker is killed after creating the delivery")
    victim.kill()
    assert harness.query("SELECT count(*) FROM delivery")[0][0] == 1
    with harness.servers.broker() as broker:
        broker.flushall()
    harness.worker()
    harness.scheduler()
    harness.settle()


@pytest.mark.parametrize("point", ["claimed", "accepted"])
def test_row_3_a_worker_that_dies_before_the_mail_causes_no_copy(harness: FaultHarness, point: str) -> None:
    harness.subscribe("ada", "alpha")
    harness.announce_and_notify("alpha", 2)
    victim = harness.worker(FAULT=point)
    harness.until(victim.sigkilled, "the worker is killed")
    victim.kill()
    assert harness.states() == ["claimed"]
    harness.worker()
    harness.scheduler()
    harness.set_clock(timedelta(minutes=3))
    harness.settle()
    assert harness.smtp.tries("RCPT")


def test_row_4_a_worker_that_dies_before_recording_the_answer_causes_one_copy_at_most(
    harness: FaultHarness,
) -> None:
    harness.subscribe("ada", "alpha")
    harness.announce_and_notify("alpha", 2)
    victim = harness.worker(FAULT="answered")
    harness.scheduler()
    harness.until(lambda: len(harness.messages()) == 1, "the first message has arrived")
    harness.set_clock(timedelta(hours=1))
    harness.until(lambda: harness.states() == ["uncertain"], "its lease has expired")
    harness.set_clock(timedelta(hours=2))
    harness.until(lambda: len(harness.messages()) == 2, "the copy has arrived")
    harness.set_clock(timedelta(hours=3))
    harness.until(lambda: harness.audit().uncertain_spent == 1, "no further attempt is due")
    victim.kill()
    harness.set_clock(timedelta(days=3))
    harness.worker()
    harness.subscribe("eve", "beta")
    harness.announce_and_notify("beta")
    harness.settle(resent=1)


@pytest.mark.faults
def test_row_4_a_killed_worker_leaves_at_most_one_uncertain_mail_per_connection(
    harness: FaultHarness,
) -> None:
    for number in range(40):
        harness.subscribe(f"reader{number}", "alpha")
    harness.smtp.delays["."] = 2.0
    harness.announce_and_notify("alpha")
    victim = harness.worker()
    harness.until(lambda: harness.smtp.read >= 2, "mails were sent and none is answered")
    victim.kill()
    in_flight = harness.states().count("sending")
    assert 2 <= in_flight <= CONNECTIONS
    harness.smtp.delays.clear()
    harness.worker()
    harness.scheduler()
    harness.set_clock(timedelta(minutes=15))
    harness.until(lambda: harness.states().count("uncertain") == in_flight, "their leases have expired")
    harness.set_clock(timedelta(minutes=31))
    assert len(harness.settle(resent=in_flight)) <= 40 + in_flight


def test_row_10_a_worker_that_resumes_after_its_claim_expired_sends_nothing(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    harness.smtp.delays["RCPT"] = 2.0
    harness.announce_and_notify("alpha")
    stopped = harness.worker()
    harness.until(lambda: harness.smtp.tries("RCPT"), "the recipient was sent")
    stopped.send(signal.SIGSTOP)
    harness.smtp.delays.clear()
    harness.scheduler()
    harness.worker()
    harness.set_clock(timedelta(minutes=3))
    harness.settle()
    stopped.send(signal.SIGCONT)
    harness.until(lambda: stopped.logged("another worker has the delivery"), "it notices that its lease has expired")
    harness.settle()


@pytest.mark.faults
def test_row_10_a_worker_that_resumes_after_its_mail_was_sent_again_sends_no_third(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    harness.smtp.delays["."] = 2.0
    harness.announce_and_notify("alpha")
    stopped = harness.worker()
    harness.until(lambda: harness.smtp.read, "the mail was sent")
    stopped.send(signal.SIGSTOP)
    harness.smtp.delays.clear()
    harness.scheduler()
    harness.worker()
    harness.set_clock(timedelta(minutes=15))
    harness.until(lambda: harness.states() == ["uncertain"], "its lease has expired")
    harness.set_clock(timedelta(minutes=31))
    harness.settle(resent=1)
    stopped.send(signal.SIGCONT)
    harness.until(lambda: stopped.logged("another worker has the delivery"), "it notices that its lease has expired")
    assert len(harness.settle(resent=1)) == 2
    assert harness.states() == ["sent"]


def test_row_13_fifty_equal_tasks_for_eight_workers_send_one_message(harness: FaultHarness) -> None:
    for number in range(5):
        harness.subscribe(f"reader{number}", "alpha", to=["email", f"#room{number}"])
    harness.announce("alpha", 3)
    harness.match()
    harness.send_tasks("notify", 50)
    harness.send_tasks("deliver", 50)
    harness.worker(concurrency=8)
    harness.scheduler()  # It sends a task when the rate limit of a workspace allows, which may be after all fifty.
    harness.until(lambda: len(harness.messages()) >= 10, "every subscriber has a message")
    with harness.servers.broker() as broker:
        harness.until(lambda: broker.llen("deliver") == 0, "the queue is empty")
    assert len(harness.settle()) == 10
