"""The page behind the vote link of a paper in a mail. It needs no sign-in and sets no cookie.

Link scanners open every link of a mail, so GET only shows buttons.
"""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from services import render
from services.errors import ConfigError
from services.flow import vote_links
from services.flow.commands.vote import vote
from services.store.db import change_log
from services.store.subscriptions import feedback, subscriptions
from services.store.subscriptions.feedback import Verdict
from services.web.context import App, AppContext

router = APIRouter(prefix="/vote")
MAX_WAIT_SECONDS = 5.0
VERDICTS = {"more": Verdict.MORE, "less": Verdict.LESS, "none": None}


@router.get("/{token}")
def ask(app: App, token: str) -> Response:
    return _page(app, token)


@router.post("/{token}/{verdict}")
def cast(http: Request, app: App, token: str, verdict: str) -> Response:
    """The verdict is in the address, so that no form has to be read of somebody who is not signed in."""
    if verdict not in VERDICTS:
        raise HTTPException(404, "A vote is more, less or none.")
    with app.db.transaction() as tx:
        ballot = vote_links.by_token(tx, app.secrets, token, app.db.now())
    account_id, subscription_id = ballot.subscription.account_id, ballot.subscription.id
    actor = change_log.Actor("a link in a mail", ip=http.client.host if http.client else "")
    try:
        with change_log.acting(actor), app.previews.taken(account_id, MAX_WAIT_SECONDS):
            vote(app.slow_db, app.embedder, account_id, subscription_id, ballot.paper.id, VERDICTS[verdict])
    except ConfigError as error:
        return _page(app, token, error=str(error), status=422)
    return _page(app, token, done=True)


def _page(app: AppContext, token: str, *, done: bool = False, error: str = "", status: int = 200) -> Response:
    with app.db.transaction() as tx:
        ballot = vote_links.by_token(tx, app.secrets, token, app.db.now())
        row = ballot.subscription
        verdicts = feedback.verdicts(tx, row.account_id, [ballot.paper.id])
        learns = subscriptions.draft_of(tx, row).has_interest
    html = render.render(
        "web/vote_link.html",
        token=token,
        paper=ballot.paper,
        subscription=row,
        learns=learns,
        verdict=verdicts.get((row.id, ballot.paper.id), ""),
        done=done,
        error=error,
    )
    # The page's address contains the secret token, so it must not reach other sites.
    return HTMLResponse(html, status, headers={"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"})
