"""A mail's bytes (RFC 5322), equal for equal content and envelope."""

import hashlib
import re
from binascii import b2a_qp
from email.headerregistry import Address
from email.policy import EmailPolicy
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from services.notifiers.email.config import address, bounce_box, sender
from services.ports import Envelope
from services.render import line, link

MAX_SUBJECT = 200
MAX_LINE = 78
_WORDS = re.compile(r"(?!.*=\?)[!-~]+( [!-~]+)*")
_ADDRESS = re.compile(r"[A-Za-z0-9]+([._+-][A-Za-z0-9]+)*@[A-Za-z0-9.-]+")


class _Policy(EmailPolicy):
    def fold_binary(self, name: str, value: Any) -> bytes:
        """Does not fold List-Unsubscribe: folding encodes a long URL in a way that mail programs do not read."""
        if name == "List-Unsubscribe":
            return f"{name}: {value}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


# Only a local part beyond ASCII needs UTF-8 headers (RFC 6532).
_SEVEN_BITS = _Policy(linesep="\r\n")
_UTF8 = _Policy(linesep="\r\n", utf8=True)


def message(subject: str, text: str, html: str, to: str, envelope: Envelope) -> bytes:
    """A complete mail to one address, as plain text and HTML. `subject` cannot add another header.

    The email package folds the headers only, since building the whole mail with it takes twice as long.
    """
    author, recipient = sender(), address(to)
    policy = _SEVEN_BITS if author.username.isascii() and recipient.username.isascii() else _UTF8
    # The email package makes a random boundary, but a resend must have the same bytes.
    boundary = "=_" + hashlib.sha256(envelope.message_id.encode()).hexdigest()[:32]
    headers = {
        "From": _parts(author),
        "To": _parts(recipient),
        "Subject": line(subject, MAX_SUBJECT),
        "Date": format_datetime(envelope.date),
        "Message-ID": line(envelope.message_id),
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF, AutoReply",  # Exchange does not know the header above
        "List-Id": f"paperwire <alerts.{author.domain}>",
        **_unsubscribe(envelope.unsubscribe_url, author),
        "MIME-Version": "1.0",
    }
    folded = b"".join(_folded(policy, name, value) for name, value in headers.items())
    both = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n\r\n'.encode()
    parts = (_part(boundary, subtype, words) for subtype, words in (("plain", text), ("html", html)))
    return b"".join([folded, both, *parts, f"--{boundary}--\r\n".encode()])


def _parts(author: Address) -> tuple[str, str, str]:
    return author.display_name, author.username, author.domain


@lru_cache(1024)
def _folded(policy: _Policy, name: str, value: str | tuple[str, str, str]) -> bytes:
    """A header; an address is given by its parts. Cached, since most headers are the same in every mail."""
    if plain := _unfolded(value):
        header = f"{name}: {plain}"
        if len(header) <= MAX_LINE:
            return f"{header}\r\n".encode("ascii")
    _, parsed = policy.header_store_parse(name, value if isinstance(value, str) else Address(*value))
    return policy.fold_binary(name, parsed)


def _unfolded(value: str | tuple[str, str, str]) -> str:
    """A value that needs neither encoding nor folding if it fits on a line; empty for any other value.

    The email package would write it unchanged, but takes ten times as long.
    """
    if isinstance(value, str):
        return value if _WORDS.fullmatch(value) else ""
    name, username, domain = value
    spec = f"{username}@{domain}"
    return spec if not name and _ADDRESS.fullmatch(spec) else ""


def _part(boundary: str, subtype: str, words: str) -> bytes:
    head = f'--{boundary}\r\nContent-Type: text/{subtype}; charset="utf-8"\r\n'
    quoted = b2a_qp(f"{words.rstrip()}\n".encode(), istext=True).replace(b"\n", b"\r\n")
    return head.encode() + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted + b"\r\n"


def _unsubscribe(url: str, author: Address) -> dict[str, str]:
    """One-click unsubscribing needs https (RFC 8058); unsubscribing by mail needs a mailbox that is read."""
    usable = link(url)
    if not usable:
        return {}
    one_click = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if usable.startswith("https://") else {}
    token = usable.rpartition("/")[2]
    by_mail = f", <mailto:{quote(author.addr_spec, safe='@')}?subject=unsubscribe%20{token}>" if bounce_box() else ""
    return {"List-Unsubscribe": f"<{usable}>{by_mail}", **one_click}
