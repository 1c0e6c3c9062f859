"""Returned mails that a mail server posts: `POST /bounces` with the whole mail as the body."""

import hmac

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response

from services.flow.upkeep import bounces
from services.notifiers import email
from services.web.context import AppContext

router = APIRouter()


@router.post("/bounces")
async def bounce(request: Request) -> Response:
    """Answers with the result of `handle_mail`. The sender needs the secret of PAPERWIRE_BOUNCE_SECRET."""
    secret = email.email_settings().bounce_secret.get_secret_value()
    if not secret:
        raise HTTPException(404, "This page does not exist. Check the address.")
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(f"Bearer {secret}".encode(), given.encode()):
        raise HTTPException(401, "The secret is missing or wrong.")
    app: AppContext = request.app.state.context
    body = await _read_start(request)
    result = await run_in_threadpool(bounces.handle_mail, app.db, app.settings, app.secrets, body)
    return PlainTextResponse(f"{result}\n")


async def _read_start(request: Request) -> bytes:
    """The part of the body that contains the report. The rest is read and dropped."""
    start = b""
    async for chunk in request.stream():
        start += chunk[: email.MAX_BOUNCE_BYTES - len(start)]
    return start
