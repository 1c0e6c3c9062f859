"""Mails that were written to files, for operators: they are everybody's, sign-in links too."""

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
    found = email.read_outbox(name)
    tab = show if show in ("html", "text", "raw") else "html"
    raw = _raw(request, found.name) if tab == "raw" else ""
    return request.render("mail.html", mail=found, tab="text" if tab == "html" and not found.html else tab, raw=raw)


@router.get("/{name}/html")
def mail_html(request: Operator, name: str) -> Response:
    """The mail's own document, for a frame that runs nothing; its links open beside it."""
    html = email.read_outbox(name).html.replace("<head>", '<head><base target="_blank">', 1)
    return HTMLResponse(html, headers={"Content-Security-Policy": MAIL_POLICY})


def _raw(request: RequestContext, name: str) -> str:
    """The file's bytes as text; `name` was read, so it lies in the outbox."""
    path = request.app.settings.data_dir / "outbox" / name
    return path.read_bytes().decode("utf-8", "replace")
