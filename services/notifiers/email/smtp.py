"""One mail over SMTP, step by step, so that each failure is known to lie before or after the point of no return."""

import re
import smtplib
from collections.abc import Callable
from email.headerregistry import Address

from services.domain.delivery.bounce import is_hard, status_of
from services.notifiers.email import connection
from services.notifiers.email.config import Server
from services.notifiers.email.connection import FAILURES, PoolExhausted, ServerUnavailable, reply, told
from services.ports import MaybeDelivered, Outcome, Rejected, Retry, Sent, TransportDown
from services.settings import settings

FINAL_DOT_TIMEOUT = 600.0
"""RFC 5321 §4.5.3.2.6; whoever waits less sends twice (RFC 1047)."""


def deliver(body: bytes, sender: Address, recipient: Address, server: Server, commit: Callable[[], None]) -> Outcome:
    """Sends one mail to one address; `commit` comes between the recipient's acceptance and DATA."""
    try:
        with connection.line(server, sender) as line:
            no, its_fault = _envelope(line.smtp, body, sender, recipient)
            if its_fault and line.mails:
                line.renew()
                no, its_fault = _envelope(line.smtp, body, sender, recipient)
            if no:
                line.reset(usable=not its_fault)
                return no
            commit()
            outcome = _data(line.smtp, body)
            line.sent(usable=isinstance(outcome, Sent))
            return outcome
    except ServerUnavailable as down:
        return TransportDown(str(down))
    except PoolExhausted as busy:
        return Retry(str(busy))


def probe(server: Server, sender: Address) -> TransportDown | None:
    """Whether the server lets us in and takes our sender, without a mail."""
    try:
        smtp = connection.connect(server, sender)
    except ServerUnavailable as down:
        return TransportDown(str(down))
    try:
        no = _sender_no(*smtp.mail(sender.addr_spec))
        return no if isinstance(no, TransportDown) else None
    except FAILURES as error:
        return TransportDown(told("the mail server broke off", error))
    finally:
        smtp.close()


def _envelope(smtp: smtplib.SMTP, body: bytes, sender: Address, recipient: Address) -> tuple[Outcome | None, bool]:
    """MAIL and RCPT: None when both are accepted; and whether a no may be this connection's alone.

    A server may be tired of one, or take only so many mails on it. Whatever goes wrong here, nothing was sent.
    """
    utf8 = not (sender.username.isascii() and recipient.username.isascii())
    if utf8 and not smtp.has_extn("smtputf8"):
        return Rejected("the mail server takes no addresses beyond ASCII (SMTPUTF8)", scope="channel"), False
    options = [f"SIZE={len(body)}"] if smtp.has_extn("size") else []
    options += ["BODY=8BITMIME"] if smtp.has_extn("8bitmime") and not body.isascii() else []
    options += ["SMTPUTF8"] if utf8 else []
    try:
        # As its own `mail` and `rcpt` do, which parse the addresses once more: a fifth of what a mail costs us here.
        smtp.command_encoding = "utf-8" if utf8 else "ascii"
        no = _sender_no(*smtp.docmd("MAIL", " ".join([f"FROM:<{sender.addr_spec}>", *options])))
        if no:
            return no, True
        code, text = smtp.docmd("RCPT", f"TO:<{recipient.addr_spec}>")
        return _no(code, text), code == 421
    except FAILURES as error:
        return Retry(told("the mail server broke off before the mail", error)), True


def _data(smtp: smtplib.SMTP, body: bytes) -> Outcome:
    """DATA, the body and the dot; only from the dot on is silence uncertain."""
    try:
        code, text = smtp.docmd("DATA")
        if code != 354:
            return _no(code, text) or Retry(reply(code, text))
        smtp.send(_stuffed(body))
        if smtp.sock:
            smtp.sock.settimeout(FINAL_DOT_TIMEOUT * settings().time_scale)
    except FAILURES as error:
        return Retry(told("the mail server broke off within the mail", error))
    try:
        smtp.send(b".\r\n")
        code, text = smtp.getreply()
    except FAILURES as error:
        return MaybeDelivered(told("no answer after the mail", error))
    if not 200 <= code < 600:
        return MaybeDelivered(f"no answer after the mail but {reply(code, text)}")
    return _no(code, text) or Sent(reply(code, text))


def _stuffed(body: bytes) -> bytes:
    """CRLF line ends and doubled leading dots (RFC 5321 §4.5.2)."""
    lines = body.removesuffix(b"\r\n") + b"\r\n"
    if not lines.count(b"\r\n") == lines.count(b"\r") == lines.count(b"\n"):
        lines = re.sub(rb"\r\n|\r|\n", b"\r\n", lines)
    dotted = b"." + lines if lines.startswith(b".") else lines
    return dotted.replace(b"\r\n.", b"\r\n..")


def _no(code: int, text: bytes) -> Retry | Rejected | None:
    """What a reply that is no yes means, by its code alone; what is no SMTP may pass."""
    if 200 <= code < 300:
        return None
    if not 500 <= code < 600:
        return Retry(reply(code, text))
    scope = "channel" if is_hard(status_of(text.decode("latin-1"))) else "delivery"
    return Rejected(reply(code, text), scope=scope)


def _sender_no(code: int, text: bytes) -> Retry | Rejected | TransportDown | None:
    """Every mail has this sender, so all would fail (but for 552, the size): the operator's affair, not the mail's."""
    if 500 <= code < 600 and code != 552:
        return TransportDown(f"the mail server refuses the sender: {reply(code, text)}")
    return _no(code, text)
