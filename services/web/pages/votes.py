"""The vote buttons of a paper: more or less like this, for one subscription."""

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from services.flow.commands.vote import vote
from services.store.subscriptions.feedback import Verdict
from services.web.auth import safe_next
from services.web.csrf_forms import Form, Posted
from services.web.request_context import SignedIn

router = APIRouter()


@router.post("/votes")
def cast(request: SignedIn, form: Posted) -> Response:
    """Stores a vote. Answers htmx with the buttons, a form without JavaScript with the page that it came from."""
    subscription_id, paper_id, verdict = form.id("subscription"), form.id("paper"), _verdict(form)
    if subscription_id is None or paper_id is None:
        raise HTTPException(422, "A vote needs a subscription and a paper.")
    app = request.app
    vote(app.slow_db, app.embedder, request.account_id, subscription_id, paper_id, verdict)
    if request.is_htmx:
        return request.render(
            "vote_buttons.html",
            subscription_id=subscription_id,
            paper_id=paper_id,
            verdict=verdict or "",
            back=form.text("back"),
        )
    return request.redirect(safe_next(form.text("back", f"/papers/{paper_id}")))


def _verdict(form: Form) -> Verdict | None:
    text = form.text("verdict")
    if text == "none":
        return None
    if text not in list(Verdict):
        raise HTTPException(422, f"A vote is more, less or none, not {text[:40]!r}.")
    return Verdict(text)
