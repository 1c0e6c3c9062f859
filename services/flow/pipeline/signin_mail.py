"""Mails links that sign in or sign up: to people who asked for one on the sign-in page, and to people invited.

The key of a link exists only in the mail: the row has its digest. Each mail is sent at most once, since the row is
taken before. An address that may not sign in here gets no mail.
"""

import secrets
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from services import plugins
from services.domain.accounts.issuer_subject import Identity
from services.domain.accounts.signin import LINK_LIFETIME
from services.domain.accounts.signup import parse_signup
from services.domain.digests.digest import Digest, invitation, signin_link, signup_link
from services.errors import TargetError
from services.flow import consent, refusal_links
from services.ports import Envelope, Outcome, Rejected, Retry, TransportDown
from services.settings import Settings
from services.store.accounts import accounts, credentials, invitations, link_requests, members
from services.store.accounts.records import LinkRequest
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.delivery import opt_in
from services.telemetry import log


class LinkMail(NamedTuple):
    """A mail with a link, ready to be sent."""

    email: str
    message: Digest
    key: str


def work(db: Database, settings: Settings) -> bool:
    """Answers one request or sends one invitation; False if none is due."""
    return _answer_request(db, settings) or _send_invitation(db, settings)


def _answer_request(db: Database, settings: Settings) -> bool:
    with db.transaction() as tx:
        now = db.now(tx)
        request = link_requests.claim(tx, now)
        if request is None:
            return False
        is_in_time = request.created_at > now - LINK_LIFETIME
        mail = _answer(tx, settings, request, db) if is_in_time else None
    if mail is None:
        log.info("a request for a sign-in link was left unanswered", request=request.id, in_time=is_in_time)
        return True
    if not _is_settled(outcome := _send(db, settings, mail)):
        with db.transaction() as tx:
            link_requests.put_back(tx, request.id, db.now(tx))
    _log("answered a request for a sign-in link", outcome, request=request.id)
    return True


def _send_invitation(db: Database, settings: Settings) -> bool:
    with db.transaction() as tx:
        invited = invitations.claim(tx, db.now(tx))
        if invited is None:
            return False
        team = accounts.by_id(tx, invited.account_id) if invited.account_id is not None else None
        message = invitation(team.email if team else "")
        message = _refusable(settings, invited.email, message)
        mail = LinkMail(invited.email, message, credentials.create_invitation_link(tx, invited))
    if not _is_settled(outcome := _send(db, settings, mail)):
        with db.transaction() as tx:
            invitations.put_back(tx, invited.id, db.now(tx))
    _log("sent an invitation", outcome, invitation=invited.id)
    return True


def _answer(tx: Connection, settings: Settings, request: LinkRequest, db: Database) -> LinkMail | None:
    """The mail that answers a request; None for an address that gets none."""
    if opt_in.has_refused(tx, request.email):
        return None
    member = members.find(tx, request.email)
    if member is None:
        return _signup(tx, settings, request, db)
    if not members.may_sign_in(tx, member):
        return None
    identity = Identity(request.issuer, request.subject)
    key = credentials.create_signin_link(tx, member.account_id, request.browser, member.email, identity)
    return LinkMail(member.email, signin_link(request.issuer), key)


def _signup(tx: Connection, settings: Settings, request: LinkRequest, db: Database) -> LinkMail | None:
    """The mail to an address without an account that may sign up."""
    rule = parse_signup(settings.signup)
    invited = invitations.find_open(tx, request.email)
    is_invited = invited is not None and (rule.takes_invitations or invited.account_id is not None)
    if not is_invited and not rule.allows(request.email):
        return None
    if not consent.may_mail_stranger(tx, request.email, request.ip, None, db.now(tx)):
        return None
    invitation_id = invited.id if invited and is_invited else None
    identity = Identity(request.issuer, request.subject)
    key = credentials.create_signup_link(tx, request.email, request.browser, invitation_id, identity)
    return LinkMail(request.email, _refusable(settings, request.email, signup_link(request.issuer)), key)


def _refusable(settings: Settings, email: str, message: Digest) -> Digest:
    """The message with a link by which a stranger gets no more of this kind."""
    token = refusal_links.token(SecretBox(settings.secret_keys), email)
    return replace(message, settings_url=f"{settings.base_url}/refuse/{token}")


def _send(db: Database, settings: Settings, mail: LinkMail) -> Outcome:
    notifier = plugins.notifier("email")
    host = settings.host
    message_id = f"<link-{secrets.token_hex(12)}@{host}>"
    url = f"{settings.base_url}/signin?key={mail.key}"
    envelope = Envelope(delivery_id=0, message_id=message_id, date=db.now(), confirm_url=url)
    try:
        target = notifier.parse_target(mail.email)
    except TargetError as error:
        return Rejected(str(error))
    return notifier.send(notifier.render(mail.message, envelope, target), target, lambda: None)


def _is_settled(outcome: Outcome) -> bool:
    """Whether the mail is not sent again: it was sent or may have been, or is refused for good."""
    return not isinstance(outcome, Retry | TransportDown)


def _log(event: str, outcome: Outcome, **about: int) -> None:
    log.info(event, outcome=type(outcome).__name__, why=getattr(outcome, "reason", ""), **about)
