"""One mail over SMTP, step by step: of each failure it is known whether the mail may have been accepted."""

import re
import smtplib
from collections.abc import Callable
from email.headerregistry import Address

from services.domain.delivery.bounce import OVER_QUOTA_PAUSE_SECONDS, is_hard, is_over_quota, status_of
from services.notifiers.email.config import Server
from services.notifiers.email.connection import (
    FAILURES,
    PoolExhausted,
    ServerUnavailable,
    borrow,
    connect,
    describe_error,
    reply,
)
from services.ports import MaybeDelivered, Outcome, Rejected, Retry, Sent, TransportDown
from services.settings import settings

FINAL_DOT_TIMEOUT_SECONDS = 600.0
"""RFC 5321 section 4.5.3.2.6. A client that waits less may send the mail twice (RFC 1047)."""


def deliver(body: bytes, sender: Address, recipient: Address, server: Server, commit: Callable[[], None]) -> Outcome:
    """Sends one mail to one address. `commit` is called between the reply to RCPT and DATA."""
    try:
        with borrow(server, sender) as connection:
            rejection, try_again = _envelope(connection.smtp, body, sender, recipient)
            if try_again and connection.mails:
                connection.renew()
                rejection, try_again = _envelope(connection.smtp, body, sender, recipient)
            if rejection:
                connection.reset(usable=not try_again)
                return rejection
            commit()
            outcome = _data(connection.smtp, body)
            connection.usable = isinstance(outcome, Sent)
            return outcome
    except ServerUnavailable as error:
        return TransportDown(str(error))
    except PoolExhausted as error:
        return Retry(str(error))


def probe(server: Server, sender: Address) -> TransportDown | None:
    """Checks, without a mail, whether the server accepts the connection, the sign-in and the sender."""
    try:
        smtp = connect(server, sender)
    except ServerUnavailable as error:
        return TransportDown(str(error))
    try:
        rejection = _sender_rejection(*smtp.mail(sender.addr_spec))
        return rejection if isinstance(rejection, TransportDown) else None
    except FAILURES as error:
        return TransportDown(describe_error("the mail server closed the connection", error))
    finally:
        smtp.close()


def _envelope(smtp: smtplib.SMTP, body: bytes, sender: Address, recipient: Address) -> tuple[Outcome | None, bool]:
    """MAIL and RCPT: the rejection (None: both are accepted), and whether a new connection may be accepted.

    A server may close a connection after some time or some number of mails. No failure here has sent anything.
    """
    utf8 = not (sender.username.isascii() and recipient.username.isascii())
    if utf8 and not smtp.has_extn("smtputf8"):
        return Rejected("the mail server accepts no addresses beyond ASCII (SMTPUTF8)", scope="channel"), False
    options = [f"SIZE={len(body)}"] if smtp.has_extn("size") else []
    options += ["BODY=8BITMIME"] if smtp.has_extn("8bitmime") and not body.isascii() else []
    options += ["SMTPUTF8"] if utf8 else []
    try:
        # As `smtp.mail` and `smtp.rcpt`, which parse the addresses again; that takes a fifth of the time for a mail.
        smtp.command_encoding = "utf-8" if utf8 else "ascii"
        rejection = _sender_rejection(*smtp.docmd("MAIL", " ".join([f"FROM:<{sender.addr_spec}>", *options])))
        if rejection:
            return rejection, True
        code, text = smtp.docmd("RCPT", f"TO:<{recipient.addr_spec}>")
        return _rejection(code, text), code == 421
    except FAILURES as error:
        return Retry(describe_error("the mail server closed the connection before the mail", error)), True


def _data(smtp: smtplib.SMTP, body: bytes) -> Outcome:
    """DATA, the body and the final dot. Only after the dot does a missing reply mean that the mail may have arrived."""
    try:
        code, text = smtp.docmd("DATA")
        if code != 354:
            return _rejection(code, text) or Retry(reply(code, text))
        smtp.send(_dot_stuffed(body))
        if smtp.sock:
            smtp.sock.settimeout(FINAL_DOT_TIMEOUT_SECONDS * settings().time_scale)
    except FAILURES as error:
        return Retry(describe_error("the mail server closed the connection within the mail", error))
    try:
        smtp.send(b".\r\n")
        code, text = smtp.getreply()
    except FAILURES as error:
        return MaybeDelivered(describe_error("no answer after the mail", error))
    if not 200 <= code < 600:
        return MaybeDelivered(f"no answer after the mail but {reply(code, text)}")
    return _rejection(code, text) or Sent(reply(code, text))


def _dot_stuffed(body: bytes) -> bytes:
    """The body with CRLF line ends and doubled leading dots (RFC 5321 section 4.5.2)."""
    lines = body.removesuffix(b"\r\n") + b"\r\n"
    if not lines.count(b"\r\n") == lines.count(b"\r") == lines.count(b"\n"):
        lines = re.sub(rb"\r\n|\r|\n", b"\r\n", lines)
    dotted = b"." + lines if lines.startswith(b".") else lines
    return dotted.replace(b"\r\n.", b"\r\n..")


def _rejection(code: int, text: bytes) -> Retry | Rejected | None:
    """The meaning of a reply other than 2xx, by its code. A code outside of SMTP is retried."""
    if 200 <= code < 300:
        return None
    words = text.decode("utf-8", "replace")
    if is_over_quota(code, words):
        return Retry(reply(code, text), after=OVER_QUOTA_PAUSE_SECONDS * settings().time_scale)
    if not 500 <= code < 600:
        return Retry(reply(code, text))
    scope = "channel" if is_hard(status_of(words), f"{code} {words}") else "delivery"
    return Rejected(reply(code, text), scope=scope)


def _sender_rejection(code: int, text: bytes) -> Retry | Rejected | TransportDown | None:
    """A rejected sender concerns every mail, so the transport is down. Only 552 concerns this mail: its size."""
    if 500 <= code < 600 and code != 552:
        return TransportDown(f"the mail server refuses the sender: {reply(code, text)}")
    return Rejected(reply(code, text)) if code == 552 else _rejection(code, text)
