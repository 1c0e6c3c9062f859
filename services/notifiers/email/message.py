"""A mail's bytes after RFC 5322: the same ones for the same words and envelope."""

import hashlib
from binascii import b2a_qp
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any
from urllib.parse import quote

from services.notifiers.email.config import address, bounce_box, sender
from services.ports import Envelope
from services.render import line, link

LONGEST_SUBJECT = 200


class _Policy(EmailPolicy):
    def fold_binary(self, name: str, value: Any) -> bytes:
        """Folding turns a long URL into encoded words, which no mail program's unsubscribe button reads."""
        if name == "List-Unsubscribe":
            return f"{name}: {value}{self.linesep}".encode("ascii")
        return super().fold_binary(name, value)


# A local part beyond ASCII has no other form than UTF-8 headers; all else fits into seven bits.
_SEVEN_BITS = _Policy(linesep="\r\n")
_UTF8 = _Policy(linesep="\r\n", utf8=True)


def message(subject: str, text: str, html: str, to: str, envelope: Envelope) -> bytes:
    """A complete mail to one address, plain text and HTML; whatever `subject` holds, it stays one header."""
    author, recipient = sender(), address(to)
    mail = EmailMessage(policy=_SEVEN_BITS if author.username.isascii() and recipient.username.isascii() else _UTF8)
    mail["From"] = author
    mail["To"] = recipient
    mail["Subject"] = line(subject, LONGEST_SUBJECT)
    mail["Date"] = envelope.date
    mail["Message-ID"] = line(envelope.message_id)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "OOF, AutoReply"  # Exchange does not know the header above
    mail["List-Id"] = f"paperwire <alerts.{author.domain}>"
    for name, value in _unsubscribe(envelope.unsubscribe_url, author).items():
        mail[name] = value
    for subtype, words in (("plain", text), ("html", html)):
        mail.add_alternative("", subtype=subtype, cte="quoted-printable")
        # As the library would in Python, a tenth of all that a digest costs.
        quoted = b2a_qp(f"{words.rstrip()}\n".encode(), istext=True).decode("ascii")
        *_, part = mail.iter_parts()
        part.set_payload(quoted)
    # The default boundary is random, and a resend must not differ in a byte.
    mail.set_boundary("=_" + hashlib.sha256(envelope.message_id.encode()).hexdigest()[:32])
    return mail.as_bytes()


def _unsubscribe(url: str, author: Address) -> dict[str, str]:
    """One click is offered for https alone: RFC 8058 knows no other. By mail where somebody reads it."""
    usable = link(url)
    if not usable:
        return {}
    one_click = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"} if usable.startswith("https://") else {}
    token = usable.rpartition("/")[2]
    by_mail = f", <mailto:{quote(author.addr_spec, safe='@')}?subject=unsubscribe%20{token}>" if bounce_box() else ""
    return {"List-Unsubscribe": f"<{usable}>{by_mail}", **one_click}
