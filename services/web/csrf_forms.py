"""Posted forms, checked against cross-site request forgery."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from services.errors import ConfigError
from services.settings import Settings
from services.store.db import change_log
from services.web.request_context import RequestContext, anyone

MAX_FORM_BYTES = 100_000


class Form:
    """The posted fields, each as stripped text."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = [(_storable(key), _storable(value)) for key, value in fields]

    def text(self, name: str, default: str = "") -> str:
        return next((value.strip() for key, value in self._fields if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._fields if key == name]

    def id(self, name: str) -> int | None:
        """The id of a row; None for an empty field or 0. Raises ConfigError with the field's name."""
        text = self.text(name) or "0"
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise ConfigError(f"{name.replace('_', ' ')}: {text[:40]!r} is not the number of a row")
        return int(text) or None

    def number(self, name: str, default: int = 0) -> int:
        """A whole number from 0 to a million. Raises ConfigError with the field's name."""
        text = self.text(name) or str(default)
        if not (text.isascii() and text.isdigit() and len(text) <= 7 and int(text) <= 1_000_000):
            raise ConfigError(f"{name.replace('_', ' ')}: {text[:40]!r} is not a whole number")
        return int(text)


def _storable(text: str) -> str:
    """Without NUL, which the text type of PostgreSQL has not, and lone surrogates, which UTF-8 has not.

    A multipart form names the encoding of its fields, and some encodings of Python give lone surrogates.
    """
    return text.replace("\0", "").encode("utf-8", "replace").decode()


async def posted(http: Request, request: Annotated[RequestContext, Depends(anyone)]) -> Form:
    """Reads a form. Rejects it if another site sent it (`Origin`), its token is wrong, or it is too large."""
    if not is_same_origin(http, request.app.settings):
        raise HTTPException(
            403, "This form came from another site, so it was rejected. Open the page here and try again."
        )
    length = http.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_FORM_BYTES:
        raise HTTPException(413, "This form is too large. Shorten the texts and try again.")
    # No form here uploads files. The parser would keep each in a temporary file.
    async with http.form(max_files=0) as sent:
        form = Form([(key, value) for key, value in sent.multi_items() if isinstance(value, str)])
    if not request.app.sessions.is_form_token(form.text("token"), request.session):
        raise HTTPException(
            403, "This form has expired, or your browser sent no cookie. Go back, reload the page and try again."
        )
    if (member := request.maybe_member) is not None:
        change_log.act_as(change_log.Actor(member.email, member.account_id, member.id, request.ip))
    return form


def is_same_origin(request: Request, settings: Settings) -> bool:
    """Whether `Origin`, which browsers send with every POST, is the base URL or the requested host."""
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    base = urlsplit(settings.base_url)
    allowed = (f"{base.scheme}://{base.netloc}", *((f"http://{host}", f"https://{host}") if host else ()))
    return origin in allowed


Posted = Annotated[Form, Depends(posted)]
