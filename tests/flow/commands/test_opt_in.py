"""Opt-in: before it only the request is sent, and after unsubscribing nothing, not even a claimed delivery."""

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from pydantic import BaseModel
from sqlalchemy import select, update

from services import plugins
from services.errors import Busy, NotFound
from services.flow import consent
from services.flow.commands import channels as channel_commands
from services.flow.commands import explain
from services.flow.commands import opt_in as opt_in_commands
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.upkeep import recovery
from services.store.accounts import accounts
from services.store.db.secrets import SecretBox
from services.store.db.tables import channel, confirmation, delivery, delivery_item
from services.store.delivery import channels, operator_notices, opt_in
from services.store.maintenance import audit
from tests.flow.conftest import Configure
from tests.support.service import until
from tests.support.sinks import SmtpSink
from tests.support.world import Pipeline, entry

AGENTS = "One paper about agent planning"
ROBOTS = "Another paper about robot planning"


@pytest.fixture
def smtp(configure: Configure) -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        configure(smtp_url=sink.url)
        yield sink


def waiting(world: Pipeline) -> None:
    """A delivery that waits to be sent."""
    world.subscribe("Mine", query="planning")
    world.announce(entry(AGENTS, 1))
    world.embed_and_match()
    world.notify()
    assert gather_due(world.db, world.settings)


def unsubscribe(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        opt_in.unsubscribe(tx, channels.find(tx, world.email))


def received_verb(smtp: SmtpSink, verb: str) -> bool:
    return any(line.upper().startswith(verb) for line in smtp.commands)


def clean(world: Pipeline) -> bool:
    with world.db.transaction() as tx:
        return audit.audit(tx, world.now() + timedelta(days=3)).clean


def test_a_mail_has_the_unsubscribe_link_in_its_headers_and_in_both_parts(world: Pipeline, smtp: SmtpSink) -> None:
    waiting(world)
    world.deliver()
    raw = smtp.mails[0].body.decode()
    (url,) = re.findall(r"\r\nList-Unsubscribe: <([^>]+)>\r\n", raw)
    assert re.fullmatch(rf"{world.settings.base_url}/unsubscribe/{world.email}-[0-9a-f]{{40}}", url)
    parts = raw.replace("=\r\n", "").split("Content-Type: text/html")
    assert [part.count(url) for part in parts] == [2, 1]  # the head counts with the text


def test_unsubscribing_cancels_waiting_deliveries_and_drops_new_items(world: Pipeline, smtp: SmtpSink) -> None:
    waiting(world)
    unsubscribe(world)
    unsubscribe(world)
    world.run(entry(ROBOTS, 2))
    assert [row["state"] for row in world.deliveries()] == ["cancelled"]
    assert [row["dropped_because"] for row in world.items()] == ["unsubscribed"] * 2
    assert smtp.mails == []
    assert clean(world)
    steps = explain.explain(world.db, world.embedder, str(world.paper(ROBOTS)), 1)
    assert any("unsubscribed" in received_verb for _, received_verb in steps)


def test_subscribing_again_sends_new_papers_and_none_that_were_dropped(world: Pipeline, smtp: SmtpSink) -> None:
    waiting(world)
    unsubscribe(world)
    with world.db.transaction() as tx:
        opt_in.subscribe_again(tx, world.email)
    world.run(entry(ROBOTS, 2))
    (mail,) = smtp.mails
    assert b"robot planning" in mail.body
    assert b"agent planning" not in mail.body


def test_unsubscribing_between_the_claim_and_data_stops_the_mail(world: Pipeline, smtp: SmtpSink) -> None:
    waiting(world)
    smtp.delays["RCPT"] = 2.0
    sending = threading.Thread(target=world.deliver)
    sending.start()
    until(lambda: received_verb(smtp, "RCPT"), "the recipient is named", 10)
    assert world.deliveries()[0]["state"] == "claimed"
    unsubscribe(world)
    sending.join(20)
    assert received_verb(smtp, "RCPT")
    assert not received_verb(smtp, "DATA")
    assert [row["state"] for row in world.deliveries()] == ["cancelled"]
    assert world.items()[0]["dropped_because"] == "unsubscribed"


@pytest.mark.parametrize(("reply", "state"), [("451 4.3.0 later", "cancelled"), ("CLOSE", "uncertain")])
def test_a_send_during_which_the_reader_unsubscribes_is_not_retried(
    world: Pipeline, smtp: SmtpSink, reply: str, state: str
) -> None:
    waiting(world)
    smtp.always(".", reply)
    claimed = world.claim()
    body = world.render(claimed)
    claimed = world.commit(claimed)
    unsubscribe(world)
    assert isinstance(claimed.target, BaseModel)
    world.record(claimed, plugins.notifier("email").send(body, claimed.target, lambda: None))
    found = world.deliveries()[0]
    assert (found["state"], found["next_attempt_at"]) == (state, None)
    assert clean(world)


def test_a_delivery_whose_worker_is_lost_is_not_resent_after_unsubscribing(world: Pipeline) -> None:
    waiting(world)
    world.claim()
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state="sending"))
    unsubscribe(world)
    world.expire_leases()
    assert recovery.end_expired_lease(world.db, world.settings)
    found = world.deliveries()[0]
    assert (found["state"], found["next_attempt_at"]) == ("uncertain", None)
    assert clean(world)


