"""Feeds: no sign-in, since feed readers have none; the address is the secret."""

import hashlib
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.store.db.database import Row
from services.store.papers import papers
from services.store.subscriptions import atom_feeds
from services.web import atom
from services.web.context import AppContext
from services.web.csrf_forms import Posted
from services.web.page import Id, SignedIn

router = APIRouter()
MAX_ENTRIES = 50
HEADERS = {"Cache-Control": "private, max-age=300", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


@router.get("/feeds/{token}")
def feed(request: Request, token: str) -> Response:
    house: AppContext = request.app.state.house
    with house.db.transaction() as tx:
        row = atom_feeds.find_by_token(tx, house.vault, token)
        found = atom_feeds.newest(tx, row["id"], MAX_ENTRIES)
        loaded = papers.load(tx, [one["paper_id"] for one in found])
    tag = f"tag:{urlsplit(house.settings.base_url).hostname},{row['created_at']:%Y-%m-%d}"
    body = atom.document(
        atom.Feed(
            id=f"{tag}:subscription/{row['id']}",
            title=f"{row['name']} · paperwire",
            address=address(house, row),
            page=f"{house.settings.base_url}/matches?subscription={row['id']}",
            since=row["created_at"],
            found=[
                atom.Found(
                    f"{tag}:match/{one['id']}",
                    one["created_at"],
                    loaded[one["paper_id"]],
                    one["decided"].get("why", ""),
                )
                for one in found
                if one["paper_id"] in loaded
            ],
        )
    )
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if etag in request.headers.get("if-none-match", "").replace("W/", "").replace(" ", "").split(","):
        return Response(status_code=304, headers={**HEADERS, "ETag": etag})
    return Response(body, headers={**HEADERS, "ETag": etag}, media_type="application/atom+xml; charset=utf-8")


@router.post("/subscriptions/{subscription_id}/feed")
def change_address(visit: SignedIn, form: Posted, subscription_id: Id) -> Response:
    with visit.house.db.transaction() as tx:
        atom_feeds.change_address(tx, subscription_id, visit.account_id)
    return visit.go(f"/subscriptions/{subscription_id}", "readdressed")


def address(house: AppContext, row: Row) -> str:
    return f"{house.settings.base_url}/feeds/{atom_feeds.token(house.vault, row)}"
