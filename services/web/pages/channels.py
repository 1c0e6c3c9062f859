"""Where an account's papers are sent: channels, their state and their hours."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from services.domain.delivery.schedule import WEEKDAYS
from services.errors import ConfigError, NotFound, PaperwireError
from services.flow.commands import opt_in, resend, subscribe
from services.store.delivery import bounces, channels
from services.store.maintenance import dashboard
from services.web.csrf_forms import Form, Posted
from services.web.request_context import Id, RequestContext, SignedIn

router = APIRouter(prefix="/channels")
KINDS = {"email": "E-mail address", "slack": "Slack channel", "slack-webhook": "Slack webhook", "webhook": "Webhook"}
"""What a person may add here."""
SOFT_FOR = timedelta(days=30)
"""How long mails that came back without stopping a channel are counted."""


@router.get("")
def page(request: SignedIn) -> Response:
    return _listing(request)


@router.post("")
def add(request: SignedIn, form: Posted) -> Response:
    try:
        kind, target = form.text("kind"), form.text("target")
        if kind not in KINDS:
            raise ConfigError(f"a channel is one of {', '.join(KINDS.values())}")
        if not target:
            raise ConfigError("say where to: a mail address, #papers, or a webhook's address")
        app, word = request.app, f"{kind}:{target}"
        added, secret = subscribe.open_channel(app.db, app.settings, request.account_id, word, **_hours(form))
        asked = _ask(request, added)
    except NotFound:
        raise
    except PaperwireError as error:
        return _listing(request, error=str(error), status=422)
    if secret:
        return _listing(request, secret=secret, secret_of=added)
    return request.redirect("/channels", "asked" if asked else "added")


@router.post("/{channel_id}/ask")
def ask(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    _ask(request, channel_id)
    return request.redirect("/channels", "asked")


@router.post("/{channel_id}/hours")
def hours(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    secrets = request.app.secrets
    with request.app.db.transaction() as tx:
        row = channels.find(tx, channel_id, request.account_id)
        target = channels.target_of(row, secrets)
        channels.add(tx, secrets, request.account_id, row["kind"], target, verified=row["verified"], **_hours(form))
        channels.prefer_once(tx, row["id"], form.text("at_most_once") == "on")
    return request.redirect("/channels", "saved")


@router.post("/{channel_id}/secret")
def new_secret(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    """Shown in the answer to this alone: it is stored sealed and never read out again."""
    try:
        secret = subscribe.rotate_secret(request.app.db, request.app.settings, channel_id, request.account_id)
    except ConfigError as error:
        return _listing(request, error=str(error), status=422)
    return _listing(request, secret=secret, secret_of=channel_id)


@router.post("/{channel_id}/enable")
def enable(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    app = request.app
    at_once = opt_in.enable(app.db, app.settings, channel_id, request.account_id, request.ip)
    return request.redirect("/channels", "enabled" if at_once else "asked")


@router.post("/{channel_id}/subscribe-again")
def subscribe_again(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    app = request.app
    at_once = opt_in.subscribe_again(app.db, app.settings, channel_id, request.account_id, request.ip)
    return request.redirect("/channels", "subscribed" if at_once else "asked")


@router.post("/{channel_id}/test")
def test(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    resend.send_test(request.app.db, request.app.settings, channel_id, request.account_id)
    return request.redirect("/channels", "testing")


@router.get("/{channel_id}/remove")
def confirm_remove(request: SignedIn, channel_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        row = channels.find(tx, channel_id, request.account_id)
    return request.render(
        "confirm.html",
        question=f"Remove the channel {row['label']}?",
        consequence="What waits for it is dropped; subscriptions that tell only this channel then tell nobody.",
        label="Remove",
        back="/channels",
    )


@router.post("/{channel_id}/remove")
def remove(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        channels.remove(tx, channels.find(tx, channel_id, request.account_id)["id"])
    return request.redirect("/channels", "removed")


def _listing(
    request: RequestContext, error: str = "", status: int = 200, secret: str = "", secret_of: int = 0
) -> Response:
    with request.app.db.transaction() as tx:
        found = channels.all_of(tx, request.account_id)
        used = dashboard.uses(tx, request.account_id)
        soft = bounces.soft_since(tx, request.account_id, datetime.now(UTC) - SOFT_FOR)
    context = {"channels": found, "soft": soft, "used": used, "weekdays": WEEKDAYS, "kinds": KINDS, "error": error}
    answer = request.render("channels.html", status, **context, secret=secret, secret_of=secret_of)
    if secret:
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _ask(request: RequestContext, channel_id: int) -> bool:
    """Asks an address that is not confirmed; whether it is one. Whether a mail went out could tell too much."""
    with request.app.db.transaction() as tx:
        verified = channels.find(tx, channel_id, request.account_id)["verified"]
    opt_in.ask(request.app.db, request.app.settings, channel_id, request.account_id, request.ip)
    return not verified


def _hours(form: Form) -> dict[str, Any]:
    at, weekday = form.text("at", "08:00"), form.text("weekday", "mon")
    return {"at": channels.parse_at(at), "weekday": channels.parse_weekday(weekday)}
