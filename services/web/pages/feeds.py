"""Feeds: no sign-in, since feed readers have none; the address is the secret."""

import hashlib

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.store.papers import papers
from services.store.subscriptions import atom_feeds
from services.store.subscriptions.records import Subscription
from services.web import atom
from services.web.context import App, AppContext
from services.web.csrf_forms import Posted
from services.web.request_context import Id, SignedIn

router = APIRouter()
MAX_ENTRIES = 50
HEADERS = {"Cache-Control": "private, max-age=300", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


@router.get("/feeds/{token}")
def feed(app: App, request: Request, token: str) -> Response:
    with app.db.transaction() as tx:
        row = atom_feeds.find_by_token(tx, app.secrets, token)
        entries = atom_feeds.newest(tx, row.id, MAX_ENTRIES)
        loaded = papers.load(tx, [entry.paper_id for entry in entries])
    tag = f"tag:{app.settings.host},{row.created_at:%Y-%m-%d}"
    body = atom.document(
        atom.Feed(
            id=f"{tag}:subscription/{row.id}",
            title=f"{row.name} · paperwire",
            address=address(app, row),
            page=f"{app.settings.base_url}/matches?subscription={row.id}",
            since=row.created_at,
            matches=[
                atom.Entry(
                    f"{tag}:match/{entry.id}",
                    entry.created_at,
                    loaded[entry.paper_id],
                    entry.reason,
                )
                for entry in entries
                if entry.paper_id in loaded
            ],
        )
    )
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if etag in request.headers.get("if-none-match", "").replace("W/", "").replace(" ", "").split(","):
        return Response(status_code=304, headers={**HEADERS, "ETag": etag})
    return Response(body, headers={**HEADERS, "ETag": etag}, media_type="application/atom+xml; charset=utf-8")


@router.post("/subscriptions/{subscription_id}/feed")
def change_address(request: SignedIn, form: Posted, subscription_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        atom_feeds.change_address(tx, subscription_id, request.account_id)
    return request.redirect(f"/subscriptions/{subscription_id}", "readdressed")


def address(app: AppContext, row: Subscription) -> str:
    return f"{app.settings.base_url}/feeds/{atom_feeds.token(app.secrets, row)}"
