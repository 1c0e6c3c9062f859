"""Renders claimed deliveries, and stores the bytes before they are sent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from pydantic import BaseModel
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from services.domain.delivery import state_machine
from services.domain.delivery.state_machine import DeliveryKind
from services.domain.digests.digest import Digest
from services.domain.digests.updates import snapshot
from services.errors import LeaseLost
from services.flow import opt_in_links, vote_links
from services.flow.pipeline.deliver.claim import ClaimedDelivery
from services.flow.pipeline.deliver.compose import ComposedDelivery, compose_all
from services.ports import Envelope
from services.settings import Settings
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import claims, message_updates
from services.store.delivery.records import Delivery
from services.store.papers import merging
from services.telemetry import STAGE_ERRORS, log

_NOTHING_TO_SAY = "nothing left to say"
_UPDATABLE_KINDS = (DeliveryKind.MESSAGE, DeliveryKind.DIGEST, DeliveryKind.UPDATE)


class RenderedMessage(NamedTuple):
    """A delivery that can be sent."""

    claimed: ClaimedDelivery
    target: BaseModel
    body: bytes
    reconciles: bool = False
    """An earlier send had an unknown outcome, and the receiver can be asked whether the message arrived."""
    last_receipt: str = ""
    """The receipt of the last message on the channel, for reconciliation."""


def render_claimed(
    db: Database, settings: Settings, secrets: SecretBox, claimed: Sequence[ClaimedDelivery]
) -> list[RenderedMessage]:
    """Renders deliveries. Cancels those without content, and leaves out those that cannot be rendered."""
    try:
        return _render(db, settings, secrets, claimed) if claimed else []
    except OperationalError:
        raise
    except Exception as error:
        if len(claimed) > 1:  # One delivery failed. The others must not wait until their leases end.
            return [message for claim in claimed for message in render_claimed(db, settings, secrets, [claim])]
        if isinstance(error, LeaseLost):
            log.info("another worker has the delivery", why=str(error))
        else:
            STAGE_ERRORS.labels("deliver").inc()
            log.exception("delivery cannot be rendered", delivery=claimed[0].id)
        return []


def _render(
    db: Database, settings: Settings, secrets: SecretBox, claimed: Sequence[ClaimedDelivery]
) -> list[RenderedMessage]:
    """The bytes of a delivery that may have been sent are final. All others are rendered from the present rows."""
    with db.transaction() as tx:
        merging.lock_against_merges(tx)
        now = db.now(tx)
        composed = compose_all(tx, settings, [claim for claim in claimed if not claim.delivery.bytes_final], now)
        empty = [message.claimed.delivery for message in composed if not message.digest.has_content]
        claims.finish_all(tx, [state_machine.cancel(delivery, _NOTHING_TO_SAY) for delivery in empty], now)
        rendered = [_with_body(settings, secrets, message) for message in composed if message.digest.has_content]
        claims.store_rendered(tx, [claim.delivery for claim in rendered])
        current = {claim.id: claim for claim in claimed if claim.delivery.bytes_final} | {
            claim.id: claim for claim in rendered
        }
        return [_message(tx, current[claim.id]) for claim in claimed if claim.id in current]


def _with_body(settings: Settings, secrets: SecretBox, composed: ComposedDelivery) -> ClaimedDelivery:
    claimed, digest, about = composed
    delivery, channel = claimed.delivery, claimed.channel
    unsubscribe_token = opt_in_links.unsubscribe_token(secrets, channel.id, channel.label)
    confirm_url = ""
    if delivery.kind is DeliveryKind.CONFIRM:
        token = opt_in_links.confirm_token(secrets, channel.id, channel.label, delivery.created_at)
        confirm_url = f"{settings.base_url}/confirm/{token}"
    envelope = Envelope(
        delivery_id=delivery.id,
        message_id=delivery.message_id,
        date=delivery.created_at,
        about=about.receipt if about else "",
        unsubscribe_url=f"{settings.base_url}/unsubscribe/{unsubscribe_token}",
        confirm_url=confirm_url,
        paper_urls={item.paper.id: f"{settings.base_url}/papers/{item.paper.id}" for item in digest.papers},
        vote_urls=_vote_urls(settings, secrets, digest, delivery),
    )
    assert isinstance(claimed.target, BaseModel)
    body = claimed.notifier.render(digest, envelope, claimed.target)
    can_be_updated = "update" in claimed.follow_ups and delivery.kind in _UPDATABLE_KINDS
    shown = snapshot({item.paper.id: item.paper for item in digest.papers}) if can_be_updated else delivery.snapshot
    return claimed._replace(delivery=replace(delivery, rendered=body, subject=digest.title, snapshot=shown))


def _vote_urls(settings: Settings, secrets: SecretBox, digest: Digest, delivery: Delivery) -> dict[int, str]:
    """For each paper, the vote for the first of its reasons, under which the digest shows it."""
    first = {item.paper.id: item.reasons[0].subscription for item in digest.papers if item.reasons}
    return {
        paper_id: f"{settings.base_url}/vote/{vote_links.token(secrets, subscription, paper_id, delivery.created_at)}"
        for paper_id, subscription in first.items()
        if subscription
    }


def _message(tx: Connection, claimed: ClaimedDelivery) -> RenderedMessage:
    assert isinstance(claimed.target, BaseModel)
    assert claimed.delivery.rendered is not None
    reconciles = claimed.delivery.bytes_final and claimed.policy.can_reconcile
    receipt = message_updates.last_receipt(tx, claimed.channel.id) if reconciles else ""
    return RenderedMessage(claimed, claimed.target, claimed.delivery.rendered, reconciles, receipt)
