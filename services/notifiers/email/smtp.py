"""One mail over SMTP, step by step, so that each failure is known to lie before or after the point of no return."""

import re
import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from email.headerregistry import Address
from functools import cache

from services.domain.bounce import is_hard, status_of
from services.notifiers.email.config import Server
from services.ports import Held, Outcome, Refused, Retry, Sent, Unknown
from services.render import line
from services.settings import settings

FINAL_DOT_TIMEOUT = 600.0
"""RFC 5321 §4.5.3.2.6; whoever waits less sends twice (RFC 1047)."""
_FAILURES = (OSError, smtplib.SMTPException, UnicodeError)


class _Down(Exception):
    """The server, or our standing with it, is no use for any mail now."""


def deliver(body: bytes, sender: Address, recipient: Address, server: Server, commit: Callable[[], None]) -> Outcome:
    """Sends one mail to one address; `commit` comes between the recipient's acceptance and DATA."""
    try:
        smtp = _connect(server, sender)
    except _Down as down:
        return Held(str(down))
    try:
        no = _envelope(smtp, body, sender, recipient)
        if no:
            return no
        commit()
        return _data(smtp, body)
    finally:
        smtp.close()


def check(server: Server, sender: Address) -> Held | None:
    """Whether the server lets us in and takes our sender, without a mail."""
    try:
        smtp = _connect(server, sender)
    except _Down as down:
        return Held(str(down))
    try:
        no = _sender_no(*smtp.mail(sender.addr_spec))
        return no if isinstance(no, Held) else None
    except _FAILURES as error:
        return Held(_told("the mail server broke off", error))
    finally:
        smtp.close()


@cache
def tls() -> ssl.SSLContext:
    # Reading the machine's certificates takes longer than the mail.
    return ssl.create_default_context()


def _connect(server: Server, sender: Address) -> smtplib.SMTP:
    """A connection that is encrypted as asked and signed in. Raises _Down."""
    smtp: smtplib.SMTP | None = None
    timeout, context = server.timeout * settings().time_scale, tls()
    # Left to itself, smtplib asks the resolver for our name, which can take longer than the mail.
    name = sender.domain if "." in sender.domain else "[127.0.0.1]"
    try:
        if server.tls == "implicit":
            smtp = smtplib.SMTP_SSL(server.host, server.port, name, timeout=timeout, context=context)
        else:
            smtp = smtplib.SMTP(server.host, server.port, name, timeout=timeout)
        smtp.ehlo_or_helo_if_needed()
        _encrypt(smtp, server, context)
        _sign_in(smtp, server)
        return smtp
    except (*_FAILURES, _Down) as error:
        if smtp:
            smtp.close()
        raise _down(error) from None


def _down(error: Exception) -> _Down:
    if isinstance(error, _Down):
        return error
    if isinstance(error, smtplib.SMTPConnectError):
        return _Down(f"the mail server turns us away: {_reply(error.smtp_code, error.smtp_error)}")
    return _Down(_told("the mail server cannot be reached", error))


def _encrypt(smtp: smtplib.SMTP, server: Server, context: ssl.SSLContext) -> None:
    if server.tls in ("implicit", "none"):
        return
    if smtp.has_extn("starttls"):
        code, text = smtp.starttls(context=context)
        if code != 220:
            raise _Down(f"the mail server does not start TLS: {_reply(code, text)}")
        smtp.ehlo()
    elif server.tls == "starttls":
        raise _Down("the mail server offers no STARTTLS, which PAPERWIRE_SMTP_URL asks for")


def _sign_in(smtp: smtplib.SMTP, server: Server) -> None:
    if not server.user:
        return
    if server.tls != "none" and not isinstance(smtp.sock, ssl.SSLSocket):
        raise _Down("the mail server offers no encryption for the password; add tls=none to the URL to send it bare")
    try:
        smtp.login(server.user, server.password.get_secret_value())
    except smtplib.SMTPAuthenticationError as error:
        raise _Down(f"the mail server refuses the sign-in ({error.smtp_code})") from None
    except smtplib.SMTPNotSupportedError:
        raise _Down("the mail server offers no sign-in that we know") from None


