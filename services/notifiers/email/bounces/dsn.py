"""Reading what a mail server sends back: delivery status notifications (RFC 3464), as servers really write them."""

import re
from collections.abc import Iterator
from email import message_from_bytes, message_from_string
from email.errors import MessageError
from email.message import Message
from typing import TYPE_CHECKING

from services.domain.delivery.bounce import status_of
from services.ports import Bounce
from services.render import line

if TYPE_CHECKING:  # it takes no parameters when it runs
    _Mail = Message[str, str]
else:
    _Mail = Message

LARGEST = 262_144
"""Bytes of a mail that are read: the report and the returned headers stand in front of the returned body."""
_MESSAGE_ID = re.compile(r"<[^<>\s]{3,300}>")
_LINK = re.compile(r"<(https?://[^<>\s]{1,1000})>")
_ASKED = re.compile(r"unsubscribe ([0-9]{1,18}-[0-9a-f]{40})", re.IGNORECASE)


def read_bounce(body: bytes) -> Bounce | None:
    """The failure that a mail reports; None for any other mail, and for a report of delay or success."""
    try:
        return _bounce(message_from_bytes(body[:LARGEST]))
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # Anybody can send anything to this mailbox.


def read_unsubscribe(body: bytes) -> str:
    """The token in the subject of a mail that a mail program sent to unsubscribe; else empty."""
    try:
        match = _ASKED.fullmatch(_header(message_from_bytes(body[:LARGEST]), "Subject").strip())
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    return match[1] if match else ""


def _bounce(mail: _Mail) -> Bounce | None:
    if mail.get_content_type() != "multipart/report":
        return None
    parts = list(mail.walk())
    failed = [one for part in parts for one in _recipients(part) if _header(one, "Action").strip().lower() == "failed"]
    if not failed:
        return None
    status, diagnostic = _header(failed[0], "Status"), _header(failed[0], "Diagnostic-Code")
    returned = next((found for part in parts if (found := _returned(part)) is not None), None)
    # Some servers return nothing, but answer to the mail; some relays give it another id, but leave its links alone.
    ids = [_header(returned, "Message-ID")] if returned else []
    ids += [_header(mail, "In-Reply-To"), _header(mail, "References")]
    links = _LINK.findall(_header(returned, "List-Unsubscribe")) if returned else []
    return Bounce(
        message_ids=tuple(dict.fromkeys(found for text in ids for found in _MESSAGE_ID.findall(text)))[:20],
        links=tuple(links)[:5],
        status=status_of(status, diagnostic),
        diagnostic=line(diagnostic.partition(";")[2] or diagnostic, 200),
    )


def _recipients(part: _Mail) -> Iterator[_Mail]:
    """The blocks of a status report that are about a recipient; the first is about the message."""
    if part.get_content_type() != "message/delivery-status":
        return
    blocks = [one for one in part.get_payload() if isinstance(one, Message)]
    encoding = _header(part, "Content-Transfer-Encoding").strip().lower()
    if encoding in ("base64", "quoted-printable"):
        blocks = _decoded(blocks, encoding)
    for block in blocks:
        if "Action" in block or "Status" in block:
            yield block


def _decoded(blocks: list[_Mail], encoding: str) -> list[_Mail]:
    """RFC 3464 wants seven bits, and the parser takes what is encoded for a block with a body."""
    whole: _Mail = Message()
    whole["Content-Transfer-Encoding"] = encoding
    whole.set_payload("\n\n".join(block.as_string() for block in blocks))
    return [message_from_string(block.strip() + "\n\n") for block in re.split(r"\n[ \t]*\n", _text(whole))]


def _returned(part: _Mail) -> _Mail | None:
    """The headers of the mail that came back."""
    kind = part.get_content_type()
    if kind == "message/rfc822":
        payload = part.get_payload()
        inner = payload[0] if isinstance(payload, list) and payload else None
        return inner if isinstance(inner, Message) else None
    if kind in ("text/rfc822-headers", "message/rfc822-headers"):
        return message_from_string(_text(part).lstrip())
    return None


def _text(part: _Mail) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", "replace").replace("\r\n", "\n") if isinstance(payload, bytes) else ""


def _header(mail: _Mail, name: str) -> str:
    return " ".join(str(mail.get(name, "")).split())
