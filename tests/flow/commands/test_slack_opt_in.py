"""A Slack conversation gets one message, with a link to agree, before anything else."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update

from services.errors import NotFound
from services.flow.commands import channels as channel_commands
from services.flow.commands import opt_in
from services.store.accounts import accounts
from services.store.db.tables import account, confirmation, delivery
from tests.flow.conftest import Configure
from tests.support.service import until
from tests.support.sinks import Answer, HttpSink
from tests.support.world import Pipeline, entry

POSTED = Answer(body=json.dumps({"ok": True, "channel": "C0123ABCD", "ts": "1.2"}))


@pytest.fixture
def slack(configure: Configure) -> Iterator[HttpSink]:
    with HttpSink() as sink:
        sink.always("/api/chat.postMessage", POSTED)
        configure(slack_api_url=f"{sink.url}/api/", slack_bot_token="xoxb-of-the-operator")
        yield sink


def add(world: Pipeline, word: str, **options: bool) -> int:
    """A channel of Ada, who is no operator, and the request to agree."""
    channel_id = channel_commands.find_or_add(world.db, world.settings, world.account, word, **options)
    opt_in.request_opt_in(world.db, world.settings, channel_id, world.account)
    return channel_id


def posts(slack: HttpSink) -> list[str]:
    return [asked.body.decode() for asked in slack.to("/api/chat.postMessage")]


def deliver_until(world: Pipeline, condition: Callable[[], bool]) -> None:
    """A conversation gets one message a second."""

    def is_met() -> bool:
        world.deliver()
        return condition()

    until(is_met, "the message is posted", 20)


def link(text: str) -> str:
    return re.findall(r"/confirm/([0-9a-f-]+)", text)[0]


@pytest.mark.parametrize("word", ["slack:#papers", "slack:C0123ABCD", "slack:U0123ABCD", "slack:D0123ABCD"])
def test_nothing_but_the_request_is_posted_before_somebody_there_agrees(
    world: Pipeline, slack: HttpSink, word: str
) -> None:
    channel_id = add(world, word)
    world.subscribe("Secret name", query="planning", to=[channel_id])
    world.run(entry("About agent planning", 1))
    (request,) = posts(slack)
    assert "Secret" not in request
    assert "agent planning" not in request
    assert "ada@example.org" not in request
    opt_in.confirm(world.db, world.secrets, link(request))
    deliver_until(world, lambda: any("agent planning" in post for post in posts(slack)[1:]))


def test_a_conversation_is_asked_once_an_hour_by_all_accounts_together(world: Pipeline, slack: HttpSink) -> None:
    with world.db.transaction() as tx:
        ben = accounts.add(tx, "ben@example.org", "UTC")
    hers = add(world, "slack:#papers")
    his = channel_commands.find_or_add(world.db, world.settings, ben, "slack:#papers")
    assert not opt_in.request_opt_in(world.db, world.settings, his, ben)
    assert not opt_in.request_opt_in(world.db, world.settings, hers, world.account)
    world.deliver()
    assert len(posts(slack)) == 1


def test_a_conversation_that_refuses_is_not_asked_again(world: Pipeline, slack: HttpSink) -> None:
    channel_id = add(world, "slack:#papers")
    world.deliver()
    refuse = re.findall(r"/unsubscribe/([0-9a-f-]+)", posts(slack)[0])[0]
    opt_in.unsubscribe(world.db, world.secrets, refuse)
    with world.db.transaction() as tx:
        tx.execute(update(confirmation).values(created_at=confirmation.c.created_at - timedelta(days=2)))
    opt_in.subscribe_again(world.db, world.settings, channel_id, world.account)
    assert not opt_in.request_opt_in(world.db, world.settings, channel_id, world.account)


def test_a_conversation_that_refuses_is_not_asked_again_by_its_id(world: Pipeline, slack: HttpSink) -> None:
    add(world, "slack:#papers")
    world.deliver()
    refuse = re.findall(r"/unsubscribe/([0-9a-f-]+)", posts(slack)[0])[0]
    opt_in.unsubscribe(world.db, world.secrets, refuse)
    by_id = channel_commands.find_or_add(world.db, world.settings, world.account, "slack:C0123ABCD")
    assert not opt_in.request_opt_in(world.db, world.settings, by_id, world.account)


def test_a_conversation_that_unsubscribed_is_asked_before_it_gets_anything_again(
    world: Pipeline, slack: HttpSink
) -> None:
    channel_id = add(world, "slack:#papers")
    world.deliver()
    agreed = link(posts(slack)[0])
    opt_in.confirm(world.db, world.secrets, agreed)
    opt_in.unsubscribe(world.db, world.secrets, re.findall(r"/unsubscribe/([0-9a-f-]+)", posts(slack)[0])[0])
    assert not opt_in.subscribe_again(world.db, world.settings, channel_id, world.account)
    with pytest.raises(NotFound, match="used before"):
        opt_in.confirm(world.db, world.secrets, agreed)
    world.subscribe(query="planning", to=[channel_id])
    world.run(entry("About agent planning", 1))
    assert len(posts(slack)) == 1


@pytest.mark.parametrize("word", ["slack-webhook:https://hooks.slack.com/services/T/B/x"])
def test_an_address_that_was_given_to_the_account_needs_no_request(world: Pipeline, slack: HttpSink, word: str) -> None:
    add(world, word)
    assert world.deliveries() == []


def test_an_operator_adds_a_conversation_without_a_request(world: Pipeline, slack: HttpSink) -> None:
    add(world, "slack:#one", by_operator=True)
    with world.db.transaction() as tx:
        tx.execute(update(account).values(operator=True))
    add(world, "slack:#two")
    assert world.deliveries() == []


@pytest.mark.parametrize("person", ["slack:U0123ABCD", "slack:W0123ABCD", "slack:D0123ABCD"])
def test_a_person_is_asked_whoever_adds_the_channel(world: Pipeline, slack: HttpSink, person: str) -> None:
    with world.db.transaction() as tx:
        tx.execute(update(account).values(operator=True))
    add(world, person, by_operator=True)
    assert [row["kind"] for row in world.deliveries()] == ["confirm"]


def test_only_the_newest_request_confirms(world: Pipeline, slack: HttpSink) -> None:
    channel_id = add(world, "slack:#papers")
    world.deliver()
    with world.db.transaction() as tx:
        for table in (confirmation, delivery):
            tx.execute(update(table).values(created_at=table.c.created_at - timedelta(hours=2)))
    old = link(posts(slack)[0])
    assert opt_in.request_opt_in(world.db, world.settings, channel_id, world.account)
    deliver_until(world, lambda: len(posts(slack)) == 2)
    with pytest.raises(NotFound, match="a newer message asked"):
        opt_in.confirm(world.db, world.secrets, old)
    assert opt_in.confirm(world.db, world.secrets, link(posts(slack)[1])).id == channel_id
