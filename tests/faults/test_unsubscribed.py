"""Row 21: what people do while a worker has their message in hand."""

import pytest

from services.store.delivery import channels, opt_in
from services.store.subscriptions import subscriptions
from tests.faults.oracle import Told
from tests.faults.rig import Rig

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]


@pytest.mark.parametrize("how", ["removed", pytest.param("unsubscribed", marks=pytest.mark.faults)])
def test_row_21_a_channel_given_up_after_the_claim_gets_nothing_any_more(rig: Rig, how: str) -> None:
    ada = rig.reader("ada", "alpha")
    rig.reader("eve", "alpha")
    rig.smtp.delays["RCPT ada@example.org"] = 3.0
    (paper,) = rig.tell("alpha")
    rig.worker(concurrency=2)
    rig.scheduler()
    rig.until(lambda: any("<ada@" in command for command in rig.smtp.commands), "hers is claimed")
    channel = ada.channels["ada@example.org"]
    with rig.db.transaction() as tx:
        channels.remove(tx, channel) if how == "removed" else opt_in.unsubscribe(tx, channels.find(tx, channel))
    rig.expected.remove(Told("ada@example.org", paper))
    rig.settle()
    assert sorted(rig.states()) == ["cancelled", "sent"]


@pytest.mark.faults
def test_row_21_a_subscription_deleted_with_the_digest_made_takes_its_papers_along(rig: Rig) -> None:
    going = rig.reader("ada", "alpha")
    rig.reader("ada", "beta")
    stays = rig.announce("beta", 2)
    gone = rig.announce("alpha", 2)
    rig.match()
    rig.notify()
    victim = rig.worker(FAULT="gathered")
    rig.until(victim.lost, "the message is made")
    victim.kill()
    with rig.db.transaction() as tx:
        subscriptions.remove(tx, going.subscription, going.account)
    rig.expected -= {Told("ada@example.org", paper) for paper in gone}
    rig.worker()
    rig.scheduler()
    (message,) = rig.settle()
    assert message.papers == set(stays)
