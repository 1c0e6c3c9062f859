"""Mails that were written to files. For operators only, since they contain the mails of all accounts."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from services.notifiers import email
from services.web.request_context import Operator, RequestContext
from services.web.security_headers import MAIL_POLICY

router = APIRouter(prefix="/outbox")


@router.get("")
def page(request: Operator) -> Response:
    by_server = bool(email.email_settings().smtp_url.get_secret_value())
    return request.render("outbox.html", mails=email.outbox(), by_server=by_server)


@router.get("/{name}")
def mail(request: Operator, name: str, show: str = "html") -> Response:
    message = email.read_outbox(name)
    tab = show if show in ("html", "text", "raw") else "html"
    raw = _raw(request, message.name) if tab == "raw" else ""
    return request.render("mail.html", mail=message, tab="text" if tab == "html" and not message.html else tab, raw=raw)


@router.get("/{name}/html")
def mail_html(request: Operator, name: str) -> Response:
    """The HTML of the mail, for a sandboxed frame. Its links open in a new tab."""
    html = email.read_outbox(name).html.replace("<head>", '<head><base target="_blank">', 1)
    return HTMLResponse(html, headers={"Content-Security-Policy": MAIL_POLICY})


def _raw(request: RequestContext, name: str) -> str:
    """The content of the file. The caller has read the mail, so `name` is a file of the outbox."""
    path = request.app.settings.data_dir / "outbox" / name
    return path.read_bytes().decode("utf-8", "replace")
