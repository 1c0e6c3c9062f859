"""How long finished rows are kept, beside the setting PAPERWIRE_RETENTION, and when the nightly clean-up runs."""

from datetime import datetime, timedelta

RECORDS_KEPT_FOR = timedelta(days=400)
"""Deliveries with their outcomes, and the rows of deleted channels and subscriptions.

The rows that prevent a second message about a paper are never deleted.
"""
LINKS_KEPT_FOR = timedelta(days=1)
"""Used sign-in links, and requests for sign-in links and opt-ins."""
UNCONFIRMED_KEPT_FOR = timedelta(days=7)
"""Items that wait for an address whose owner does not opt in."""
UNREADABLE_KEPT_FOR = timedelta(days=7)
"""The bytes of a listing that could not be read: a person may have it read again, for example after an update."""
CLEANUP_TIME = timedelta(hours=3)
"""Time of the day in UTC: the servers that announce papers have the least load then."""


def parse_days(text: str) -> timedelta:
    """Reads a setting such as `30d`."""
    return timedelta(days=int(text.removesuffix("d")))


def until_next_cleanup(now: datetime) -> timedelta:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    cleanup = midnight + CLEANUP_TIME
    return (cleanup if cleanup > now else cleanup + timedelta(days=1)) - now
