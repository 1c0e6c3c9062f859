"""What a returned mail means: enhanced status codes (RFC 3463) and what follows from them."""

import re
from dataclasses import dataclass

_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """A mail that did not arrive. Message ids and links are those of its returned headers: they say which it was."""

    message_ids: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    status: str
    """Enhanced, e.g. `5.1.1`; `5.0.0` when the report names none."""
    diagnostic: str = ""
    """The server's own words, which mostly repeat the status."""

    @property
    def said(self) -> str:
        return self.diagnostic if self.status in self.diagnostic else f"{self.status} {self.diagnostic}".strip()


def status_of(*texts: str) -> str:
    """The most telling enhanced status in the texts, the first of equals: one that ends in .0.0 tells nothing."""
    found = [match[0] for text in texts for match in _STATUS.finditer(text)]
    return next((one for one in found if not one.endswith(".0.0")), found[0] if found else "5.0.0")


def is_hard(status: str) -> bool:
    """Whether the address itself is bad: 5.1.x, but for what is said of the sender (7, 8) or of its relay (9)."""
    match = _STATUS.fullmatch(status)
    return bool(match and match[1] == "5" and match[2] == "1" and match[3] not in ("7", "8", "9"))
