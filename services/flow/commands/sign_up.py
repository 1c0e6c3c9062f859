"""Invites people, and makes the account of a person who followed a sign-up link."""

from sqlalchemy import Connection

from services import plugins
from services.domain.accounts.profile import normalize_email, parse_timezone
from services.domain.accounts.signup import parse_signup
from services.errors import Busy, ConfigError, Conflict, NotFound
from services.flow import consent
from services.flow.channel_targets import stored_target
from services.settings import Settings
from services.store.accounts import accounts, invitations
from services.store.accounts.records import SigninLink
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import channels


def invite(db: Database, settings: Settings, email: str, invited_by: int, ip: str = "") -> None:
    """Has an invitation mailed. Raises ConfigError, Conflict, and Busy when the address got too many mails."""
    email = normalize_email(email)
    if not parse_signup(settings.signup).takes_invitations:
        raise ConfigError("nobody can sign up, since PAPERWIRE_SIGNUP is closed; set it to invite, domain:… or open")
    with db.transaction() as tx:
        if accounts.exists(tx, email):
            raise Conflict(f"an account {email} exists already")
        if not consent.may_mail_stranger(tx, email, ip, invited_by, db.now(tx)):
            raise Busy(f"no mail to {email} now: a stranger gets one an hour and three a day, and none after a refusal")
        invitations.add(tx, email, invited_by)


def accept(tx: Connection, settings: Settings, link: SigninLink, timezone: str) -> int | None:
    """The id of the account of a used sign-up link, which is made now; None when sign-up is not allowed any more.

    `timezone`: that of the browser; the default takes its place when it is no place that is known.
    """
    rule = parse_signup(settings.signup)
    if link.invitation_id is not None:
        is_allowed = rule.takes_invitations and invitations.use(tx, link.invitation_id)
    else:
        is_allowed = rule.allows(link.email)
    if not is_allowed:
        return None
    try:
        return accounts.by_email(tx, link.email).id
    except NotFound:
        return _add(tx, settings, link.email, timezone)


def _add(tx: Connection, settings: Settings, email: str, timezone: str) -> int:
    """Adds an account and its e-mail channel, which needs no opt-in: the link came by mail."""
    try:
        zone = parse_timezone(timezone)
    except ConfigError:
        zone = settings.timezone
    account_id = accounts.add(tx, email, zone)
    secrets = SecretBox(settings.secret_keys)
    target = plugins.notifier("email").parse_target(email)
    channels.add(tx, account_id, stored_target("email", target, secrets), verified=True)
    return account_id
