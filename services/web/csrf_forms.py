"""What a form posted, after it proved that it is one of ours."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from services.errors import ConfigError
from services.settings import Settings
from services.web.request_context import RequestContext, anyone

MAX_BYTES = 100_000


class Form:
    """The posted fields, each as stripped text."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def text(self, name: str, default: str = "") -> str:
        # PostgreSQL's text takes no NUL, and nobody types one.
        return next((value.replace("\0", "").strip() for key, value in self._fields if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._fields if key == name]

    def number(self, name: str, default: int = 0) -> int:
        """A whole number from 0 to a million. Raises ConfigError naming the field."""
        text = self.text(name) or str(default)
        if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text) <= 1_000_000):
            raise ConfigError(f"{name.replace('_', ' ')}: {text[:40]!r} is no whole number")
        return int(text)


async def posted(http: Request, request: Annotated[RequestContext, Depends(anyone)]) -> Form:
    """Reads a form; refuses one that another site sent (Origin), that lacks the session's token, or is too large."""
    if not is_same_origin(http, request.app.settings):
        raise HTTPException(403, "This form came from another site, so nothing was done.")
    length = http.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_BYTES:
        raise HTTPException(413, "This form is too large.")
    fields = [(key, value) for key, value in (await http.form()).multi_items() if isinstance(value, str)]
    form = Form(fields)
    if not request.app.sessions.is_form_token(form.text("token"), request.session):
        raise HTTPException(403, "This form is too old, or its cookie is gone. Go back, reload the page, try again.")
    return form


def is_same_origin(request: Request, settings: Settings) -> bool:
    """Whether the `Origin`, which every browser states in a POST, is the base URL's or the host asked for."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    known = urlsplit(settings.base_url)
    ours = (f"{known.scheme}://{known.netloc}", *((f"http://{host}", f"https://{host}") if host else ()))
    return origin in ours


Posted = Annotated[Form, Depends(posted)]
