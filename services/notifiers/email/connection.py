"""Connections to a mail server: encrypted and authenticated as configured, and reused for several mails."""

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
"""Mails on one connection; many servers accept no more."""
IDLE_TIMEOUT_SECONDS = 10.0
"""After this time a connection is not reused, since servers close idle connections not much later."""


class ServerUnavailable(Exception):
    """The server cannot be reached, or accepts no mail from us at present."""


class PoolExhausted(Exception):
    """All connections that the settings allow are in use."""


@cache
def tls() -> ssl.SSLContext:
    # Loading the system's certificates takes longer than sending a mail.
    return ssl.create_default_context()


def connect(server: Server, sender: Address) -> smtplib.SMTP:
    """A new connection, encrypted as configured and authenticated. Raises ServerUnavailable."""
    smtp: smtplib.SMTP | None = None
    timeout, context = server.timeout * settings().time_scale, tls()
    # Without a name smtplib asks the resolver for the host's name, which can take longer than the mail.
    name = sender.domain if "." in sender.domain else "[127.0.0.1]"
    try:
        if server.tls == "implicit":
            smtp = smtplib.SMTP_SSL(server.host, server.port, name, timeout=timeout, context=context)
        else:
            smtp = smtplib.SMTP(server.host, server.port, name, timeout=timeout)
        if smtp.sock:  # With Nagle's algorithm the final dot would wait until the body is acknowledged.
            smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        smtp.ehlo_or_helo_if_needed()
        _encrypt(smtp, server, context)
        _sign_in(smtp, server)
        return smtp
    except (*FAILURES, ServerUnavailable) as error:
        if smtp:
            smtp.close()
        raise _unavailable(error) from None


def _unavailable(error: Exception) -> ServerUnavailable:
    if isinstance(error, ServerUnavailable):
        return error
    if isinstance(error, smtplib.SMTPConnectError):
        return ServerUnavailable(f"the mail server refuses the connection: {reply(error.smtp_code, error.smtp_error)}")
    return ServerUnavailable(describe_error("the mail server cannot be reached", error))


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
            "the mail server offers no encryption for the password; add tls=none to the URL to send it unencrypted"
        )
    try:
        smtp.login(server.user, server.password.get_secret_value())
    except smtplib.SMTPAuthenticationError as error:
        raise ServerUnavailable(f"the mail server refuses the sign-in ({error.smtp_code})") from None
    except smtplib.SMTPNotSupportedError:
        raise ServerUnavailable("the mail server offers no authentication method that smtplib knows") from None


def reply(code: int, text: bytes | str) -> str:
    message = text if isinstance(text, str) else text.decode("utf-8", "replace")
    return one_line(f"{code} {message}", 200)


def describe_error(what: str, error: Exception) -> str:
    """The failure without the server's text, which may repeat what was sent to it, such as a password."""
    if isinstance(error, smtplib.SMTPServerDisconnected) and isinstance(error.__context__, OSError):
        error = error.__context__
    if isinstance(error, TimeoutError):
        return f"{what}: timed out"
    if isinstance(error, ssl.SSLError):
        return f"{what}: TLS: {one_line(error.reason or type(error).__name__)}"
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{what}: {one_line(reason) if reason else type(error).__name__}"


# ── the pool ──────────────────────────────────────────────────────────────────────────────────────────────────


class SmtpConnection:
    """A connection that sends one mail after the other; `mails` counts them."""

    def __init__(self, server: Server, sender: Address) -> None:
        self._server, self._sender = server, sender
        self.smtp, self.mails = connect(server, sender), 0
        self.usable, self.idle_since = False, 0.0

    def renew(self) -> None:
        self.smtp.close()
        self.smtp, self.mails = connect(self._server, self._sender), 0

    def reset(self, *, usable: bool) -> None:
        """After a rejection: the connection is usable for another mail if the server accepts RSET."""
        with suppress(*FAILURES):
            self.usable = usable and self.smtp.rset()[0] == 250

    def may_be_reused(self) -> bool:
        return time.monotonic() - self.idle_since < IDLE_TIMEOUT_SECONDS and self.mails < MAX_MAILS

    def belongs_to(self, server: Server, sender: Address) -> bool:
        return (self._server, self._sender.addr_spec) == (server, sender.addr_spec)

    def close(self) -> None:
        if self.usable:
            # The server has accepted the mails with 250. Whether QUIT works makes no difference.
            with suppress(*FAILURES):
                self.smtp.quit()
        self.smtp.close()


class _ConnectionPool:
    """The connections of this process, never more to a server than its settings allow.

    Idle connections are kept only while `reuse_connections` is active.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reusers = 0
        self._idle: list[SmtpConnection] = []
        self._slots: dict[Server, threading.BoundedSemaphore] = {}

    def slots(self, server: Server) -> threading.BoundedSemaphore:
        with self._lock:
            return self._slots.setdefault(server, threading.BoundedSemaphore(server.connections))

    def take(self, server: Server, sender: Address) -> SmtpConnection | None:
        """An idle connection, if there is one. Closes those of another server and those that were idle too long."""
        with self._lock:
            reusable = [idle for idle in self._idle if idle.belongs_to(server, sender) and idle.may_be_reused()]
            taken = reusable[-1:]
            closed = [idle for idle in self._idle if idle not in reusable]
            self._idle = reusable[:-1]
        for connection in closed:
            connection.close()
        return taken[0] if taken else None

    def put_back(self, connection: SmtpConnection) -> None:
        connection.mails += 1
        connection.idle_since = time.monotonic()
        with self._lock:
            keep = connection.usable and self._reusers > 0 and connection.may_be_reused()
            self._idle += [connection] if keep else []
        if not keep:
            connection.close()

    def count_reusers(self, change: int) -> None:
        """Adds `change` to the number of active `reuse_connections`; at 0 the idle connections are closed."""
        with self._lock:
            self._reusers += change
            closed = [] if self._reusers else self._idle
            self._idle = self._idle if self._reusers else []
        for connection in closed:
            connection.close()


_pool = _ConnectionPool()


@contextmanager
def reuse_connections() -> Iterator[None]:
    tls()  # Loads the certificates once, before several threads need them.
    _pool.count_reusers(+1)
    try:
        yield
    finally:
        _pool.count_reusers(-1)


@contextmanager
def borrow(server: Server, sender: Address) -> Iterator[SmtpConnection]:
    """A connection for one mail, idle or new. It is closed afterwards unless it is marked as usable.

    Raises ServerUnavailable, and PoolExhausted when no connection gets free in time.
    """
    slots = _pool.slots(server)
    if not slots.acquire(timeout=server.timeout * settings().time_scale):
        raise PoolExhausted(f"all {server.connections} connections to the mail server are in use")
    try:
        connection = _pool.take(server, sender) or SmtpConnection(server, sender)
        connection.usable = False
        try:
            yield connection
        finally:
            _pool.put_back(connection)
    finally:
        slots.release()
