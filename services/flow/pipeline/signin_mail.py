"""Mails sign-in links to people who asked for one on the sign-in page, each at most once.

The key of a link exists only in the mail: the row has its digest. An address without an account gets no mail.
"""

import secrets
from typing import NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import Connection

from services import plugins
from services.domain.accounts.signin import LINK_LIFETIME
from services.domain.digests.digest import Digest, signin_link
from services.errors import NotFound, TargetError
from services.ports import Envelope, Outcome, Rejected, Retry, TransportDown
from services.settings import Settings
from services.store.accounts import accounts, credentials, link_requests
from services.store.accounts.records import LinkRequest
from services.store.db.database import Database
from services.store.delivery import opt_in
from services.telemetry import log


class LinkMail(NamedTuple):
    """A mail with a link, ready to be sent."""

    email: str
    message: Digest
    url: str


def work(db: Database, settings: Settings) -> bool:
    """Answers one request; False if none is due. A worker that is lost here has sent at most one mail."""
    with db.transaction() as tx:
        now = db.now(tx)
        request = link_requests.claim(tx, now)
        if request is None:
            return False
        is_in_time = request.created_at > now - LINK_LIFETIME
        mail = _mail(tx, settings, request) if is_in_time else None
    if mail is None:
        log.info("a request for a sign-in link was left unanswered", request=request.id, in_time=is_in_time)
        return True
    outcome = _send(settings, mail, db)
    if isinstance(outcome, Retry | TransportDown):
        with db.transaction() as tx:
            link_requests.put_back(tx, request.id, db.now(tx))
    reason = getattr(outcome, "reason", "")
    log.info("answered a request for a sign-in link", request=request.id, outcome=type(outcome).__name__, why=reason)
    return True


def _mail(tx: Connection, settings: Settings, request: LinkRequest) -> LinkMail | None:
    """The mail that answers a request; None for an address that gets none."""
    if opt_in.has_refused(tx, request.email):
        return None
    try:
        account = accounts.by_email(tx, request.email)
    except NotFound:
        return None
    key = credentials.create_signin_link(tx, account.id, request.browser)
    return LinkMail(account.email, signin_link(), f"{settings.base_url}/signin?key={key}")


def _send(settings: Settings, mail: LinkMail, db: Database) -> Outcome:
    notifier = plugins.notifier("email")
    host = urlsplit(settings.base_url).hostname or "localhost"
    message_id = f"<signin-{secrets.token_hex(12)}@{host}>"
    envelope = Envelope(delivery_id=0, message_id=message_id, date=db.now(), confirm_url=mail.url)
    try:
        target = notifier.parse_target(mail.email)
    except TargetError as error:
        return Rejected(str(error))
    return notifier.send(notifier.render(mail.message, envelope, target), target, lambda: None)
