"""Moments and spans in words."""

from datetime import datetime, timedelta, tzinfo

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))
_NEAR = {1: "yesterday", 0: "today", -1: "tomorrow"}


def local(moment: datetime, zone: tzinfo, now: datetime) -> str:
    """`today, 14:03`, `yesterday, 14:03`, `6 Nov, 14:03`, with the year when it is not this one."""
    there, today = moment.astimezone(zone), now.astimezone(zone).date()
    clock = f"{there:%H:%M}"
    days = (today - there.date()).days
    if days in _NEAR:
        return f"{_NEAR[days]}, {clock}"
    year = "" if there.year == today.year else f" {there.year}"
    return f"{there.day} {there:%b}{year}, {clock}"


def distance(moment: datetime, now: datetime) -> str:
    """`3 minutes ago`, `in 2 hours`, `just now`, `due now`: the largest unit that fits."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 60:
        return "just now" if seconds >= 0 else "in a moment"
    words = _largest(abs(seconds))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def span(length: timedelta) -> str:
    """`15 minutes`, `1 day`."""
    return _largest(length.total_seconds()) if length >= timedelta(minutes=1) else "less than a minute"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _largest(seconds: float) -> str:
    name, size = next((name, size) for name, size in _UNITS if seconds >= size)
    return plural(round(seconds / size), name)
