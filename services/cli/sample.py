"""`paperwire up --sample`: the sample listing, two subscriptions for it, and a report."""

import time
from collections.abc import Callable
from datetime import date
from importlib import resources
from typing import TYPE_CHECKING

from services.domain.subscriptions.draft import Draft

if TYPE_CHECKING:
    from services.cli.context import CommandContext

ANNOUNCED = date(2025, 5, 30)
"""The day of the sample listing, whose own head lacks the year."""
ARCHIVE, ANNOUNCEMENT = "sample_archive.jsonl", "sample_announcement.txt"
SUBSCRIPTIONS = (
    Draft(name="Language model agents", query='"web agent*" OR ("language model*" AND tool*)', cadence="immediate"),
    Draft(
        name="Attacks on multimodal models",
        interest="Jailbreaks, backdoors and other attacks on vision-language models, and defences against them.",
        cadence="immediate",
    ),
)
STARTUP_TIMEOUT_SECONDS = 60.0
POLL_INTERVAL_SECONDS = 0.25


def load(context: "CommandContext") -> bool:
    """Fills an empty archive with the sample, for the first operator; False if it was not filled."""
    from services.flow.commands import channels, subscribe
    from services.flow.pipeline import ingest
    from services.store.accounts import accounts
    from services.store.papers import papers
    from services.store.subscriptions import subscriptions

    with context.db.transaction() as tx:
        operator = accounts.first_operator(tx)
        _, _, count = papers.span(tx)
        if count or operator is None:
            return False
        known = {subscription.name for subscription in subscriptions.list_all(tx, operator.id)}
    settings = context.settings_with_key()
    channel = channels.own_email_channel(context.db, settings, operator.id, operator.email)
    for draft in SUBSCRIPTIONS:
        if draft.name not in known:
            subscribe.save(context.db, context.embedder, operator.id, draft, [channel])
    # The announced listing has no identifiers and no author names. The archive, read silently before it, has both.
    for name, silent in ((ARCHIVE, True), (ANNOUNCEMENT, False)):
        ingest.import_listing(context.db, _body(name), day=ANNOUNCED, format=None, silent=silent)
    return True


def _body(name: str) -> bytes:
    return resources.files("services.local").joinpath(name).read_bytes()


def report(context: "CommandContext", say: Callable[[str], None], base_url: str) -> None:
    """Waits until the digest is sent or `STARTUP_TIMEOUT_SECONDS` have passed, then reports in three lines."""
    from services.domain.delivery.state_machine import State
    from services.flow.pipeline import ingest
    from services.store.accounts import accounts
    from services.store.delivery import deliveries
    from services.store.papers import appearances
    from services.store.sources import sources
    from services.store.subscriptions import matches

    kind = ingest.detect(_body(ANNOUNCEMENT))
    deadline = time.monotonic() + STARTUP_TIMEOUT_SECONDS
    while True:
        with context.db.transaction() as tx:
            operator = accounts.first_operator(tx)
            account_id = operator.id if operator else 0
            count = appearances.count(tx, sources.source_of_imports(tx, kind), ANNOUNCED)
            matched = matches.recent_paper_ids(tx, account_id, limit=1000)
            sent = deliveries.list_all(tx, account_id, State.SENT)
        if sent or time.monotonic() > deadline:
            break
        time.sleep(POLL_INTERVAL_SECONDS)
    say(f"papers:  {count} of the sample listing are in the archive")
    say(f"matches: {len(set(matched))} papers matched the {len(SUBSCRIPTIONS)} sample subscriptions")
    outbox = f"{base_url}/outbox"
    say(f"digest:  read it at {outbox}" if sent else f"digest:  not sent yet; it will be at {outbox}")
