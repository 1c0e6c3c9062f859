"""HTTP caching headers: validators, Retry-After and max-age (RFC 9110 and RFC 9111)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT = 7 * 86_400.0
"""Seconds. A longer Retry-After or max-age counts as this."""


def validator(value: str | None) -> str | None:
    """An ETag or Last-Modified that can be sent back unchanged; None for any other value."""
    return value if value and len(value) <= 500 and value.isascii() and value.isprintable() else None


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds after `now` that a Retry-After asks for, as a number or a date; None for any other value."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return min(float(value[:20]), MAX_WAIT)
    try:
        moment = parsedate_to_datetime(value)
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return min(seconds, MAX_WAIT) if seconds > 0 else None


def max_age(cache_control: str) -> float | None:
    """Seconds for which an answer is fresh; None when its Cache-Control states no max-age."""
    for part in cache_control.split(","):
        name, _, seconds = part.strip().partition("=")
        if name.lower() == "max-age" and seconds.isascii() and seconds.isdecimal():
            return min(float(seconds[:20]), MAX_WAIT)
    return None
