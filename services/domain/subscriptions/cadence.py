"""How often a subscription sends its papers."""

from enum import StrEnum


class Cadence(StrEnum):
    IMMEDIATE = "immediate"
    DAILY = "daily"
    WEEKLY = "weekly"