def test_other_channels_of_the_subscription_still_get_papers(world: Pipeline, smtp: SmtpSink) -> None:
    other = channel_commands.find_or_add(
        world.db, world.settings, world.account, "email:ada@work.example", verified=True
    )
    world.subscribe("Both", query="planning", to=[world.email, other])
    unsubscribe(world)
    world.run(entry(AGENTS, 1))
    assert [mail.recipient for mail in smtp.mails] == ["ada@work.example"]


def test_a_notice_is_not_sent_to_an_unsubscribed_address(world: Pipeline) -> None:
    unsubscribe(world)
    with world.db.transaction() as tx:
        assert not operator_notices.send(tx, world.account, "k", "text", "localhost")
        assert tx.execute(select(delivery_item)).all() == []
        assert tx.scalars(select(channel.c.unsubscribed_at)).one() is not None


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────


def request_lab(world: Pipeline) -> int:
    one = channel_commands.find_or_add(world.db, world.settings, world.account, "email:lab@example.org")
    assert opt_in_commands.request_opt_in(world.db, world.settings, one)
    return one


def test_an_unconfirmed_address_gets_only_the_opt_in_request(world: Pipeline, smtp: SmtpSink) -> None:
    lab = request_lab(world)
    world.subscribe("Secret <b>name</b>", query="planning", to=[lab])
    world.run(entry(AGENTS, 1))
    (mail,) = smtp.mails
    assert mail.recipient == "lab@example.org"
    for word in ("Secret", "agent", "ada@example.org"):
        assert word.encode() not in mail.body
    assert [row["kind"] for row in world.deliveries()] == ["confirm"]
    assert clean(world)


def test_papers_that_waited_for_the_confirmation_are_sent_after_it(world: Pipeline, smtp: SmtpSink) -> None:
    lab = request_lab(world)
    world.subscribe(query="planning", to=[lab])
    world.run(entry(AGENTS, 1))
    text = smtp.mails[0].body.replace(b"=\r\n", b"").replace(b"=3D", b"=").decode()
    token = re.findall(r"/confirm/([0-9a-f-]+)", text)[0]
    opt_in_commands.confirm(world.db, SecretBox(world.settings.secret_keys), token)
    world.deliver()
    assert b"agent planning" in smtp.mails[1].body


def test_a_delivery_made_before_an_address_change_waits_for_the_confirmation(world: Pipeline, smtp: SmtpSink) -> None:
    waiting(world)
    with world.db.transaction() as tx:
        opt_in.require_confirmation(tx, world.email)
    world.deliver()
    assert smtp.mails == []
    with world.db.transaction() as tx:
        opt_in.confirm(tx, world.email)
    world.deliver()
    assert len(smtp.mails) == 1


def test_an_opt_in_request_in_doubt_is_not_repeated(world: Pipeline, smtp: SmtpSink) -> None:
    smtp.always(".", "CLOSE")
    request_lab(world)
    world.deliver()
    for _ in range(2):
        world.make_due(delivery, created_at=timedelta(hours=1))
        world.deliver()
    assert [(row["state"], row["next_attempt_at"]) for row in world.deliveries()] == [("uncertain", None)]
    assert len(smtp.mails) == 1


