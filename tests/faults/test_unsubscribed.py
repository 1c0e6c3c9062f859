"""Row 21: changes by people while a worker has claimed their message."""

import pytest

from services.store.delivery import channels, ended_channels, opt_in
from services.store.subscriptions import subscriptions
from tests.faults.harness import FaultHarness
from tests.faults.oracle import Alert

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


@pytest.mark.parametrize("how", ["removed", pytest.param("unsubscribed", marks=pytest.mark.faults)])
def test_row_21_a_channel_removed_after_the_claim_gets_nothing(harness: FaultHarness, how: str) -> None:
    ada = harness.subscribe("ada", "alpha")
    harness.subscribe("eve", "alpha")
    harness.smtp.delays["RCPT ada@example.org"] = 3.0
    (paper,) = harness.announce_and_notify("alpha")
    harness.worker(concurrency=2)
    harness.scheduler()
    harness.until(
        lambda: any("<ada@" in command for command in harness.smtp.commands), "the delivery to Ada is claimed"
    )
    channel = ada.channels["ada@example.org"]
    with harness.db.transaction() as tx:
        ended_channels.remove(tx, channel) if how == "removed" else opt_in.unsubscribe(tx, channels.find(tx, channel))
    harness.expected.remove(Alert("ada@example.org", paper))
    harness.settle()
    assert sorted(harness.states()) == ["cancelled", "sent"]


@pytest.mark.faults
def test_row_21_deleting_a_subscription_removes_its_papers_from_an_existing_delivery(harness: FaultHarness) -> None:
    deleted = harness.subscribe("ada", "alpha")
    harness.subscribe("ada", "beta")
    kept_papers = harness.announce("beta", 2)
    deleted_papers = harness.announce("alpha", 2)
    harness.match()
    harness.notify()
    victim = harness.worker(FAULT="gathered")
    harness.until(victim.sigkilled, "the worker is killed after creating the delivery")
    victim.kill()
    with harness.db.transaction() as tx:
        subscriptions.remove(tx, deleted.subscription, deleted.account)
    harness.expected -= {Alert("ada@example.org", paper) for paper in deleted_papers}
    harness.worker()
    harness.scheduler()
    (message,) = harness.settle()
    assert message.papers == set(kept_papers)
