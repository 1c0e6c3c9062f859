"""Connections to a mail server: encrypted and signed in as asked, and kept while many mails are sent."""

import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.headerregistry import Address
from functools import cache

from services.notifiers.email.config import Server
from services.render import line as one_line
from services.settings import settings

FAILURES = (OSError, smtplib.SMTPException, UnicodeError)
MAX_MAILS = 100
"""On one connection: many servers take no more."""
MAX_REST = 10.0
"""Seconds that a connection may lie idle; servers hang up after some more."""


class ServerUnavailable(Exception):
    """The server, or our standing with it, is no use for any mail now."""


class PoolExhausted(Exception):
    """As many mails are on their way as there may be connections."""


@cache
def tls() -> ssl.SSLContext:
    # Reading the machine's certificates takes longer than the mail.
    return ssl.create_default_context()


def connect(server: Server, sender: Address) -> smtplib.SMTP:
    """A connection that is encrypted as asked and signed in. Raises Down."""
    smtp: smtplib.SMTP | None = None
    timeout, context = server.timeout * settings().time_scale, tls()
    # Left to itself, smtplib asks the resolver for our name, which can take longer than the mail.
    name = sender.domain if "." in sender.domain else "[127.0.0.1]"
    try:
        if server.tls == "implicit":
            smtp = smtplib.SMTP_SSL(server.host, server.port, name, timeout=timeout, context=context)
        else:
            smtp = smtplib.SMTP(server.host, server.port, name, timeout=timeout)
        if smtp.sock:  # Else the dot would wait for the receipt of the body before it.
            smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        smtp.ehlo_or_helo_if_needed()
        _encrypt(smtp, server, context)
        _sign_in(smtp, server)
        return smtp
    except (*FAILURES, ServerUnavailable) as error:
        if smtp:
            smtp.close()
        raise _down(error) from None


def _down(error: Exception) -> ServerUnavailable:
    if isinstance(error, ServerUnavailable):
        return error
    if isinstance(error, smtplib.SMTPConnectError):
        return ServerUnavailable(f"the mail server turns us away: {reply(error.smtp_code, error.smtp_error)}")
    return ServerUnavailable(told("the mail server cannot be reached", error))


def _encrypt(smtp: smtplib.SMTP, server: Server, context: ssl.SSLContext) -> None:
    if server.tls in ("implicit", "none"):
        return
    if smtp.has_extn("starttls"):
        code, text = smtp.starttls(context=context)
        if code != 220:
            raise ServerUnavailable(f"the mail server does not start TLS: {reply(code, text)}")
        smtp.ehlo()
    elif server.tls == "starttls":
        raise ServerUnavailable("the mail server offers no STARTTLS, which PAPERWIRE_SMTP_URL asks for")


def _sign_in(smtp: smtplib.SMTP, server: Server) -> None:
    if not server.user:
        return
    if server.tls != "none" and not isinstance(smtp.sock, ssl.SSLSocket):
        raise ServerUnavailable(
            "the mail server offers no encryption for the password; add tls=none to the URL to send it bare"
        )
    try:
        smtp.login(server.user, server.password.get_secret_value())
    except smtplib.SMTPAuthenticationError as error:
        raise ServerUnavailable(f"the mail server refuses the sign-in ({error.smtp_code})") from None
    except smtplib.SMTPNotSupportedError:
        raise ServerUnavailable("the mail server offers no sign-in that we know") from None


def reply(code: int, text: bytes | str) -> str:
    words = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return one_line(f"{code} {words}", 200)


def told(what: str, error: Exception) -> str:
    """The failure in words of ours: a server's own may repeat what we sent it, passwords too."""
    if isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(error.__context__, OSError):
        error = error.__context__
    if isinstance(error, TimeoutError):
        return f"{what}: timed out"
    if isinstance(error, ssl.SSLError):
        return f"{what}: TLS: {one_line(error.reason or type(error).__name__)}"
    known = error.strerror if isinstance(error, OSError) else None
    return f"{what}: {one_line(known) if known else type(error).__name__}"


# ── kept ──────────────────────────────────────────────────────────────────────────────────────────────────────


class SmtpConnection:
    """One connection, for one mail after the other; `mails` counts those that it was used for."""

    def __init__(self, server: Server, sender: Address) -> None:
        self._server, self._sender = server, sender
        self.smtp, self.mails = connect(server, sender), 0
        self.usable, self.rested_since = False, 0.0

    def renew(self) -> None:
        self.smtp.close()
        self.smtp, self.mails = connect(self._server, self._sender), 0

    def reset(self, *, usable: bool) -> None:
        """After a no: the connection is good for another mail if the server forgets this one."""
        with suppress(*FAILURES):
            self.usable = usable and self.smtp.rset()[0] == 250

    def sent(self, *, usable: bool) -> None:
        self.usable = usable

    def rests(self) -> bool:
        return time.monotonic() - self.rested_since < MAX_REST and self.mails < MAX_MAILS

    def fits(self, server: Server, sender: Address) -> bool:
        return (self._server, self._sender.addr_spec) == (server, sender.addr_spec)

    def close(self) -> None:
        if self.usable:
            # The mails are theirs since the 250, whatever becomes of the farewell.
            with suppress(*FAILURES):
                self.smtp.quit()
        self.smtp.close()


class _Lines:
    """The connections of this process: kept within `reuse_connections`, never more of a server than it may have."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keepers = 0
        self._idle: list[SmtpConnection] = []
        self._room: dict[Server, threading.BoundedSemaphore] = {}

    def room(self, server: Server) -> threading.BoundedSemaphore:
        with self._lock:
            return self._room.setdefault(server, threading.BoundedSemaphore(server.connections))

    def take(self, server: Server, sender: Address) -> SmtpConnection | None:
        """One that rests. Those that do not fit, or have rested too long, are closed."""
        with self._lock:
            good = [one for one in self._idle if one.fits(server, sender) and one.rests()]
            taken = good[-1:]
            closed = [one for one in self._idle if one not in good]
            self._idle = good[:-1]
        for one in closed:
            one.close()
        return taken[0] if taken else None

    def give(self, one: SmtpConnection) -> None:
        one.mails += 1
        one.rested_since = time.monotonic()
        with self._lock:
            keep = one.usable and self._keepers > 0 and one.rests()
            self._idle += [one] if keep else []
        if not keep:
            one.close()

    def keep(self, by: int) -> None:
        """`by` one more who sends many, or one fewer; with the last of them all that rests is closed."""
        with self._lock:
            self._keepers += by
            closed = [] if self._keepers else self._idle
            self._idle = self._idle if self._keepers else []
        for one in closed:
            one.close()


_lines = _Lines()


@contextmanager
def reuse_connections() -> Iterator[None]:
    tls()  # Before every thread that comes first does it.
    _lines.keep(+1)
    try:
        yield
    finally:
        _lines.keep(-1)


@contextmanager
def line(server: Server, sender: Address) -> Iterator[SmtpConnection]:
    """A connection for one mail, kept or new; unless it says that it is usable afterwards, it is closed.

    Raises Down, and Busy when none is free in good time.
    """
    room = _lines.room(server)
    if not room.acquire(timeout=server.timeout * settings().time_scale):
        raise PoolExhausted(f"all {server.connections} connections to the mail server are in use")
    try:
        one = _lines.take(server, sender) or SmtpConnection(server, sender)
        one.usable = False
        try:
            yield one
        finally:
            _lines.give(one)
    finally:
        room.release()