def test_an_operator_can_confirm_an_address(world: Pipeline, smtp: SmtpSink) -> None:
    lab = request_lab(world)
    with world.db.transaction() as tx:
        opt_in.suppress(tx, "lab@example.org", "refused", refused=True)
    opt_in_commands.confirm_by_operator(world.db, SecretBox(world.settings.secret_keys), lab)
    world.subscribe(query="planning", to=[lab])
    world.run(entry(AGENTS, 1))
    assert any(b"agent planning" in mail.body for mail in smtp.mails)


@pytest.mark.parametrize("refused", [True, False])
def test_only_an_operator_lifts_a_suppression_that_the_owner_asked_for(world: Pipeline, refused: bool) -> None:
    with world.db.transaction() as tx:
        opt_in.suppress(tx, "A@example.org", "why", refused=refused)
        opt_in.suppress(tx, "a@example.org", "bounced")
        opt_in.lift_suppression(tx, "a@EXAMPLE.org")
        assert bool(opt_in.suppression_reason(tx, "a@example.org")) is refused
        opt_in.lift_suppression(tx, "a@example.org", refused=True)
        assert opt_in.suppression_reason(tx, "a@example.org") == ""


def test_one_ip_may_make_ten_opt_in_requests_an_hour(world: Pipeline) -> None:
    sent = []
    for number in range(12):
        one = channel_commands.find_or_add(world.db, world.settings, world.account, f"email:p{number}@example.org")
        sent.append(opt_in_commands.request_opt_in(world.db, world.settings, one, ip="203.0.113.9"))
    assert sent == [True] * 10 + [False] * 2
    assert opt_in_commands.request_opt_in(world.db, world.settings, one, ip="203.0.113.10")


def test_an_account_has_mails_sent_to_twenty_strangers_a_day(world: Pipeline) -> None:
    def ask(number: int) -> bool:
        one = channel_commands.find_or_add(world.db, world.settings, world.account, f"email:p{number}@example.org")
        return opt_in_commands.request_opt_in(world.db, world.settings, one)

    assert all(ask(number) for number in range(world.settings.confirmations_per_day))
    with pytest.raises(Busy, match="at most 20 strangers a day"):
        ask(21)
    with world.db.transaction() as tx:
        tx.execute(update(confirmation).values(created_at=confirmation.c.created_at - timedelta(hours=25)))
    assert ask(21)


def test_all_accounts_together_ask_a_limited_number_of_strangers_a_day(world: Pipeline, configure: Configure) -> None:
    configure(confirmations_per_day_in_all="2")
    sent = []
    for name in ("ben", "eve", "joe"):
        with world.db.transaction() as tx:
            account_id = accounts.add(tx, f"{name}@example.org", "UTC")
        one = channel_commands.find_or_add(world.db, world.settings, account_id, f"email:{name}@home.example")
        with suppress(Busy):
            sent.append(opt_in_commands.request_opt_in(world.db, world.settings, one))
    assert sent == [True, True]
    with world.db.transaction() as tx:
        assert not consent.may_mail_stranger(tx, "zoe@example.org", "", None, world.now())


def test_a_link_that_confirmed_before_the_owner_unsubscribed_confirms_nothing(world: Pipeline, smtp: SmtpSink) -> None:
    lab = request_lab(world)
    world.deliver()
    text = smtp.mails[0].body.replace(b"=\r\n", b"").replace(b"=3D", b"=").decode()
    confirming = re.findall(r"/confirm/([0-9a-f-]+)", text)[0]
    opt_in_commands.confirm(world.db, world.secrets, confirming)
    with world.db.transaction() as tx:
        opt_in.unsubscribe(tx, channels.find(tx, lab))
    assert not opt_in_commands.subscribe_again(world.db, world.settings, lab)  # The address got a request just now.
    with pytest.raises(NotFound, match="used before"):
        opt_in_commands.confirm(world.db, world.secrets, confirming)
    with world.db.transaction() as tx:
        tx.execute(update(confirmation).values(created_at=confirmation.c.created_at - timedelta(hours=2)))
    assert opt_in_commands.request_opt_in(world.db, world.settings, lab)
    with pytest.raises(NotFound, match="used before"):
        opt_in_commands.confirm(world.db, world.secrets, confirming)
