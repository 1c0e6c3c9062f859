"""How long what is finished is kept, and when it is cleaned up."""

from datetime import datetime, timedelta

ON_RECORD = timedelta(days=400)
"""Deliveries, with what became of them; what guards against telling a paper twice stays for good."""
LINKS_AND_QUESTIONS = timedelta(days=1)
UNANSWERED = timedelta(days=7)
"""What waits for an address that does not confirm."""
NIGHT = timedelta(hours=3)
"""Of the day in UTC: the quietest hour of the servers that announce papers."""


def days(text: str) -> timedelta:
    """`30d`, as PAPERWIRE_RETENTION has it."""
    return timedelta(days=int(text.removesuffix("d")))


def until_next_night(now: datetime) -> timedelta:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    night = midnight + NIGHT
    return (night if night > now else night + timedelta(days=1)) - now