def _envelope(smtp: smtplib.SMTP, body: bytes, sender: Address, recipient: Address) -> Outcome | None:
    """MAIL and RCPT: None when both are accepted. Whatever goes wrong here, nothing was sent."""
    utf8 = not (sender.username.isascii() and recipient.username.isascii())
    if utf8 and not smtp.has_extn("smtputf8"):
        return Refused("the mail server takes no addresses beyond ASCII (SMTPUTF8)", scope="channel")
    options = [f"SIZE={len(body)}"] if smtp.has_extn("size") else []
    options += ["BODY=8BITMIME"] if smtp.has_extn("8bitmime") and not body.isascii() else []
    options += ["SMTPUTF8"] if utf8 else []
    try:
        return _sender_no(*smtp.mail(sender.addr_spec, options)) or _no(*smtp.rcpt(recipient.addr_spec))
    except _FAILURES as error:
        return Retry(_told("the mail server broke off before the mail", error))


def _data(smtp: smtplib.SMTP, body: bytes) -> Outcome:
    """DATA, the body and the dot; only from the dot on is silence uncertain."""
    try:
        code, text = smtp.docmd("DATA")
        if code != 354:
            return _no(code, text) or Retry(_reply(code, text))
        smtp.send(_stuffed(body))
        if smtp.sock:
            smtp.sock.settimeout(FINAL_DOT_TIMEOUT * settings().time_scale)
    except _FAILURES as error:
        return Retry(_told("the mail server broke off within the mail", error))
    try:
        smtp.send(b".\r\n")
        code, text = smtp.getreply()
    except _FAILURES as error:
        return Unknown(_told("no answer after the mail", error))
    if not 200 <= code < 600:
        return Unknown(f"no answer after the mail but {_reply(code, text)}")
    no = _no(code, text)
    if no is None:
        _quit(smtp)
    return no or Sent(_reply(code, text))


def _stuffed(body: bytes) -> bytes:
    """CRLF line ends and doubled leading dots (RFC 5321 §4.5.2)."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", body.removesuffix(b"\r\n") + b"\r\n")
    return re.sub(rb"(?m)^\.", b"..", lines)


def _no(code: int, text: bytes) -> Retry | Refused | None:
    """What a reply that is no yes means, by its code alone; what is no SMTP may pass."""
    if 200 <= code < 300:
        return None
    if not 500 <= code < 600:
        return Retry(_reply(code, text))
    scope = "channel" if is_hard(status_of(text.decode("latin-1"))) else "delivery"
    return Refused(_reply(code, text), scope=scope)


def _sender_no(code: int, text: bytes) -> Retry | Refused | Held | None:
    """Every mail has this sender, so all would fail (but for 552, the size): the operator's affair, not the mail's."""
    if 500 <= code < 600 and code != 552:
        return Held(f"the mail server refuses the sender: {_reply(code, text)}")
    return _no(code, text)


def _quit(smtp: smtplib.SMTP) -> None:
    # The mail is theirs since the 250, whatever becomes of the farewell.
    with suppress(*_FAILURES):
        smtp.quit()


def _reply(code: int, text: bytes | str) -> str:
    words = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return line(f"{code} {words}", 200)


def _told(what: str, error: Exception) -> str:
    """The failure in words of ours: a server's own may repeat what we sent it, passwords too."""
    if isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(error.__context__, OSError):
        error = error.__context__
    if isinstance(error, TimeoutError):
        return f"{what}: timed out"
    if isinstance(error, ssl.SSLError):
        return f"{what}: TLS: {line(error.reason or type(error).__name__)}"
    return f"{what}: {line(error.strerror) if isinstance(error, OSError) and error.strerror else type(error).__name__}"
