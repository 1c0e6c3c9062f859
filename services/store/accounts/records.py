"""Rows of accounts as typed records; columns of the same names fill the fields."""

from dataclasses import dataclass
from datetime import datetime, time


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
    created_at: datetime
