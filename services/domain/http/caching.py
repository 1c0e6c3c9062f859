"""What an HTTP answer says of its own age, and of when to ask again."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT = 7 * 86_400.0
"""Seconds: nobody's Retry-After or max-age silences a source for longer."""


def validator(value: str | None) -> str | None:
    """An ETag or Last-Modified that can be sent back as it is."""
    return value if value and len(value) <= 500 and value.isascii() and value.isprintable() else None


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds from `now` on that a Retry-After asks for, as a number or a date; None for anything else."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return min(float(value[:20]), MAX_WAIT)
    try:
        then = parsedate_to_datetime(value)
        seconds = ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return min(seconds, MAX_WAIT) if seconds > 0 else None


def max_age(cache_control: str) -> float | None:
    """Seconds for which an answer stays good, None if its Cache-Control names no number of them."""
    for part in cache_control.split(","):
        name, _, seconds = part.strip().partition("=")
        if name.lower() == "max-age" and seconds.isascii() and seconds.isdecimal():
            return min(float(seconds[:20]), MAX_WAIT)
    return None
