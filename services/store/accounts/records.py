"""Rows of accounts as typed records; columns of the same names fill the fields."""

from dataclasses import dataclass
from datetime import datetime, time
from typing import NamedTuple

OWNER = "owner"
MEMBER = "member"


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
    delete_at: datetime | None
    """When the account is deleted, as its owner asked; None: it is not."""
    disabled_at: datetime | None
    """Since when an operator keeps everybody from signing in; None: nobody is kept."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Member:
    """A person who signs in to an account. An account has at least one owner."""

    id: int
    account_id: int
    email: str
    role: str
    """`owner` or `member`. Only owners invite and remove people, change the address and delete the account."""
    issuer: str
    """Of the OpenID Connect identity with which the person signs in too; empty: none."""
    subject: str
    signed_in_at: datetime | None

    @property
    def is_owner(self) -> bool:
        return self.role == OWNER


class SignedIn(NamedTuple):
    """Who a request comes from."""

    account: Account
    """`operator` is set for owners only."""
    member: Member
    session_id: int


@dataclass(frozen=True, slots=True)
class SigninLink:
    """A link that works once. It signs in, or makes the account of an address that has none."""

    account_id: int | None
    invitation_id: int | None
    email: str
    browser: bytes
    """The digest of the browser that asked for the link (`auth.browser_digest`); empty: any browser may use it."""
    issuer: str
    """Of the identity that the link connects with the address; empty: none. Only the browser that asked may use it."""
    subject: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """Somebody asked for a sign-in link to be mailed to an address, which may belong to no account."""

    id: int
    email: str
    ip: str
    browser: bytes
    issuer: str
    subject: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation to sign up or to join an account, which was neither used nor revoked and has not expired."""

    id: int
    email: str
    invited_by: int
    account_id: int | None
    """The account whose members the person joins; None: the person gets an account."""
    role: str
    created_at: datetime
    expires_at: datetime
    next_attempt_at: datetime | None
    """When its mail is sent; None: it was sent."""


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """An account as operators see it in a list."""

    id: int
    email: str
    operator: bool
    delete_at: datetime | None
    disabled_at: datetime | None
    created_at: datetime
    seen_at: datetime | None
    subscriptions: int


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A row of `session` that has not ended."""

    id: int
    email: str
    """Of the member who signed in."""
    address: str
    user_agent: str
    created_at: datetime
    used_at: datetime
