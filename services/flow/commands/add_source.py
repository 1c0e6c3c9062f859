"""Adds a source with the rate limit that its plugin states."""

from datetime import timedelta

from sqlalchemy import Connection

from services.domain.http.ssrf import without_secrets
from services.ports import Source
from services.store.db import change_log
from services.store.sources import sources


def add_source(
    tx: Connection, plugin: Source, location: str, every: timedelta | None, *, announce_first: bool = False
) -> int:
    """The id of the source, which is due at once. `every` None: as often as the plugin says."""
    change_log.record_own(tx, "added a source", f"{plugin.kind} {without_secrets(location)}")
    key, pause = plugin.rate_limit(location)
    return sources.add(
        tx,
        plugin.kind,
        location,
        every,
        rate_limit_key=key,
        rate_limit_pause=pause,
        announce_first=announce_first,
    )
