"""Invites people, and makes the account of a person who followed a sign-up link."""

from datetime import UTC, datetime

from sqlalchemy import Connection

from services import plugins
from services.domain.accounts.issuer_subject import Identity
from services.domain.accounts.profile import normalize_email, parse_timezone
from services.domain.accounts.signup import parse_signup
from services.errors import Busy, ConfigError, Conflict
from services.flow import consent
from services.flow.channel_targets import stored_target
from services.settings import Settings
from services.store.accounts import accounts, invitations, members
from services.store.accounts.records import MEMBER, OWNER, Invitation, Member, SigninLink
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import channels

_TOO_MANY = "no mail to {} now: a stranger gets one an hour and three a day, and none after a refusal"


def invite(db: Database, settings: Settings, email: str, invited_by: int, ip: str = "") -> None:
    """Has an invitation mailed. Raises ConfigError, Conflict, and Busy when the address got too many mails."""
    email = normalize_email(email)
    if not parse_signup(settings.signup).takes_invitations:
        raise ConfigError("nobody can sign up, since PAPERWIRE_SIGNUP is closed; set it to invite, domain:… or open")
    with db.transaction() as tx:
        if accounts.exists(tx, email):
            raise Conflict(f"an account {email} exists already")
        if not consent.may_mail_stranger(tx, email, ip, invited_by, db.now(tx)):
            raise Busy(_TOO_MANY.format(email))
        invitations.add(tx, email, invited_by)


def invite_to_account(tx: Connection, account_id: int, email: str, role: str, ip: str, now: datetime) -> None:
    """Has an invitation to join an account mailed. Raises ConfigError, and Busy when the address got too many mails.

    An address that signs in to an account already gets no mail, and the list of invitations does not tell.
    """
    email = normalize_email(email)
    if role not in (OWNER, MEMBER):
        raise ConfigError("a role is owner or member")
    if not consent.may_mail_stranger(tx, email, ip, account_id, now):
        raise Busy(_TOO_MANY.format(email))
    is_mailed = not accounts.exists(tx, email)
    invitations.add(tx, email, account_id, account_id, role, is_mailed=is_mailed)


def accept(tx: Connection, settings: Settings, link: SigninLink, timezone: str) -> Member | None:
    """The member that a used sign-up link or invitation makes; None when it may not be used any more.

    `timezone`: that of the browser; the default takes its place when it is no place that is known.
    """
    rule = parse_signup(settings.signup)
    invited = invitations.use(tx, link.invitation_id) if link.invitation_id is not None else None
    if invited is not None and invited.account_id is not None:
        return _join(tx, invited, invited.account_id)
    is_invited = invited is not None and rule.takes_invitations
    if not (is_invited or (link.invitation_id is None and rule.allows(link.email))):
        return None
    return members.find(tx, link.email) or _add(tx, settings, link.email, timezone)


def sign_in_with(tx: Connection, settings: Settings, identity: Identity) -> Member | None:
    """The member of an identity: who signed in with it before, who has its verified address, or a new one.

    None when the person may not sign up, or when the address belongs to a member with another identity.
    """
    known = members.by_identity(tx, identity)
    if known is not None or not identity.email:
        return known
    member = members.find(tx, identity.email) or _sign_up(tx, settings, identity.email)
    return member if member is not None and members.connect(tx, member, identity) else None


def _sign_up(tx: Connection, settings: Settings, email: str) -> Member | None:
    """A new member with a verified address, if it may sign up or was invited."""
    invited = invitations.find_open(tx, email)
    link = SigninLink(
        account_id=None,
        invitation_id=invited.id if invited else None,
        email=email,
        browser=b"",
        issuer="",
        subject="",
        created_at=invited.created_at if invited else datetime.now(UTC),
    )
    return accept(tx, settings, link, "")


def _join(tx: Connection, invited: Invitation, account_id: int) -> Member | None:
    """The new member of an account; None when the person signs in to another one."""
    if members.find(tx, invited.email) is None:
        members.add(tx, account_id, invited.email, invited.role)
    member = members.find(tx, invited.email)
    return member if member is not None and member.account_id == account_id else None


def _add(tx: Connection, settings: Settings, email: str, timezone: str) -> Member:
    """Adds an account and its e-mail channel, which needs no opt-in: the link came by mail."""
    try:
        zone = parse_timezone(timezone)
    except ConfigError:
        zone = settings.timezone
    account_id = accounts.add(tx, email, zone)
    secrets = SecretBox(settings.secret_keys)
    target = plugins.notifier("email").parse_target(email)
    channels.add(tx, account_id, stored_target("email", target, secrets), verified=True)
    return members.first_owner(tx, account_id)
