"""Rendering: the bytes of claimed deliveries, what they say read for all of them at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from services import plugins
from services.domain.delivery import schedule
from services.domain.delivery import state_machine as domain
from services.domain.digests.digest import Digest, compose, notice, test_message
from services.errors import LeaseLost
from services.flow.pipeline.deliver.claim import ClaimedDelivery
from services.ports import Envelope
from services.settings import Settings
from services.store.db.database import Database, Row
from services.store.db.secrets import SecretBox
from services.store.delivery import claims, deliveries, digest_schedule, message_updates, opt_in
from services.store.digests import content
from services.store.papers import merging
from services.telemetry import STAGE_ERRORS, log


class RenderedMessage(NamedTuple):
    """A delivery that may be sent. `asks`: its receiver is asked first whether it arrived, by an earlier `receipt`."""

    claimed: ClaimedDelivery
    target: BaseModel
    body: bytes
    asks: bool = False
    receipt: str = ""


def render_claimed(
    db: Database, settings: Settings, secrets: SecretBox, claimed: Sequence[ClaimedDelivery]
) -> list[RenderedMessage]:
    """Those with something left to say; the others are cancelled."""
    try:
        return _render(db, settings, secrets, claimed) if claimed else []
    except OperationalError:
        raise
    except Exception as error:
        if len(claimed) > 1:  # One is to blame, and the others shall not wait for their leases to end.
            return [ready for one in claimed for ready in render_claimed(db, settings, secrets, [one])]
        if isinstance(error, LeaseLost):
            log.info("delivery left to another worker", why=str(error))
        else:
            STAGE_ERRORS.labels("deliver").inc()
            log.exception("delivery cannot be rendered", delivery=claimed[0].row["id"])
        return []


def _render(
    db: Database, settings: Settings, secrets: SecretBox, claimed: Sequence[ClaimedDelivery]
) -> list[RenderedMessage]:
    fresh = [one for one in claimed if not one.row["bytes_final"]]
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        now = db.now(tx)
        said = {id: digest for id, digest in _digests(tx, settings, fresh, now).items() if _says_something(digest)}
        over = [(one.row, deliveries.state_of(one.row)) for one in fresh if one.row["id"] not in said]
        cancelled = [(row, domain.cancel(state, "nothing left to say")) for row, state in over]
        claims.finish_all(tx, cancelled, now)
        bodies = {}
        for one in (one for one in fresh if one.row["id"] in said):
            bodies[one.row["id"]] = _written(tx, settings, secrets, one, said[one.row["id"]])
        claims.render_all(tx, [(one.row, bodies[one.row["id"]]) for one in fresh if one.row["id"] in said])
        return [
            _ready(tx, one, bodies.get(one.row["id"], one.row)["rendered"])
            for one in claimed
            if one.row["id"] in bodies or one.row["bytes_final"]
        ]


def _ready(tx: Connection, one: ClaimedDelivery, body: bytes) -> RenderedMessage:
    assert isinstance(one.target, BaseModel)
    asks = bool(one.row["bytes_final"]) and deliveries.policy_of(one.channel, one.row["kind"]).can_reconcile
    receipt = message_updates.last_receipt(tx, one.channel["id"]) if asks else ""
    return RenderedMessage(one, one.target, bytes(body), asks, receipt)


def _written(tx: Connection, settings: Settings, secrets: SecretBox, one: ClaimedDelivery, digest: Digest) -> Row:
    """The columns of a rendered delivery."""
    about = message_updates.receipt_of(tx, one.row["about"]) if one.row["about"] else ""
    envelope = _envelope(settings, secrets, one.row, one.channel, about)
    assert isinstance(one.target, BaseModel)
    body = plugins.notifier(one.channel["kind"]).render(digest, envelope, one.target)
    return {"rendered": body, "subject": digest.title, **message_updates.snapshot_columns(one.row, one.channel, digest)}


def _says_something(digest: Digest) -> bool:
    if digest.kind == "thread":
        return any(one.paper.abstract for one in digest.papers)
    return digest.kind in (opt_in.ASKING, "test", "notice") or bool(digest.papers)


def _envelope(settings: Settings, secrets: SecretBox, row: Row, channel: Row, about: str) -> Envelope:
    return Envelope(
        delivery_id=row["id"],
        message_id=row["message_id"],
        date=row["created_at"],
        about=about,
        unsubscribe_url=f"{settings.base_url}/unsubscribe/{opt_in.unsubscribe_token(secrets, channel)}",
        confirm_url=f"{settings.base_url}/confirm/{opt_in.confirm_token(secrets, channel, row['created_at'])}"
        if row["kind"] == opt_in.ASKING
        else "",
    )


# ── what they say ─────────────────────────────────────────────────────────────────────────────────────────────


def _digests(
    tx: Connection, settings: Settings, claimed: Sequence[ClaimedDelivery], now: datetime
) -> dict[int, Digest]:
    """By delivery."""
    plain = {one.row["id"]: _without_papers(settings, one.row) for one in claimed}
    return {id: digest for id, digest in plain.items() if digest} | _of_papers(
        tx, settings, [one for one in claimed if plain[one.row["id"]] is None], now
    )


def _without_papers(settings: Settings, row: Row) -> Digest | None:
    if row["kind"] == opt_in.ASKING:
        return Digest(kind=row["kind"], title="Do you want mails from paperwire?", papers=())
    if row["kind"] == "test":
        return test_message(settings.base_url)
    if row["kind"] == "notice":
        return notice(row["subject"], settings.base_url, row["notes"])
    return None


def _of_papers(
    tx: Connection, settings: Settings, claimed: Sequence[ClaimedDelivery], now: datetime
) -> dict[int, Digest]:
    if not claimed:
        return {}
    items = deliveries.items_of_all(tx, {one.row["about"] or one.row["id"] for one in claimed})
    mine = {one.row["id"]: items[one.row["about"] or one.row["id"]] for one in claimed}
    asked = [(one.channel, item["paper_id"]) for one in claimed for item in mine[one.row["id"]]]
    heard = content.announcements_for(tx, asked, now)
    told = {item["id"] for item in content.living_items(tx, heard, _own_items(claimed, mine))}
    ids = {
        one.row["id"]: [item["paper_id"] for item in mine[one.row["id"]] if one.row["about"] or item["id"] in told]
        for one in claimed
    }
    read = content.read_for(tx, ids)
    return {
        one.row["id"]: _composed(tx, settings, one, heard, ids[one.row["id"]], read[one.row["id"]]) for one in claimed
    }


def _own_items(claimed: Sequence[ClaimedDelivery], mine: Mapping[int, Sequence[Row]]) -> list[Row]:
    """Not those of a message that was sent, and that this one is about."""
    return [item for one in claimed if not one.row["about"] for item in mine[one.row["id"]]]


def _composed(
    tx: Connection,
    settings: Settings,
    one: ClaimedDelivery,
    heard: content.Announcements,
    ids: Sequence[int],
    read: Sequence[str],
) -> Digest:
    """A message about another one says the same as that."""
    first = deliveries.find(tx, one.row["about"]) if one.row["about"] else one.row
    day = digest_schedule.local_day(first) or schedule.local_date(first["created_at"], one.channel["timezone"])
    page = f"{settings.base_url}/deliveries/{first['id']}"
    found = content.found(heard, one.channel["id"], ids)
    composed = compose(first["kind"], found, day, settings.base_url, read, more_url=page)
    return replace(composed, kind=one.row["kind"])
