"""Times, spans and counts as people read them."""

from datetime import datetime, timedelta, tzinfo

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))
_NEAR_DAYS = {1: "yesterday", 0: "today", -1: "tomorrow"}


def local(moment: datetime, zone: tzinfo, now: datetime) -> str:
    """`today, 14:03`, `yesterday, 14:03`, `6 Nov, 14:03`; with the year if it is not the current one."""
    at, today = moment.astimezone(zone), now.astimezone(zone).date()
    clock = f"{at:%H:%M}"
    days = (today - at.date()).days
    if days in _NEAR_DAYS:
        return f"{_NEAR_DAYS[days]}, {clock}"
    year = "" if at.year == today.year else f" {at.year}"
    return f"{at.day} {at:%b}{year}, {clock}"


def distance(moment: datetime, now: datetime) -> str:
    """`3 minutes ago`, `in 2 hours`, `just now`, `in a moment`: the largest unit that fits."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 60:
        return "just now" if seconds >= 0 else "in a moment"
    length = _in_largest_unit(abs(seconds))
    return f"{length} ago" if seconds > 0 else f"in {length}"


def span(length: timedelta) -> str:
    """`15 minutes`, `1 day`."""
    return _in_largest_unit(length.total_seconds()) if length >= timedelta(minutes=1) else "less than a minute"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _in_largest_unit(seconds: float) -> str:
    name, size = next((name, size) for name, size in _UNITS if seconds >= size)
    return plural(round(seconds / size), name)
