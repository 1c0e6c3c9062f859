"""How often a sign-in link may be asked for by mail, and how long it works."""

from datetime import timedelta

LINK_LIFETIME = timedelta(minutes=15)
REQUESTS_COUNTED_FOR = timedelta(hours=1)
MAX_TO_ADDRESS = 3
"""Requests an hour for one address, so that nobody can fill a stranger's mailbox."""
MAX_FROM_IP = 10
"""Requests an hour from one IP address."""
MAX_IN_ALL = 300
"""Requests an hour, so that many IP addresses together cannot use up the sender's reputation."""


def refusal(to_address: int, from_ip: int, in_all: int) -> str:
    """Why one more link may not be asked for now, from the requests of the last hour; empty: it may.

    The answer is the same for addresses with and without an account, since both are counted.
    """
    if to_address >= MAX_TO_ADDRESS:
        return f"an address gets at most {MAX_TO_ADDRESS} sign-in links an hour; use the newest mail, or wait"
    if from_ip >= MAX_FROM_IP:
        return f"at most {MAX_FROM_IP} sign-in links an hour can be asked for from one place; try again later"
    if in_all >= MAX_IN_ALL:
        return "too many people ask for sign-in links at the moment; try again in an hour"
    return ""
