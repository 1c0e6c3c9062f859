"""Records deliveries: the commit before a message is sent, and its outcome; several deliveries in one transaction."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pydantic import BaseModel
from sqlalchemy import Connection

from services.domain.delivery import state_machine
from services.domain.delivery.bounce import is_policy_refusal
from services.domain.delivery.state_machine import AT_MOST_ONCE_KINDS, DeliveryKind, State
from services.domain.digests.updates import UPDATE_DELAY
from services.flow import refused_mail
from services.flow.pipeline.deliver.claim import ClaimedDelivery, DeliveryOutcome
from services.ports import BounceReading, Rejected, Retry, Sent, TransportDown
from services.settings import Settings
from services.store.db import circuit_breaker, rate_limits
from services.store.db.database import Database
from services.store.db.rate_limits import Renewal
from services.store.delivery import channels, claims, deliveries, ended_channels, message_updates, operator_notices
from services.store.delivery.records import Delivery, NewDelivery
from services.telemetry import log


def write(
    db: Database, settings: Settings, going: Sequence[ClaimedDelivery], finished: Sequence[DeliveryOutcome] = ()
) -> list[ClaimedDelivery]:
    """Commits deliveries that are about to be sent, and records the outcomes of others. Returns the committed ones.

    Raises LeaseLost, and writes nothing, when another worker has claimed any of these deliveries.
    """
    with db.transaction() as tx:
        now = db.now(tx)
        committed = [_committed(claim, now, settings.time_scale) for claim in going]
        claims.commit_all(tx, [claim.delivery for claim in committed])
        # The pause starts again now, since rendering and connecting may have taken longer than the pause.
        renewals = {
            claim.delivery.rate_limit_key: Renewal(claim.rate_limited_until, now + claim.rate_limit.per_channel)
            for claim in committed
            if claim.rate_limited_until
        }
        rate_limits.renew_all(tx, renewals)
        afters = _record_outcomes(tx, settings, finished, now)
    for after in afters:
        log.info(f"delivery {after.state}", delivery=after.id, channel=after.channel_id, why=after.error or None)
    return committed


def release(db: Database, claimed: ClaimedDelivery) -> None:
    """Ends the claim of a delivery that was not sent."""
    with db.transaction() as tx:
        claims.finish_all(tx, [state_machine.release(claimed.delivery)], db.now(tx))
        if claimed.awaits_acceptance:
            rate_limits.release(tx, claimed.channel.transport)


def concerns_one_delivery(finished: DeliveryOutcome) -> bool:
    """Whether an outcome changes its delivery alone.

    Other outcomes lock rows that several deliveries share, so they are written one by one.
    """
    claimed = finished.claimed
    return isinstance(finished.outcome, Sent) and not (claimed.follow_ups or claimed.awaits_acceptance)


def _committed(claimed: ClaimedDelivery, now: datetime, scale: float) -> ClaimedDelivery:
    lease_until = now + claimed.notifier.lease * scale
    sending = replace(state_machine.commit(claimed.delivery), lease_until=lease_until, committed_at=now)
    return claimed._replace(delivery=sending)


def _record_outcomes(
    tx: Connection, settings: Settings, finished: Sequence[DeliveryOutcome], now: datetime
) -> list[Delivery]:
    """Stores the outcomes, and applies them to channels and transports."""
    finished = [_without_unconfirmed_outage(result) for result in finished]
    afters = [
        state_machine.record(claimed.delivery, outcome, now, settings.time_scale, claimed.policy)
        for claimed, outcome in finished
    ]
    claims.finish_all(tx, afters, now)
    for result, after in zip(finished, afters, strict=True):
        _follow_up(tx, settings, result, after, now)
    # On a channel that was removed or unsubscribed meanwhile, nothing more is sent.
    shared = {result.claimed.channel.id for result in finished if not concerns_one_delivery(result)}
    for channel_id in ended_channels.filter_ended(tx, shared):
        ended_channels.drop_if_ended(tx, channel_id)
    return afters


def _without_unconfirmed_outage(finished: DeliveryOutcome) -> DeliveryOutcome:
    """A delivery whose outage no probe confirmed is retried alone: it must not stop the transport for all again."""
    claimed, outcome = finished
    if isinstance(outcome, TransportDown) and claimed.delivery.outage_unconfirmed:
        return DeliveryOutcome(claimed, Retry(outcome.reason))
    return finished


def _follow_up(tx: Connection, settings: Settings, finished: DeliveryOutcome, after: Delivery, now: datetime) -> None:
    """What an outcome leads to besides the state of its delivery: disabled channels, notices, pauses, follow-ups."""
    claimed, outcome = finished
    channel, host = claimed.channel, _host(settings)
    if isinstance(outcome, TransportDown):
        _stop_transport(tx, settings, claimed, outcome, now)
    elif isinstance(outcome, Rejected) and outcome.scope == "channel":
        channels.disable(tx, channel.id, outcome.reason)
        text = f"{channel.kind} {channel.label} was disabled: {outcome.reason}"
        key = f"channel:{channel.id}:{after.id}:{claimed.delivery.attempt}"
        operator_notices.send(tx, channel.account_id, key, text, host)
    elif isinstance(outcome, Retry) and outcome.after is not None and after.next_attempt_at:
        # The receiver named a pause. It holds for all deliveries with this rate limit, but not for those of strangers.
        is_shared = claimed.rate_limit.shared_by_strangers
        key = channel.transport if is_shared else after.rate_limit_key
        rate_limits.postpone(tx, key, after.next_attempt_at)
    elif after.state is State.DEAD:
        _follow_up_dead(tx, claimed, after, now, host)
    elif after.state is State.SENT:
        _follow_up_sent(tx, settings, claimed, now)


def _follow_up_dead(tx: Connection, claimed: ClaimedDelivery, after: Delivery, now: datetime, host: str) -> None:
    """Tells the owner of a dead message on another channel, and an operator of one that a policy (5.7.x) refused."""
    channel, is_mail = claimed.channel, isinstance(claimed.notifier, BounceReading)
    stopped = is_mail and refused_mail.stop_if_refused_in_a_row(tx, channel.id, after.id, after.error, host)
    if after.kind in AT_MOST_ONCE_KINDS:  # A person asked for it and sees its state, or it is itself a notice.
        return
    if after.about is not None:  # A thread or an update: the message that it adds to has arrived.
        return
    if not stopped:
        refused_mail.tell_owner(tx, channel, after.error, now, host)
    if is_mail and is_policy_refusal(after.error):
        text = f"A mail server refuses mails by its policy: {after.error}"
        notes = ["Check SPF, DKIM, DMARC and block lists. The message was not delivered and is not sent again."]
        operator_notices.send(tx, None, f"policy:{now:%Y-%m-%d}", text, host, notes, failed_channel=channel.id)


def _stop_transport(
    tx: Connection, settings: Settings, claimed: ClaimedDelivery, outcome: TransportDown, now: datetime
) -> None:
    """Stops the transport, once. Deliveries that were being sent at the same time report the same failure."""
    channel = claimed.channel
    if circuit_breaker.is_open(tx, channel.transport):
        return
    is_new = circuit_breaker.open(
        tx, channel.transport, outcome.reason, now, settings.time_scale, opened_by=claimed.delivery.id
    )
    if is_new and outcome.person:
        text = f"Sending to {channel.kind} waits, nothing is lost: {outcome.reason}"
        operator_notices.send(tx, None, f"transport:{channel.transport}:{now:%s}", text, _host(settings))


def _follow_up_sent(tx: Connection, settings: Settings, claimed: ClaimedDelivery, now: datetime) -> None:
    """After a message was sent: the channel has its full rate, a thread is created, a check for changes scheduled."""
    sent = claimed.delivery
    if claimed.awaits_acceptance:
        assert isinstance(claimed.target, BaseModel)
        channels.accept(tx, claimed.channel.id, claimed.notifier.transport(claimed.target))
        rate_limits.release(tx, claimed.channel.transport)
    if claimed.transport_recovering:
        circuit_breaker.forget_failures(tx, claimed.channel.transport)
    if sent.kind is DeliveryKind.UPDATE and sent.about is not None:
        message_updates.store_snapshot(tx, sent.about, sent.snapshot)
    if sent.kind not in (DeliveryKind.MESSAGE, DeliveryKind.DIGEST):
        return
    if "thread" in claimed.follow_ups:
        thread = NewDelivery(
            account_id=sent.account_id,
            channel_id=sent.channel_id,
            kind=DeliveryKind.THREAD,
            idem_key=f"thread:{sent.id}",
            about=sent.id,
        )
        deliveries.create(tx, thread, _host(settings))
    if "update" in claimed.follow_ups:  # A paper may have changed while the message was being sent.
        message_updates.reschedule_check(tx, sent.id, now + UPDATE_DELAY * settings.time_scale)


def _host(settings: Settings) -> str:
    return settings.host
