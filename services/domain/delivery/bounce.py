"""The meaning of a returned mail, by its enhanced status code (RFC 3463)."""

import re
from dataclasses import dataclass

_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """A mail that was not delivered. The Message-IDs and links come from its returned headers and identify it."""

    message_ids: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    status: str
    """The enhanced status code, e.g. `5.1.1`; `5.0.0` when the report has none."""
    diagnostic: str = ""
    """The server's text, which usually repeats the status."""

    @property
    def reason(self) -> str:
        return self.diagnostic if self.status in self.diagnostic else f"{self.status} {self.diagnostic}".strip()


def status_of(*texts: str) -> str:
    """The first enhanced status code in the texts that is specific; else the first one, which ends in `.0.0`."""
    statuses = [match[0] for text in texts for match in _STATUS.finditer(text)]
    specific = (status for status in statuses if not status.endswith(".0.0"))
    return next(specific, statuses[0] if statuses else "5.0.0")


# The codes: https://www.iana.org/assignments/smtp-enhanced-status-codes
def is_hard(status: str) -> bool:
    """Whether the address itself is bad: 5.1.x, except for codes about the sender (7, 8) or about its relay (9)."""
    match = _STATUS.fullmatch(status)
    return bool(match and match[1] == "5" and match[2] == "1" and match[3] not in ("7", "8", "9"))
