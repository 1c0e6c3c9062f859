"""Composes what claimed deliveries say, from a few reads for all of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from services.domain.delivery.schedule import local_date
from services.domain.delivery.selection import ChannelPaper
from services.domain.delivery.state_machine import DeliveryKind
from services.domain.digests.digest import Digest, compose, confirmation, notice, source_line, test_message
from services.domain.digests.trial import Trial, trial_digest
from services.domain.sources.names import describe
from services.flow.pipeline.deliver.claim import ClaimedDelivery
from services.settings import Settings
from services.store.delivery import deliveries, items
from services.store.delivery.records import Delivery
from services.store.digests import content
from services.store.papers import papers
from services.store.sources import batches


class ComposedDelivery(NamedTuple):
    claimed: ClaimedDelivery
    digest: Digest
    about: Delivery | None
    """The sent message that the delivery belongs to, if it is a thread or an update."""


def compose_all(
    tx: Connection, settings: Settings, claimed: Sequence[ClaimedDelivery], now: datetime
) -> list[ComposedDelivery]:
    about = deliveries.find_all(tx, {claim.delivery.about for claim in claimed if claim.delivery.about is not None})
    digests = {claim.id: _without_papers(settings, claim.delivery) for claim in claimed}
    digests |= {claim.id: _trial(tx, settings, claim) for claim in claimed if claim.delivery.trial}
    of_papers = [(claim, about.get(claim.delivery.about or 0)) for claim in claimed if digests[claim.id] is None]
    digests |= _with_papers(tx, settings, of_papers, now)
    composed = ((claim, digests[claim.id], about.get(claim.delivery.about or 0)) for claim in claimed)
    return [ComposedDelivery(claim, digest, message) for claim, digest, message in composed if digest is not None]


def _without_papers(settings: Settings, delivery: Delivery) -> Digest | None:
    match delivery.kind:
        case DeliveryKind.CONFIRM:
            return confirmation()
        case DeliveryKind.TEST:
            return test_message(settings.base_url)
        case DeliveryKind.NOTICE:
            return notice(delivery.subject, settings.base_url, delivery.notes)
    return None


def _trial(tx: Connection, settings: Settings, claimed: ClaimedDelivery) -> Digest:
    trial = Trial.from_json(claimed.delivery.trial or {})
    day = local_date(claimed.delivery.created_at, claimed.channel.timezone)
    return trial_digest(trial, papers.load(tx, trial.papers), day, settings.base_url)


def _with_papers(
    tx: Connection, settings: Settings, claimed: Sequence[tuple[ClaimedDelivery, Delivery | None]], now: datetime
) -> dict[int, Digest]:
    """Digests by delivery id. A thread or an update has the papers of the message that it is about.

    Unsent items that are not wanted any more are dropped.
    """
    if not claimed:
        return {}
    messages = {claim.id: about or claim.delivery for claim, about in claimed}
    by_message = items.of_deliveries(tx, {message.id for message in messages.values()})
    wanted = [
        ChannelPaper(item.account_id, item.channel_id, item.paper_id) for of in by_message.values() for item in of
    ]
    selection = content.load_selection(tx, wanted, now)
    unsent = [item for claim, about in claimed if about is None for item in by_message[claim.id]]
    reasons = {item.id: selection.drop_reason(item.channel_id, item.paper_id) for item in unsent}
    unwanted = {item_id: reason for item_id, reason in reasons.items() if reason}
    items.drop(tx, unwanted)
    paper_ids = {
        id: [item.paper_id for item in by_message[message.id] if item.id not in unwanted]
        for id, message in messages.items()
    }
    sources = _source_lines(tx, paper_ids)
    digests = {}
    for claim, _ in claimed:
        message = messages[claim.id]
        digest = compose(
            message.kind,
            selection.with_reasons(claim.channel.id, paper_ids[claim.id]),
            message.local_date or local_date(message.created_at, claim.channel.timezone),
            settings.base_url,
            sources[claim.id],
            more_url=f"{settings.base_url}/deliveries/{message.id}",
        )
        digests[claim.id] = replace(digest, kind=claim.delivery.kind)
    return digests


def _source_lines(tx: Connection, paper_ids: Mapping[int, Sequence[int]]) -> dict[int, list[str]]:
    """By delivery id, a line about each source of its papers. Imports and sources that are URLs are left out."""
    return {
        key: [
            source_line(describe(batch.kind, batch.location), batch.announced or batch.fetched, batch.papers)
            for batch in of_papers
            if "://" not in batch.location
        ]
        for key, of_papers in batches.of_papers(tx, paper_ids).items()
    }
