"""The mailbox that returned mails arrive in: IMAP, or a Maildir on this machine. What was read is marked as seen."""

import imaplib
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from services.errors import ConfigError
from services.notifiers.email.bounces.dsn import LARGEST
from services.ports import Mailbox
from services.settings import settings

TIMEOUT = 30.0
_PORTS = {"imaps": 993, "imap": 143}


class Box(NamedTuple):
    """Where the mailbox is; `tls` is `implicit`, `starttls` or `none`. Without a host `folder` is a Maildir's path."""

    host: str
    port: int
    user: str
    password: SecretStr
    folder: str
    tls: str


def parse_bounce_url(url: str) -> Box:
    """Reads `imaps://user:pass@host/INBOX`, `imap://…` (STARTTLS, else `?tls=none`), `maildir:///path`.

    Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme == "maildir" and parts.path.startswith("/") and not parts.netloc:
        return Box("", 0, "", SecretStr(""), unquote(parts.path), "none")
    if parts.scheme not in _PORTS or not parts.hostname or not parts.username or parts.query not in ("", "tls=none"):
        raise ValueError("must read imaps://user:password@host/INBOX, imap://… or maildir:///path")
    try:
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError("its port must be a number") from None
    folder = unquote(parts.path.strip("/")) or "INBOX"
    if not folder.isprintable():
        raise ValueError("its folder must be printable")
    return Box(
        parts.hostname, port, unquote(parts.username), SecretStr(unquote(parts.password or "")), folder,
        "implicit" if parts.scheme == "imaps" else parts.query.partition("=")[2] or "starttls",
    )  # fmt: skip


@contextmanager
def opened(box: Box) -> Iterator[Mailbox]:
    """Raises ConfigError when the mailbox cannot be read, in words without secrets."""
    try:
        if not box.host:
            yield _Maildir(Path(box.folder))
            return
        with _connected(box) as connection:
            yield _Imap(connection, box.folder)
    except imaplib.IMAP4.error:
        raise ConfigError("PAPERWIRE_BOUNCE_URL: the server refuses the sign-in, the folder or a command") from None
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"PAPERWIRE_BOUNCE_URL: the mailbox cannot be read: {why}") from None


@contextmanager
def _connected(box: Box) -> Iterator[imaplib.IMAP4]:
    timeout = TIMEOUT * settings().time_scale
    context = ssl.create_default_context()
    if box.tls == "implicit":
        connection: imaplib.IMAP4 = imaplib.IMAP4_SSL(box.host, box.port, ssl_context=context, timeout=timeout)
    else:
        connection = imaplib.IMAP4(box.host, box.port, timeout=timeout)
    try:
        if box.tls == "starttls":
            connection.starttls(context)
        connection.login(box.user, box.password.get_secret_value())
        yield connection
    finally:
        with suppress(imaplib.IMAP4.error, OSError):
            connection.logout()
        with suppress(imaplib.IMAP4.error, OSError):
            connection.shutdown()  # which a logout that fails leaves out


class _Imap:
    def __init__(self, connection: imaplib.IMAP4, folder: str) -> None:
        self._connection = connection
        quoted = '"' + re.sub(r'(["\\])', r"\\\1", folder) + '"'
        self._done(connection.select(quoted))

    def unread(self, most: int) -> list[str]:
        found = self._done(self._connection.uid("SEARCH", "UNSEEN"))
        return [key for key in b" ".join(filter(None, found)).decode().split() if key.isdigit()][:most]

    def body(self, key: str) -> bytes:
        found = self._done(self._connection.uid("FETCH", key, f"(BODY.PEEK[]<0.{LARGEST}>)"))
        return next((bytes(one[1]) for one in found if isinstance(one, tuple)), b"")

    def seen(self, key: str) -> None:
        self._done(self._connection.uid("STORE", key, "+FLAGS.SILENT", r"(\Seen)"))

    def _done(self, answer: tuple[str, list[Any]]) -> list[Any]:
        if answer[0] != "OK":
            raise imaplib.IMAP4.error("refused")
        return answer[1]


class _Maildir:
    def __init__(self, path: Path) -> None:
        self._new, self._cur = path / "new", path / "cur"
        self._new.stat()

    def unread(self, most: int) -> list[str]:
        found = [one for one in self._new.iterdir() if one.is_file() and not one.name.startswith(".")]
        return [one.name for one in sorted(found, key=lambda one: (one.stat().st_mtime, one.name))[:most]]

    def body(self, key: str) -> bytes:
        with open(self._new / key, "rb") as file:
            return file.read(LARGEST)

    def seen(self, key: str) -> None:
        (self._new / key).rename(self._cur / f"{key.partition(':')[0]}:2,S")
