"""Reads an account's address, time zone and quiet hours as people write them."""

import re
from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.domain.http.hostname import ascii_host
from services.errors import ConfigError

# The host may have no dot (localhost). Spaces and control characters are excluded; the mail server checks the rest.
_EMAIL = re.compile(r"[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,64}@[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,250}")

# RFC 5321 section 4.1.2: a quoted local part may contain blanks and `@`.
_QUOTED_EMAIL = re.compile(r'"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f]){1,62}"@[^@\s\x00-\x1f<>,;:\"()\[\]\\]{1,250}')
# https://data.iana.org/time-zones/theory.html: such names exist for old programs only.
_ABBREVIATION = re.compile(r"[A-Za-z]{2,4}|[A-Z]{3}[+-]?\d{1,2}([A-Z]{3})?|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d\d)?")
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "UCT", "GMT", "Etc/GMT", "Cuba", "Eire", "Iran"})
"""Names that have the form of an abbreviation and are none: UTC, which has no summer time, and three countries."""
_PLACES = {
    **dict.fromkeys(("EST", "EDT", "ET", "EST5EDT"), "America/New_York"),
    **dict.fromkeys(("CST", "CDT", "CT", "CST6CDT"), "America/Chicago"),
    **dict.fromkeys(("MST", "MDT", "MT", "MST7MDT"), "America/Denver or America/Phoenix"),
    **dict.fromkeys(("PST", "PDT", "PT", "PST8PDT"), "America/Los_Angeles"),
    **dict.fromkeys(("CET", "CEST", "MET", "MEZ"), "Europe/Berlin"),
    **dict.fromkeys(("EET", "EEST"), "Europe/Helsinki"),
    **dict.fromkeys(("WET", "WEST"), "Europe/Lisbon"),
    **dict.fromkeys(("BST", "GB"), "Europe/London"),
    **dict.fromkeys(("PRC", "ROC", "ROK"), "Asia/Shanghai, Asia/Taipei or Asia/Seoul"),
    "HST": "Pacific/Honolulu",
    "IST": "Asia/Kolkata, Europe/Dublin or Asia/Jerusalem",
    "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul",
    "NZ": "Pacific/Auckland",
}


def normalize_email(email: str) -> str:
    """The address in lower case, its domain as the domain name system knows it (IDNA 2008). Raises ConfigError."""
    email = email.strip().lower()
    is_quoted = bool(_QUOTED_EMAIL.fullmatch(email))
    if not (is_quoted or (_EMAIL.fullmatch(email) and ".." not in email)) or email.endswith("."):
        raise ConfigError(f"{email!r} is not an e-mail address")
    local, _, domain = email.rpartition("@")
    try:
        host = ascii_host(domain)
    except ValueError:
        raise ConfigError(f"{email!r} is not an e-mail address: {domain!r} is not the name of a domain") from None
    if host.rpartition(".")[2].isdigit():
        raise ConfigError(f"{email!r} is not an e-mail address: {domain!r} is the address of a machine")
    return f"{local}@{host}"


def parse_timezone(name: str) -> str:
    """Raises ConfigError, also for an abbreviation or a fixed offset: its hour differs from the place's in summer."""
    if not names_place(name):
        place = _PLACES.get(name.upper(), "America/New_York")
        raise ConfigError(f"{name!r} is no place and may be an hour off in summer; which place? Write it like {place}")
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"{name!r} is not a time zone; use one like Europe/Berlin") from None
    return name


def names_place(timezone: str) -> bool:
    """Whether a time zone follows the clocks of a place, or is UTC."""
    return timezone in _UTC_NAMES or not (_ABBREVIATION.fullmatch(timezone) or timezone.startswith("Etc/"))


def parse_quiet_hours(text: str) -> tuple[time, time] | tuple[None, None]:
    """Reads `22:00-07:00`, or an empty text for no quiet hours. Raises ConfigError."""
    if not text:
        return None, None
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text)
    if not match:
        raise ConfigError(f"quiet hours read 22:00-07:00, not {text!r}")
    from_hour, from_minute, to_hour, to_minute = (int(part) for part in match.groups())
    return time(from_hour, from_minute), time(to_hour, to_minute)
