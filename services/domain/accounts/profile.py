"""Reads an account's address, time zone and quiet hours as people write them."""

import re
from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.errors import ConfigError

# The host may have no dot (localhost). Spaces and control characters are excluded; the mail server checks the rest.
_EMAIL = re.compile(r"[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,64}@[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,250}")


def normalize_email(email: str) -> str:
    """Raises ConfigError."""
    email = email.strip().lower()
    if not _EMAIL.fullmatch(email) or ".." in email or email.endswith("."):
        raise ConfigError(f"{email!r} is not an e-mail address")
    return email


def parse_timezone(name: str) -> str:
    """Raises ConfigError."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"{name!r} is not a time zone; use one like Europe/Berlin") from None
    return name


def parse_quiet_hours(text: str) -> tuple[time, time] | tuple[None, None]:
    """Reads `22:00-07:00`, or an empty text for no quiet hours. Raises ConfigError."""
    if not text:
        return None, None
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text)
    if not match:
        raise ConfigError(f"quiet hours read 22:00-07:00, not {text!r}")
    from_hour, from_minute, to_hour, to_minute = (int(part) for part in match.groups())
    return time(from_hour, from_minute), time(to_hour, to_minute)
