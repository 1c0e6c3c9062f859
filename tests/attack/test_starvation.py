"""One account sends as much as it can, to receivers that refuse or are silent; another account's alert is not delayed.

What is measured is the place of the alert among all messages, since a loaded machine makes every time longer.
"""

import json
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import select, update

from services.flow.commands import channels as channel_commands
from services.flow.commands import opt_in
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.pipeline.deliver.send import CLAIM_BATCH_SIZE, MAX_IN_FLIGHT
from services.store.accounts import accounts
from services.store.db.tables import account, channel, delivery, transport
from services.store.delivery import deliveries
from tests.support.service import until
from tests.support.sinks import Answer, Asked, HttpSink, SmtpSink
from tests.support.world import Pipeline, entry, new_test

POST = "/chat.postMessage"
AHEAD = MAX_IN_FLIGHT + CLAIM_BATCH_SIZE
"""Messages that may be sent before an alert: those in flight when it is due, and those that are rendered already."""
ROUNDS = 4


@pytest.fixture
def ben(world: Pipeline) -> int:
    """The account that attacks. Ada's is an operator's, who would hear of a transport that is down."""
    with world.db.transaction() as tx:
        tx.execute(update(account).values(operator=True))
        return accounts.add(tx, "ben@example.org", "UTC")


def add(world: Pipeline, account_id: int, word: str) -> int:
    """A channel whose receiver has agreed, and has accepted a message."""
    added = channel_commands.find_or_add(world.db, world.settings, account_id, word, verified=True)
    with world.db.transaction() as tx:
        tx.execute(update(channel).where(channel.c.id == added).values(accepted_at=world.now()))
    return added


def flood(world: Pipeline, account_id: int, channel_ids: list[int], each: int = 1, first: int = 0) -> None:
    """Test messages in any number, as if the account had no limit."""
    with world.db.transaction() as tx:
        for number in range(first, first + each):
            for channel_id in channel_ids:
                deliveries.create(tx, new_test(account_id, channel_id, number), "localhost")


def alert(world: Pipeline, number: int = 1) -> None:
    """An alert for Ada is due, after everything that waits already."""
    world.announce(entry(f"Paper {number} about agent planning", number))
    world.embed_and_match()
    world.notify()
    while gather_due(world.db, world.settings):
        pass


def to_ada(smtp: SmtpSink) -> list[int]:
    """The places of Ada's mails among all mails."""
    return [place for place, mail in enumerate(smtp.mails) if mail.recipient == "ada@example.org"]


def test_many_test_mails_of_one_account_do_not_delay_the_alert_of_another(
    world: Pipeline, smtp: SmtpSink, ben: int
) -> None:
    world.subscribe(query="planning")
    flood(world, ben, [add(world, ben, f"email:r{number}@example.org") for number in range(90)], each=3)
    alert(world)
    world.deliver()
    assert len(smtp.mails) == 271
    assert to_ada(smtp)[0] < AHEAD


def test_as_many_confirmations_as_an_account_may_ask_for_do_not_delay_an_alert(
    world: Pipeline, smtp: SmtpSink, ben: int
) -> None:
    world.subscribe(query="planning")
    for number in range(world.settings.confirmations_per_day):
        word = f"email:stranger{number}@example.org"
        stranger = channel_commands.find_or_add(world.db, world.settings, ben, word)
        assert opt_in.request_opt_in(world.db, world.settings, stranger, ben)
    alert(world)
    world.deliver()
    assert len(smtp.mails) == world.settings.confirmations_per_day + 1
    assert to_ada(smtp)[0] < AHEAD


@pytest.mark.parametrize("error", ["no_permission", "access_denied", "missing_scope"])
def test_conversations_that_refuse_the_bot_hold_slack_for_nobody_else(
    world: Pipeline, slack: HttpSink, ben: int, error: str
) -> None:
    def refuse_ben(asked: Asked) -> Answer | None:
        is_closed = asked.path == POST and json.loads(asked.body)["channel"].startswith("#closed")
        return Answer(body=json.dumps({"ok": False, "error": error})) if is_closed else None

    slack.judge = refuse_ben
    slack.always("/auth.test", Answer(body='{"ok": true}'))
    world.subscribe(query="planning", to=[add(world, world.account, "slack:#papers")])
    closed = [add(world, ben, f"slack:#closed{number}") for number in range(6)]
    for number in range(1, ROUNDS + 1):
        with world.db.transaction() as tx:  # Ben enables the channels that Slack refused.
            tx.execute(update(channel).values(disabled_because=""))
        flood(world, ben, closed, first=number)
        alert(world, number)
        until(partial(_is_posted, world, slack, number), "the alert is posted", 30)
        with world.db.transaction() as tx:
            assert tx.scalars(select(transport.c.key).where(transport.c.down_because != "")).all() == []
    posts = [json.loads(asked.body)["channel"] for asked in slack.to(POST)]
    assert len([name for name in posts if name.startswith("#closed")]) <= ROUNDS * len(closed), "one attempt each"
    notices = [row for row in world.deliveries() if row["kind"] == "notice" and row["account_id"] == world.account]
    assert notices == []


def _is_posted(world: Pipeline, slack: HttpSink, number: int) -> bool:
    """Whether so many alerts of Ada are posted, once the rate limits of Slack are over."""
    world.make_due(delivery, next_attempt_at=timedelta(seconds=1))
    world.deliver()
    return sum(b"agent planning" in asked.body and b"#papers" in asked.body for asked in slack.to(POST)) >= number
