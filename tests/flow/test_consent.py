"""Unsubscribing: effective before the next byte, whole, and never undone by what was under way."""

import re
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from services.flow import deliver, subscribe, trace
from services.store import audit, consent, deliveries, notices
from services.store.tables import channel, delivery, delivery_item
from services.store.vault import Vault
from tests.sinks import SmtpSink

from .conftest import Configure, World, entry

AGENTS = "One paper about agent planning"
ROBOTS = "Another paper about robot planning"


@pytest.fixture
def smtp(configure: Configure) -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        configure(smtp_url=sink.url)
        yield sink


def waiting(world: World) -> None:
    """A delivery that waits to be sent."""
    world.subscribe("Mine", query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    assert deliver.gather(world.db, world.settings)


def unsubscribe(world: World) -> None:
    with world.db.transaction() as tx:
        consent.unsubscribe(tx, world.email)


def said(smtp: SmtpSink, verb: str) -> bool:
    return any(line.upper().startswith(verb) for line in smtp.commands)


def clean(world: World) -> bool:
    with world.db.transaction() as tx:
        return audit.audit(tx, world.now() + timedelta(days=3)).clean


def test_a_mail_says_how_to_unsubscribe_in_its_head_and_in_both_its_parts(world: World, smtp: SmtpSink) -> None:
    waiting(world)
    world.deliver()
    raw = smtp.mails[0].body.decode()
    (url,) = re.findall(r"\r\nList-Unsubscribe: <([^>]+)>\r\n", raw)
    assert re.fullmatch(rf"{world.settings.base_url}/unsubscribe/{world.email}-[0-9a-f]{{40}}", url)
    parts = raw.replace("=\r\n", "").split("Content-Type: text/html")
    assert [part.count(url) for part in parts] == [2, 1]  # the head counts with the text


def test_unsubscribing_cancels_what_waits_and_drops_what_comes(world: World, smtp: SmtpSink) -> None:
    waiting(world)
    unsubscribe(world)
    unsubscribe(world)
    world.run(entry(ROBOTS, 2))
    assert [row["state"] for row in world.deliveries()] == ["cancelled"]
    assert [row["dropped_because"] for row in world.items()] == ["unsubscribed"] * 2
    assert smtp.mails == []
    assert clean(world)
    steps = trace.trace(world.db, world.embedder, str(world.paper(ROBOTS)), 1)
    assert any("unsubscribed" in said for _, said in steps)


def test_subscribing_again_brings_what_comes_and_not_what_was_dropped(world: World, smtp: SmtpSink) -> None:
    waiting(world)
    unsubscribe(world)
    with world.db.transaction() as tx:
        consent.subscribe_again(tx, world.email)
    world.run(entry(ROBOTS, 2))
    (mail,) = smtp.mails
    assert b"robot planning" in mail.body
    assert b"agent planning" not in mail.body


def test_one_who_unsubscribes_between_claim_and_data_gets_nothing(world: World, smtp: SmtpSink) -> None:
    waiting(world)
    smtp.delays["RCPT"] = 2.0
    sending = threading.Thread(target=world.deliver)
    sending.start()
    deadline = time.monotonic() + 10
    while not said(smtp, "RCPT") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert world.deliveries()[0]["state"] == "claimed"
    unsubscribe(world)
    sending.join(20)
    assert said(smtp, "RCPT")
    assert not said(smtp, "DATA")
    assert [row["state"] for row in world.deliveries()] == ["cancelled"]
    assert world.items()[0]["dropped_because"] == "unsubscribed"


@pytest.mark.parametrize(("reply", "state"), [("451 4.3.0 later", "cancelled"), ("CLOSE", "uncertain")])
def test_a_send_under_way_when_its_reader_unsubscribes_is_not_tried_again(
    world: World, smtp: SmtpSink, reply: str, state: str
) -> None:
    waiting(world)
    smtp.always(".", reply)
    with world.db.transaction() as tx:
        claimed = deliveries.claim(tx, world.now(), timedelta(minutes=3))
    assert claimed is not None
    row, where = claimed
    vault = Vault(world.settings.secret_key.get_secret_value())
    body = deliver._render(world.db, world.settings, vault, row, where)
    assert body is not None
    deliver._commit(world.db, world.settings, row, where)()
    unsubscribe(world)
    plugin, target = deliver.plugins.notifier("email"), deliver.channels.target_of(where, vault)
    deliver._record(world.db, world.settings, row, where, plugin.send(body, target, lambda: None))
    found = world.deliveries()[0]
    assert (found["state"], found["next_attempt_at"]) == (state, None)
    assert clean(world)


def test_a_worker_lost_while_sending_to_one_who_unsubscribed_is_not_replaced(world: World) -> None:
    waiting(world)
    with world.db.transaction() as tx:
        assert deliveries.claim(tx, world.now(), timedelta(minutes=3))
        tx.execute(update(delivery).values(state="sending"))
    unsubscribe(world)
    world.expire_leases()
    assert deliver.expire(world.db, world.settings)
    found = world.deliveries()[0]
    assert (found["state"], found["next_attempt_at"]) == ("uncertain", None)
    assert clean(world)


def test_other_channels_of_the_subscription_go_on(world: World, smtp: SmtpSink) -> None:
    other = subscribe.add_channel(world.db, world.settings, world.account, "email:ada@work.example", verified=True)
    world.subscribe("Both", query="planning", to=[world.email, other])
    unsubscribe(world)
    world.run(entry(AGENTS, 1))
    assert [mail.recipient for mail in smtp.mails] == ["ada@work.example"]


def test_a_notice_goes_to_an_address_that_still_takes_mail(world: World) -> None:
    unsubscribe(world)
    with world.db.transaction() as tx:
        assert not notices.tell(tx, world.account, "k", "text", "localhost")
        assert tx.execute(select(delivery_item)).all() == []
        assert tx.scalars(select(channel.c.unsubscribed_at)).one() is not None
