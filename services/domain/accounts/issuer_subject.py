"""Who a person is at an OpenID Connect issuer."""

from dataclasses import dataclass

MAX_SUBJECT = 255
"""Characters. OpenID Connect Core 1.0, section 2."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A subject of an issuer. Only both together name a person: another issuer has the same subjects."""

    issuer: str
    subject: str
    email: str = ""
    """The address that the issuer has verified; empty: none, or not verified."""

    @property
    def key(self) -> dict[str, str]:
        return {"issuer": self.issuer, "subject": self.subject}


NOBODY = Identity("", "")
