"""Deliver: what is due on a channel becomes one delivery, and each delivery goes out under a lease."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel
from sqlalchemy import Connection

from services import plugins
from services.domain import cadence
from services.domain import delivery as domain
from services.domain.digest import Digest, compose, notice, test_message
from services.errors import ConfigError, LeaseLost
from services.ports import Envelope, Held, Missing, Outcome, Pace, Refused, Retry, Unknown
from services.settings import Settings
from services.store import channels, consent, deliveries, digests, followed, merging, notices, pace, slots, trending
from services.store.database import Database, Row
from services.store.vault import Vault
from services.telemetry import fault_point, log

# ── gathering ─────────────────────────────────────────────────────────────────────────────────────────────────


def gather(db: Database, settings: Settings) -> bool:
    """Makes the deliveries of one channel that has something due; False when none has."""
    now = db.now()
    with db.transaction() as tx:
        merging.hold_off(tx)
        channel = deliveries.lock_due_channel(tx, now)
        if channel is None:
            return False
        items = digests.living_items(tx, channel, deliveries.due_items(tx, channel["id"], now), now)
        host = urlsplit(settings.base_url).hostname or "localhost"
        at_once = [item["id"] for item in items if item["cadence"] == "immediate"]
        if at_once:
            key = f"message:{channel['id']}:{at_once[0]}"
            deliveries.create(tx, channel, "message", key, host, at_once, next_attempt_at=now)
        later = [item["id"] for item in items if item["cadence"] != "immediate"]
        _decide_slot(tx, channel, later, now, host, settings.time_scale)
    fault_point("gathered")
    return True


def _decide_slot(tx: Connection, channel: Row, items: list[int], now: datetime, host: str, scale: float) -> None:
    """One digest a channel and local date, decided once, an empty one too; what comes later waits for the next."""
    rhythm, told, planned = slots.rhythm_of(channel), channel["told_on"], channel["slot_at"]
    come = planned <= now if planned is not None else bool(items)
    slot = cadence.missed_slot(rhythm, now, told) if come else None
    if slot is None:
        following = planned if planned is not None and planned > now else cadence.digest_slot(rhythm, now, told)
        slots.plan(tx, channel, following)
        deliveries.postpone(tx, items, following)
    elif planned is not None and cadence.is_late(planned, now, scale) and slots.news_is_coming(tx, planned):
        soon = now + cadence.CATCH_UP * scale
        slots.plan(tx, channel, soon)
        deliveries.postpone(tx, items, soon)
    else:
        day = cadence.local_date(slot, rhythm.timezone)
        following = cadence.digest_slot(rhythm, now, day)
        items = list(dict.fromkeys([*items, *trending.take(tx, channel, rhythm, day, now)]))
        key = slots.key_of(channel["id"], day)
        if items and deliveries.create(tx, channel, "digest", key, host, items, next_attempt_at=now) is None:
            deliveries.postpone(tx, items, following)
        slots.decided(tx, channel["id"], day, following)


# ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────


def send(db: Database, settings: Settings, vault: Vault) -> bool:
    """Sends the delivery that is due longest; False when nothing can be sent now."""
    try:
        claimed = _claim(db, settings, vault)
        if isinstance(claimed, _Claimed):
            _send(db, settings, vault, claimed)
    except LeaseLost as lost:
        log.info("delivery left to another worker", why=str(lost))
        return True
    return bool(claimed)


def next_turn(db: Database, within: timedelta) -> timedelta | None:
    """How long until a delivery may go that only waits for its hour or its gates; None when none does soon."""
    now = db.now()
    with db.transaction() as tx:
        turn = deliveries.next_turn(tx, now, within)
    return turn - now if turn else None


class _Claimed(NamedTuple):
    row: Row
    channel: Row
    target: BaseModel
    pace: Pace


def _claim(db: Database, settings: Settings, vault: Vault) -> _Claimed | bool:
    """A delivery and its turn at the gates; False when nothing can be sent now, True when it was another's."""
    with db.transaction() as tx:
        now = db.now(tx)
        claimed = deliveries.claim(tx, now, domain.CLAIM_LEASE * settings.time_scale)
        if claimed is None:
            return False
        row, channel = claimed
        try:
            target = channels.target_of(channel, vault)
        except ConfigError as error:
            _settle(tx, settings, row, channel, Refused(str(error), scope="channel"), now)
            return True
        paced = plugins.notifier(channel["kind"]).pace(target, row["kind"])
        pace.take(tx, row["gate"], paced.own, now)
        pace.take(tx, channel["transport"], paced.shared, now, pace.CATCH_UP)
    fault_point("claimed")
    return _Claimed(row, channel, target, paced)


