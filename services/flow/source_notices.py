"""Notices to the owner of a source that fails, whether its listing cannot be fetched or cannot be read."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from services.domain.http.ssrf import without_secrets
from services.settings import Settings
from services.store.delivery import operator_notices
from services.store.sources.records import Source

NOTIFY_AFTER = timedelta(hours=24)
"""The owner of a source is notified when it has failed for this long."""


def notify_owner(tx: Connection, settings: Settings, source: Source, since: datetime, reason: str) -> None:
    """Sends the owner one notice of a failure that began at `since`; further calls for the same failure send none."""
    what = f"The source {source.kind} {without_secrets(source.location)} has failed since {since:%d %B %H:%M} UTC"
    host = settings.host
    operator_notices.send(tx, source.account_id, f"source:{source.id}:{since:%s}", f"{what}: {reason}", host)
