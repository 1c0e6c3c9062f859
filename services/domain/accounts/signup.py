"""Who may get an account without the command line: the setting PAPERWIRE_SIGNUP."""

from dataclasses import dataclass
from datetime import timedelta

from services.domain.http.hostname import ascii_host

INVITATION_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SignupRule:
    """`closed`: nobody. `invite`: who was invited. `domain:…`: also addresses at these domains. `open`: everybody."""

    takes_invitations: bool = False
    is_open: bool = False
    domains: frozenset[str] = frozenset()

    def allows(self, email: str) -> bool:
        """Whether an address (normalized) may sign up without an invitation. A subdomain is another domain."""
        return self.is_open or _ascii(email.rpartition("@")[2]) in self.domains


def parse_signup(setting: str) -> SignupRule:
    """The rule of a setting that `Settings` has checked."""
    kind, _, domains = setting.partition(":")
    if kind == "closed":
        return SignupRule()
    names = frozenset(_ascii(name) for name in domains.split(",")) - {""}
    return SignupRule(takes_invitations=True, is_open=kind == "open", domains=names)


def _ascii(domain: str) -> str:
    """The domain in the one form in which it is compared; empty for what is no domain."""
    try:
        return ascii_host(domain) if domain else ""
    except ValueError:
        return ""
