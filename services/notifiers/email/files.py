"""Mails as files in `DATA_DIR/outbox`, for a service without a mail server."""

import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import SMTP
from html import escape
from pathlib import Path
from typing import NamedTuple

from services.errors import NotFound
from services.ports import Outcome, Sent, TransportDown
from services.settings import settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.eml")


class OutboxMail(NamedTuple):
    name: str
    date: datetime
    to: str
    subject: str


class ReadMail(NamedTuple):
    """A mail as `/outbox` shows it. `html` is a whole document for a sandboxed frame."""

    name: str
    headers: tuple[tuple[str, str], ...]
    text: str
    html: str


def folder() -> Path:
    return settings().data_dir / "outbox"


def write(body: bytes, commit: Callable[[], None]) -> Outcome:
    """Writes one mail atomically. A resend replaces the file of the same mail."""
    path = folder() / _file_name(body)
    try:
        temporary = _write_temporary(path, body)
    except OSError as error:
        return _outage(error)
    try:
        commit()
        return _rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _rename(temporary: Path, path: Path) -> Outcome:
    try:
        os.replace(temporary, path)
    except OSError as error:
        return _outage(error)
    return Sent(path.name)


def delete_files(before: datetime) -> int:
    """Deletes the mails written before `before`, and what interrupted writes left; returns how many files."""
    paths = [path for pattern in ("*.eml", ".writing-*") for path in folder().glob(pattern)]
    count = 0
    for path in paths:
        with suppress(OSError):
            if path.stat().st_mtime < before.timestamp():
                path.unlink()
                count += 1
    return count


def probe() -> TransportDown | None:
    """Checks whether files can be written to the folder."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder(), prefix=".check-") as probe:
            probe.write(b"x" * 4096)
            probe.flush()
    except OSError as error:
        return _outage(error)
    return None


def _outage(error: OSError) -> TransportDown:
    return TransportDown(f"cannot write to the outbox: {error.strerror or type(error).__name__}")


def outbox(limit: int = 500) -> list[OutboxMail]:
    """The newest mails in the outbox, newest first. Files with other names are left out."""
    by_age = []
    for path in folder().glob("*.eml"):
        with suppress(OSError):  # Retention may delete a file meanwhile.
            by_age.append((path.stat().st_mtime, path.name))
    mails = (_summary(name, written) for written, name in sorted(by_age, reverse=True)[:limit] if _NAME.fullmatch(name))
    return [mail for mail in mails if mail]


def read_outbox(name: str) -> ReadMail:
    """One mail by the name of its file. Raises NotFound, also for a path outside the folder."""
    if not _NAME.fullmatch(name):
        raise NotFound(f"no mail {name[:100]!r} in the outbox")
    try:
        mail = message_from_bytes((folder() / name).read_bytes(), policy=SMTP)
    except OSError:
        raise NotFound(f"no mail {name!r} in the outbox") from None
    headers = tuple(
        (header, str(value)) for header, value in mail.items() if not header.startswith(("MIME", "Content"))
    )
    return ReadMail(name, headers, _content(mail, "plain"), _content(mail, "html"))


def as_html(body: bytes) -> str:
    """A mail as an HTML document, made of its text when it has no HTML part."""
    mail = message_from_bytes(body, policy=SMTP)
    return _content(mail, "html") or f"<pre>{escape(_content(mail, 'plain'))}</pre>"


def _file_name(body: bytes) -> str:
    """Made of the Message-ID, which every attempt of a delivery shares."""
    local = str(_headers(body)["Message-ID"] or "").strip("<> ").partition("@")[0]
    return (re.sub(r"[^A-Za-z0-9._-]+", "_", local).strip("._-")[:100] or "mail") + ".eml"


def _write_temporary(path: Path, body: bytes) -> Path:
    """A temporary file in the same folder, so that a rename puts it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with open(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(temporary)
        raise
    return Path(temporary)


def _headers(start: bytes) -> EmailMessage:
    return BytesHeaderParser(policy=SMTP).parsebytes(start)


def _summary(name: str, written: float) -> OutboxMail | None:
    try:
        with open(folder() / name, "rb") as file:
            headers = _headers(file.read(16_384))
    except OSError:
        return None
    return OutboxMail(name, datetime.fromtimestamp(written, UTC), str(headers["To"]), str(headers["Subject"]))


def _content(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()) if part else ""
