"""Every message that paperwire sends, with sample content, for people who change a template."""

import json
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from services import plugins
from services.domain.digests import samples
from services.domain.digests.digest import Digest
from services.errors import NotFound
from services.ports import Envelope
from services.web.request_context import Operator
from services.web.security_headers import MAIL_POLICY

router = APIRouter(prefix="/templates")
FORMATS = ("html", "text", "slack")
ENVELOPE = Envelope(
    delivery_id=1,
    message_id="<sample@papers.example.org>",
    date=datetime(2025, 5, 27, 6, tzinfo=UTC),
    unsubscribe_url=f"{samples.BASE_URL}/unsubscribe/1-0123456789",
    confirm_url=f"{samples.BASE_URL}/confirm/1-0123456789",
)


@router.get("")
def page(request: Operator, name: str = "digest", show: str = "html") -> Response:
    message = _sample(name)
    tab = show if show in FORMATS else "html"
    source = "" if tab == "html" else _slack(message) if tab == "slack" else mail_part(message, "plain")
    names = list(samples.messages())
    return request.render("templates.html", name=name, names=names, tab=tab, source=source, title=message.title)


@router.get("/{sample}/html")
def html(request: Operator, sample: str) -> Response:
    """The HTML of the mail, for a sandboxed frame."""
    return HTMLResponse(mail_part(_sample(sample), "html"), headers={"Content-Security-Policy": MAIL_POLICY})


def mail_part(message: Digest, kind: str) -> str:
    """The `html` or `plain` part of the mail, as it would be sent."""
    notifier = plugins.notifier("email")
    mail = message_from_bytes(notifier.render(message, ENVELOPE, notifier.parse_target("ada@example.org")), policy=SMTP)
    part = mail.get_body((kind,))
    return str(part.get_content()) if part else ""


def _slack(message: Digest) -> str:
    """The payload for Slack's API, in the form that its Block Kit Builder takes."""
    notifier = plugins.notifier("slack")
    body = notifier.render(message, ENVELOPE, notifier.parse_target("#papers"))
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)


def _sample(name: str) -> Digest:
    message = samples.messages().get(name)
    if message is None:
        raise NotFound(f"there is no template {name[:40]!r}; choose one of {', '.join(samples.messages())}")
    return message
