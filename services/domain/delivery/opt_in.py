"""How often somebody may be asked whether they want mails: enough for a lost one, too little to annoy."""

from collections.abc import Collection
from datetime import datetime, timedelta

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PER_ADDRESS_AND_HOUR, PER_ADDRESS_AND_DAY, PER_IP_AND_HOUR = 1, 3, 10
LINK_LIFETIME = timedelta(days=7)


def may_ask(address: Collection[datetime], ip: Collection[datetime], now: datetime) -> bool:
    """Whether one more question may go out; both are the moments of earlier ones, to this address and from this IP."""
    return (
        _since(address, now - HOUR) < PER_ADDRESS_AND_HOUR
        and _since(address, now - DAY) < PER_ADDRESS_AND_DAY
        and _since(ip, now - HOUR) < PER_IP_AND_HOUR
    )


def _since(moments: Collection[datetime], start: datetime) -> int:
    return sum(moment > start for moment in moments)
