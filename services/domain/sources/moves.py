"""Moves: when a permanent redirect replaces the address of a source, and which address a poll requests."""

from dataclasses import dataclass

READS_THAT_CONFIRM = 3
"""A permanent redirect replaces the address once this many listings in a row were read at its target."""


@dataclass(frozen=True, slots=True)
class Move:
    """What is known of permanent redirects of a source's address."""

    moved_to: str = ""
    """The address requested in place of the source's own; empty: its own is requested."""
    redirect_to: str = ""
    """The target of a permanent redirect that is not confirmed yet; empty without one."""
    redirect_reads: int = 0
    """How many listings in a row were read at `redirect_to`."""


NO_MOVE = Move()


def address_to_request(location: str, moved_to: str, failures: int) -> str:
    """The new address, or the source's own at every second poll while polls fail: the old one may work again."""
    return moved_to if moved_to and failures % 2 == 0 else location


def after_reading(move: Move, location: str, address: str) -> Move:
    """The move after a listing was read whose permanent address is `address`; empty for sources without addresses."""
    if not address or address == location:
        return NO_MOVE
    if address == move.moved_to:
        return Move(move.moved_to)
    reads = move.redirect_reads + 1 if address == move.redirect_to else 1
    return Move(address) if reads >= READS_THAT_CONFIRM else Move(move.moved_to, address, reads)
