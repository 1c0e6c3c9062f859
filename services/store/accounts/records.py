"""Rows of accounts as typed records; columns of the same names fill the fields."""

from dataclasses import dataclass, field
from datetime import datetime, time
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Account:
    """A row of `account`."""

    id: int
    email: str
    new_email: str
    timezone: str
    quiet_from: time | None
    quiet_to: time | None
    operator: bool
    session_key: UUID = field(repr=False)
    """Every session cookie of the account contains it; a new key ends all sessions."""
    created_at: datetime
