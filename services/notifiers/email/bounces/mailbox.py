"""The mailbox that returned mails arrive in, by IMAP or in a Maildir. Read mails are marked as seen."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from imaplib import IMAP4
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from services.domain.http.hostname import ascii_host
from services.errors import ConfigError
from services.notifiers.email.bounces.dsn import MAX_BYTES
from services.ports import Mailbox
from services.settings import settings

if TYPE_CHECKING:
    from imapclient import IMAPClient

TIMEOUT_SECONDS = 30.0
_PORTS = {"imaps": 993, "imap": 143}


class Box(NamedTuple):
    """The address of the mailbox. `tls` is `implicit`, `starttls` or `none`. An empty host: `folder` is a Maildir."""

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
        host, port = ascii_host(parts.hostname), parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError("its port must be a number, and its host the name of a host") from None
    folder = unquote(parts.path.strip("/")) or "INBOX"
    if not folder.isprintable():
        raise ValueError("its folder must be printable")
    return Box(
        host, port, unquote(parts.username), SecretStr(unquote(parts.password or "")), folder,
        "implicit" if parts.scheme == "imaps" else parts.query.partition("=")[2] or "starttls",
    )  # fmt: skip


@contextmanager
def opened(box: Box) -> Iterator[Mailbox]:
    """Raises ConfigError, without secrets in its text, when the mailbox cannot be read."""
    try:
        if not box.host:
            yield _Maildir(Path(box.folder))
            return
        with _connect(box) as client:
            _sign_in(client, box)
            yield _Imap(client, box.folder)
    except IMAP4.error:  # IMAPClient's own errors are subclasses of it
        raise ConfigError("PAPERWIRE_BOUNCE_URL: the server refuses the sign-in, the folder or a command") from None
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"PAPERWIRE_BOUNCE_URL: the mailbox cannot be read: {why}") from None


def _connect(box: Box) -> "IMAPClient":
    from imapclient import IMAPClient  # here: its import takes 11 ms, and only a worker reads the mailbox

    client = IMAPClient(
        box.host,
        box.port,
        ssl=box.tls == "implicit",
        ssl_context=ssl.create_default_context(),
        timeout=TIMEOUT_SECONDS * settings().time_scale,
    )
    client.folder_encode = False  # the URL names the folder as the server does
    return client


def _sign_in(client: "IMAPClient", box: Box) -> None:
    if box.tls == "starttls":
        client.starttls(client.ssl_context)
    client.login(box.user, box.password.get_secret_value())


class _Imap:
    def __init__(self, client: "IMAPClient", folder: str) -> None:
        self._client = client
        with _protocol_errors():
            client.select_folder(folder)

    def unread(self, most: int) -> list[str]:
        with _protocol_errors():
            return [str(uid) for uid in self._client.search("UNSEEN")[:most]]

    def body(self, key: str) -> bytes:
        with _protocol_errors():
            answers = self._client.fetch(int(key), [f"BODY.PEEK[]<0.{MAX_BYTES}>"])
        parts = answers.get(int(key), {}).items()
        return next((part for name, part in parts if name.startswith(b"BODY[") and isinstance(part, bytes)), b"")

    def seen(self, key: str) -> None:
        self._client.add_flags(int(key), [rb"\Seen"], silent=True)


@contextmanager
def _protocol_errors() -> Iterator[None]:
    """IMAPClient raises the errors of its parser on an answer that is not IMAP."""
    try:
        yield
    except UnicodeError:  # of a folder's name that is not ASCII
        raise
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise IMAP4.error("not IMAP") from error


class _Maildir:
    def __init__(self, path: Path) -> None:
        self._new, self._cur = path / "new", path / "cur"
        self._new.stat()

    def unread(self, most: int) -> list[str]:
        mails = [path for path in self._new.iterdir() if path.is_file() and not path.name.startswith(".")]
        return [path.name for path in sorted(mails, key=lambda path: (path.stat().st_mtime, path.name))[:most]]

    def body(self, key: str) -> bytes:
        with open(self._new / key, "rb") as file:
            return file.read(MAX_BYTES)

    def seen(self, key: str) -> None:
        (self._new / key).rename(self._cur / f"{key.partition(':')[0]}:2,S")
