"""Returned mails that a mail server hands over by itself: `POST /bounces` with the whole mail as the body."""

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
    """Says in a word what the mail was; whoever sends it needs the secret of the settings."""
    secret = email.email_settings().bounce_secret.get_secret_value()
    if not secret:
        raise HTTPException(404, "This page does not exist. Check the address.")
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(f"Bearer {secret}".encode(), given.encode()):
        raise HTTPException(401, "The secret is missing or wrong.")
    app: AppContext = request.app.state.context
    body = await _start(request)
    return PlainTextResponse(await run_in_threadpool(bounces.take, app.db, app.settings, app.secrets, body) + "\n")


async def _start(request: Request) -> bytes:
    """The part of the body that a report stands in; the rest is let go by."""
    kept = b""
    async for chunk in request.stream():
        kept += chunk[: email.LARGEST_BOUNCE - len(kept)]
    return kept