def _send(db: Database, settings: Settings, vault: Vault, claimed: _Claimed) -> None:
    row, channel, target, paced = claimed
    body = _render(db, settings, vault, row, channel)
    if body is None:
        return
    outcome = _look(db, claimed, body) if row["frozen"] else None
    if outcome is None:
        commit = _commit(db, settings, row, channel, paced)
        outcome = plugins.notifier(channel["kind"]).send(body, target, commit)
        fault_point("answered")
    _record(db, settings, row, channel, outcome)


def _look(db: Database, claimed: _Claimed, body: bytes) -> Outcome | None:
    """What became of a message in doubt, where its receiver can be asked; None: it is to be sent once more."""
    row, channel, target, _ = claimed
    policy = deliveries.policy_of(channel, row["kind"])
    if not policy.looks:
        return None
    with db.transaction() as tx:
        receipt = followed.last_receipt(tx, channel["id"])
    found = plugins.notifier(channel["kind"]).find(body, target, receipt, row["committed_at"] or row["created_at"])
    if isinstance(found, Missing) or (isinstance(found, Unknown) and not policy.never_twice):
        return None
    return found


def _render(db: Database, settings: Settings, vault: Vault, row: Row, channel: Row) -> bytes | None:
    """The bytes to send: as they were when a send was in doubt, else made anew; None when nothing is left to say."""
    if row["frozen"]:
        return bytes(row["rendered"])
    with db.transaction() as tx:
        merging.hold_off(tx)
        digest = _digest(tx, settings, row, channel, db.now(tx))
        if not _says_something(digest):
            cancelled = domain.cancel(deliveries.state_of(row), "nothing left to say")
            deliveries.finish(tx, row, cancelled, db.now())
            return None
        about = followed.receipt_of(tx, row["about"]) if row["about"] else ""
        envelope = _envelope(settings, vault, row, channel, about)
        body = plugins.notifier(channel["kind"]).render(digest, envelope, channels.target_of(channel, vault))
        values = {"rendered": body, "subject": digest.title, **followed.shows(row, channel, digest)}
        deliveries.update_claimed(tx, row, deliveries.state_of(row), **values)
    return body


def _says_something(digest: Digest) -> bool:
    if digest.kind == "thread":
        return any(one.paper.abstract for one in digest.papers)
    return digest.kind in (consent.ASKING, "test", "notice") or bool(digest.papers)


def _envelope(settings: Settings, vault: Vault, row: Row, channel: Row, about: str) -> Envelope:
    return Envelope(
        delivery_id=row["id"],
        message_id=row["message_id"],
        date=row["created_at"],
        about=about,
        unsubscribe_url=f"{settings.base_url}/unsubscribe/{consent.unsubscribe_token(vault, channel)}",
        confirm_url=f"{settings.base_url}/confirm/{consent.confirm_token(vault, channel, row['created_at'])}"
        if row["kind"] == consent.ASKING
        else "",
    )


