"""Recording: the two commits of a delivery, before it goes out and when its answer has come, of several together."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from sqlalchemy import Connection

from services import plugins
from services.domain.delivery import state_machine as domain
from services.flow.pipeline.deliver.claim import ClaimedDelivery, DeliveryOutcome
from services.ports import Rejected, Retry, Sent, TransportDown
from services.settings import Settings
from services.store.db import rate_limits
from services.store.db.database import Database, Row
from services.store.delivery import channels, claims, deliveries, message_updates, operator_notices
from services.telemetry import log


def write(
    db: Database, settings: Settings, going: Sequence[ClaimedDelivery], answered: Sequence[DeliveryOutcome] = ()
) -> None:
    """Commits `sending` for those that are about to go out, and what became of others; all of it or nothing.

    Raises LeaseLost when one of them is not ours any more.
    """
    with db.transaction() as tx:
        now = db.now(tx)
        committed = {one.row["id"]: domain.commit(deliveries.state_of(one.row)) for one in going}
        leases = [now + plugins.notifier(one.channel["kind"]).lease * settings.time_scale for one in going]
        claims.commit_all(
            tx, [(one.row, committed[one.row["id"]], until) for one, until in zip(going, leases, strict=True)], now
        )
        # The pause counts from here: what comes before may have taken longer.
        rate_limits.restart_all(
            tx, {one.row["rate_limit_key"]: (one.turn, now + one.rate_limit.per_channel) for one in going if one.turn}
        )
        afters = _settle(tx, settings, answered, now)
    for one in going:
        after = committed[one.row["id"]]
        one.row.update(state=after.state.value, ambiguous_resends=after.ambiguous_resends)
    for row, channel, _ in answered:
        after = afters[row["id"]]
        log.info("delivery " + after.state.value, delivery=row["id"], channel=channel["id"], why=after.error or None)


def release(db: Database, rows: Sequence[Row]) -> None:
    """Ends the claim of deliveries that nothing was tried with."""
    with db.transaction() as tx:
        back = [(row, domain.release(deliveries.state_of(row))) for row in rows]
        claims.finish_all(tx, back, db.now(tx))


def is_plain(one: DeliveryOutcome) -> bool:
    """Whether it concerns its delivery alone; others lock rows that several may want, and are written one by one."""
    followed_up = plugins.follow_ups(one.channel["kind"], one.channel["target"])
    return isinstance(one.outcome, Sent) and not followed_up


def _settle(
    tx: Connection, settings: Settings, answered: Sequence[DeliveryOutcome], now: datetime
) -> dict[int, domain.Delivery]:
    """Writes down what became of deliveries, and what that means for their channels and transports."""
    afters = {}
    for row, channel, outcome in answered:
        policy = deliveries.policy_of(channel, row["kind"])
        afters[row["id"]] = domain.record(deliveries.state_of(row), outcome, now, settings.time_scale, policy)
    claims.finish_all(tx, [(one.row, afters[one.row["id"]]) for one in answered], now)
    for one in answered:
        _follow(tx, settings, one, afters[one.row["id"]], now)
    # What was sent is over anyhow, but for its thread.
    left = {one.channel["id"] for one in answered if not is_plain(one)}
    for channel_id in channels.over(tx, left):
        channels.drop_if_over(tx, channel_id)
    return afters


def _follow(tx: Connection, settings: Settings, one: DeliveryOutcome, after: domain.Delivery, now: datetime) -> None:
    row, channel, outcome = one
    host = urlsplit(settings.base_url).hostname or "localhost"
    if isinstance(outcome, TransportDown):
        _hold(tx, settings, channel, outcome, now, host)
    elif isinstance(outcome, Rejected) and outcome.scope == "channel":
        channels.disable(tx, channel["id"], outcome.reason)
        text = f"{channel['kind']} {channel['label']} was disabled: {outcome.reason}"
        operator_notices.tell(
            tx, channel["account_id"], f"channel:{channel['id']}:{row['id']}:{row['attempt']}", text, host
        )
    elif isinstance(outcome, Retry) and outcome.after is not None and after.next_attempt_at:
        rate_limits.restart(
            tx, row["rate_limit_key"], after.next_attempt_at
        )  # What waits behind it keeps to that as well.
    elif after.state is domain.State.DEAD and deliveries.policy_of(channel, row["kind"]).retries:
        text = f"A message to {channel['kind']} {channel['label']} was given up: {after.error}"
        operator_notices.tell(tx, channel["account_id"], f"dead:{channel['id']}:{now:%Y-%m-%d}", text, host)
    elif after.state is domain.State.SENT:
        message_updates.note_sent(tx, row, channel, now, settings.time_scale, host)


def _hold(tx: Connection, settings: Settings, channel: Row, outcome: TransportDown, now: datetime, host: str) -> None:
    """Once: the others that were on their way say only the same."""
    if channels.is_held(tx, channel["transport"]):
        return
    newly = channels.hold_transport(tx, channel["transport"], outcome.reason, now, settings.time_scale)
    if newly and outcome.person:
        operator_notices.tell_operator(tx, channel, outcome.reason, now, host)
