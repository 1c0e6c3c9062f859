"""How often an address may get an opt-in request: so that a lost mail can be replaced, but no address is flooded."""

from collections.abc import Collection
from datetime import datetime, timedelta

LINK_LIFETIME = timedelta(days=7)
REQUESTS_COUNTED_FOR = timedelta(days=1)
"""Requests older than this have no effect on the limits."""
MAX_PER_ADDRESS_AND_HOUR = 1
MAX_PER_ADDRESS_AND_DAY = 3
MAX_PER_IP_AND_HOUR = 10


def may_request(to_address: Collection[datetime], from_ip: Collection[datetime], now: datetime) -> bool:
    """Whether one more request may be sent, given earlier ones to the address and from the IP."""
    hour_ago, day_ago = now - timedelta(hours=1), now - timedelta(days=1)
    return (
        sum(moment > hour_ago for moment in to_address) < MAX_PER_ADDRESS_AND_HOUR
        and sum(moment > day_ago for moment in to_address) < MAX_PER_ADDRESS_AND_DAY
        and sum(moment > hour_ago for moment in from_ip) < MAX_PER_IP_AND_HOUR
    )