def _digest(tx: Connection, settings: Settings, row: Row, channel: Row, now: datetime) -> Digest:
    if row["kind"] == consent.ASKING:
        return Digest(kind=row["kind"], title="Do you want mails from paperwire?", papers=())
    if row["kind"] == "test":
        return test_message(settings.base_url)
    if row["kind"] == "notice":
        return notice(row["subject"], settings.base_url, row["notes"])
    if row["about"]:
        first = deliveries.find(tx, row["about"])
        ids = deliveries.paper_ids(tx, first["id"])
        return replace(_composed(tx, settings, first, channel, ids, now), kind=row["kind"])
    items = digests.living_items(tx, channel, deliveries.items_of(tx, row["id"]), now)
    return _composed(tx, settings, row, channel, [item["paper_id"] for item in items], now)


def _composed(tx: Connection, settings: Settings, row: Row, channel: Row, ids: Sequence[int], now: datetime) -> Digest:
    day = slots.day_of(row) or cadence.local_date(row["created_at"], channel["timezone"])
    page = f"{settings.base_url}/deliveries/{row['id']}"
    found, read = digests.found(tx, channel, ids, now), digests.read_for(tx, ids)
    return compose(row["kind"], found, day, settings.base_url, read, more_url=page)


def _commit(db: Database, settings: Settings, row: Row, channel: Row, paced: Pace = Pace()) -> Callable[[], None]:
    """What the notifier calls before the first byte that cannot be taken back; raises LeaseLost to stop it."""

    def commit() -> None:
        fault_point("accepted")
        lease = plugins.notifier(channel["kind"]).lease * settings.time_scale
        with db.transaction() as tx:
            now = db.now(tx)
            sending = domain.commit(deliveries.state_of(row))
            deliveries.update_claimed(tx, row, sending, lease_until=now + lease, committed_at=now)
            if paced.own:  # Counts from here: rendering may have taken longer than the pause.
                pace.close(tx, row["gate"], now + paced.own)
        row.update(state=sending.state.value, ambiguous_resends=sending.ambiguous_resends)
        fault_point("sending")

    return commit


def _record(db: Database, settings: Settings, row: Row, channel: Row, outcome: Outcome) -> None:
    with db.transaction() as tx:
        after = _settle(tx, settings, row, channel, outcome, db.now(tx))
    log.info("delivery " + after.state.value, delivery=row["id"], channel=channel["id"], why=after.error or None)


def _settle(
    tx: Connection, settings: Settings, row: Row, channel: Row, outcome: Outcome, now: datetime
) -> domain.Delivery:
    """Writes down what became of a delivery, and what that means for its channel and transport."""
    policy = deliveries.policy_of(channel, row["kind"])
    after = domain.record(deliveries.state_of(row), outcome, now, settings.time_scale, policy)
    deliveries.finish(tx, row, after, now)
    host = urlsplit(settings.base_url).hostname or "localhost"
    if isinstance(outcome, Held):
        newly = channels.hold(tx, channel["transport"], outcome.reason, now, settings.time_scale)
        if newly and outcome.person:
            notices.tell_operator(tx, channel, outcome.reason, now, host)
    elif isinstance(outcome, Refused) and outcome.scope == "channel":
        channels.disable(tx, channel["id"], outcome.reason)
        text = f"{channel['kind']} {channel['label']} was disabled: {outcome.reason}"
        notices.tell(tx, channel["account_id"], f"channel:{channel['id']}:{row['id']}:{row['attempt']}", text, host)
    elif isinstance(outcome, Retry) and outcome.after is not None and after.next_attempt_at:
        pace.close(tx, row["gate"], after.next_attempt_at)  # What waits behind it keeps to that as well.
    elif after.state is domain.State.DEAD and policy.retries:
        text = f"A message to {channel['kind']} {channel['label']} was given up: {after.error}"
        notices.tell(tx, channel["account_id"], f"dead:{channel['id']}:{now:%Y-%m-%d}", text, host)
    elif after.state is domain.State.SENT:
        followed.note_sent(tx, row, channel, now, settings.time_scale, host)
    channels.drop_if_over(tx, channel["id"])
    return after
