"""Reads delivery status notifications (RFC 3464), including those of servers that deviate from the standard."""

import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import MessageError
from email.message import Message
from typing import TYPE_CHECKING

from services.domain.delivery.bounce import status_of
from services.ports import Bounce
from services.render import line

if TYPE_CHECKING:  # Message takes no type parameters at run time.
    _Mail = Message[str, str]
else:
    _Mail = Message

MAX_BYTES = 262_144
"""Bytes of a mail that are read. The report and the returned headers come before the returned body."""
MAX_DIAGNOSTIC = 1000
"""Characters of a server's text that are read."""
# RFC 5322 section 4.5.8. A line that begins with `--` may be a boundary.
_BLANKS_BEFORE_COLON = re.compile(rb"^(?!--)([!-9;-~]{1,100})[ \t]{1,100}:", re.MULTILINE)
_MESSAGE_ID = re.compile(r"<[^<>\s]{3,300}>")
_LINK = re.compile(r"<(https?://[^<>\s]{1,1000})>")
_UNSUBSCRIBE = re.compile(r"unsubscribe ([0-9]{1,18}-[0-9a-f]{40})", re.IGNORECASE)


def read_bounce(body: bytes) -> Bounce | None:
    """The failure that a mail reports. None for other mails, and for reports of a delay or a success."""
    try:
        return _bounce(_parsed(body[:MAX_BYTES]))
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # The mailbox is open to everybody, so a mail may be malformed in any way.


def read_unsubscribe(body: bytes) -> str:
    """The token in the subject of a mail that a mail program sent to unsubscribe; empty for other mails."""
    try:
        match = _UNSUBSCRIBE.fullmatch(_header(_parsed(body[:MAX_BYTES]), "Subject").strip())
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    return match[1] if match else ""


def _parsed(body: bytes) -> _Mail:
    """A mail whose header lines may have blanks before the colon, which Python's parser takes for the body."""
    return message_from_bytes(_BLANKS_BEFORE_COLON.sub(rb"\1:", body))


def _bounce(mail: _Mail) -> Bounce | None:
    if mail.get_content_type() != "multipart/report":
        return None
    parts = list(mail.walk())
    recipients = [block for part in parts for block in _recipients(part)]
    failed = [block for block in recipients if _header(block, "Action").partition("(")[0].strip().lower() == "failed"]
    if not failed:
        return None
    status, diagnostic = _header(failed[0], "Status"), _header(failed[0], "Diagnostic-Code")
    returned = next((headers for part in parts if (headers := _returned(part)) is not None), None)
    # Some servers return no headers but reply to the mail. Some relays replace its Message-ID but not its links.
    ids = [_header(returned, "Message-ID")] if returned else []
    ids += [_header(mail, "In-Reply-To"), _header(mail, "References")]
    links = _LINK.findall(_header(returned, "List-Unsubscribe")) if returned else []
    return Bounce(
        message_ids=tuple(dict.fromkeys(id for text in ids for id in _MESSAGE_ID.findall(text)))[:20],
        links=tuple(links)[:5],
        status=status_of(status, diagnostic),
        diagnostic=line(diagnostic.partition(";")[2] or diagnostic, MAX_DIAGNOSTIC),
    )


def _recipients(part: _Mail) -> Iterator[_Mail]:
    """The blocks of a status report that are about a recipient. The first block is about the message."""
    if part.get_content_type() != "message/delivery-status":
        return
    blocks = [block for block in part.get_payload() if isinstance(block, Message)]
    encoding = _header(part, "Content-Transfer-Encoding").strip().lower()
    if encoding in ("base64", "quoted-printable"):
        blocks = _decoded(blocks, encoding)
    for block in blocks:
        if "Action" in block or "Status" in block:
            yield block


def _decoded(blocks: list[_Mail], encoding: str) -> list[_Mail]:
    """The blocks of an encoded report, which the parser does not decode, since RFC 3464 requires seven bits."""
    report: _Mail = Message()
    report["Content-Transfer-Encoding"] = encoding
    report.set_payload("\n\n".join(block.as_string() for block in blocks))
    return [_parsed((block.strip() + "\n\n").encode()) for block in re.split(r"\n[ \t]*\n", _text(report))]


def _returned(part: _Mail) -> _Mail | None:
    """The headers of the returned mail."""
    kind = part.get_content_type()
    if kind == "message/rfc822":
        payload = part.get_payload()
        inner = payload[0] if isinstance(payload, list) and payload else None
        return inner if isinstance(inner, Message) else None
    if kind in ("text/rfc822-headers", "message/rfc822-headers"):
        return _parsed(_text(part).lstrip().encode())
    return None


def _text(part: _Mail) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", "replace").replace("\r\n", "\n") if isinstance(payload, bytes) else ""


def _header(mail: _Mail, name: str) -> str:
    return " ".join(str(mail.get(name, "")).split())
