"""Where an account's papers are sent: channels, their state and their hours."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from services.domain.delivery import schedule
from services.domain.delivery.schedule import WEEKDAYS
from services.errors import ConfigError, NotFound, PaperwireError
from services.flow import channel_targets
from services.flow.commands import opt_in, resend
from services.flow.commands import channels as channel_commands
from services.store.delivery import bounces, channels
from services.store.maintenance import dashboard
from services.web.csrf_forms import Form, Posted
from services.web.page import Id, RequestContext, SignedIn

router = APIRouter(prefix="/channels")
KINDS = {"email": "E-mail address", "slack": "Slack channel", "slack-webhook": "Slack webhook", "webhook": "Webhook"}
"""What a person may add here."""
SOFT_FOR = timedelta(days=30)
"""How long mails that came back without stopping a channel are counted."""


@router.get("")
def page(visit: SignedIn) -> Response:
    return _listing(visit)


@router.post("")
def add(visit: SignedIn, form: Posted) -> Response:
    try:
        kind, target = form.text("kind"), form.text("target")
        if kind not in KINDS:
            raise ConfigError(f"a channel is one of {', '.join(KINDS.values())}")
        if not target:
            raise ConfigError("say where to: a mail address, #papers, or a webhook's address")
        house, word = visit.house, f"{kind}:{target}"
        added, secret = channel_commands.add(house.db, house.settings, visit.account_id, word, **_hours(form))
        asked = _ask(visit, added)
    except NotFound:
        raise
    except PaperwireError as error:
        return _listing(visit, error=str(error), status=422)
    if secret:
        return _listing(visit, secret=secret, secret_of=added)
    return visit.go("/channels", "asked" if asked else "added")


@router.post("/{channel_id}/ask")
def ask(visit: SignedIn, form: Posted, channel_id: Id) -> Response:
    _ask(visit, channel_id)
    return visit.go("/channels", "asked")


@router.post("/{channel_id}/hours")
def hours(visit: SignedIn, form: Posted, channel_id: Id) -> Response:
    secrets = visit.house.secrets
    with visit.house.db.transaction() as tx:
        row = channels.find(tx, channel_id, visit.account_id)
        target = channel_targets.target_of(row, secrets)
        channels.add(tx, secrets, visit.account_id, row["kind"], target, verified=row["verified"], **_hours(form))
        channels.set_at_most_once(tx, row["id"], form.text("at_most_once") == "on")
    return visit.go("/channels", "saved")


@router.post("/{channel_id}/secret")
def new_secret(visit: SignedIn, form: Posted, channel_id: Id) -> Response:
    """Shown in the answer to this alone: it is stored sealed and never read out again."""
    try:
        secret = channel_commands.rotate_secret(visit.house.db, visit.house.settings, channel_id, visit.account_id)
    except ConfigError as error:
        return _listing(visit, error=str(error), status=422)
    return _listing(visit, secret=secret, secret_of=channel_id)


@router.post("/{channel_id}/enable")
def enable(visit: SignedIn, form: Posted, channel_id: Id) -> Response:
    house = visit.house
    at_once = opt_in.enable(house.db, house.settings, channel_id, visit.account_id, visit.ip)
    return visit.go("/channels", "enabled" if at_once else "asked")


@router.post("/{channel_id}/subscribe-again")
def subscribe_again(visit: SignedIn, form: Posted, channel_id: Id) -> Response:
    house = visit.house
    at_once = opt_in.subscribe_again(house.db, house.settings, channel_id, visit.account_id, visit.ip)
    return visit.go("/channels", "subscribed" if at_once else "asked")


@router.post("/{channel_id}/test")
def test(visit: SignedIn, form: Posted, channel_id: Id) -> Response:
    resend.send_test(visit.house.db, visit.house.settings, channel_id, visit.account_id)
    return visit.go("/channels", "testing")


@router.get("/{channel_id}/remove")
def confirm_remove(visit: SignedIn, channel_id: Id) -> Response:
    with visit.house.db.transaction() as tx:
        row = channels.find(tx, channel_id, visit.account_id)
    return visit.page(
        "confirm.html",
        question=f"Remove the channel {row['label']}?",
        consequence="What waits for it is dropped; subscriptions that tell only this channel then tell nobody.",
        label="Remove",
        back="/channels",
    )


@router.post("/{channel_id}/remove")
def remove(visit: SignedIn, form: Posted, channel_id: Id) -> Response:
    with visit.house.db.transaction() as tx:
        channels.remove(tx, channels.find(tx, channel_id, visit.account_id)["id"])
    return visit.go("/channels", "removed")


def _listing(
    visit: RequestContext, error: str = "", status: int = 200, secret: str = "", secret_of: int = 0
) -> Response:
    with visit.house.db.transaction() as tx:
        found = channels.all_of(tx, visit.account_id)
        used = dashboard.uses(tx, visit.account_id)
        soft = bounces.soft_bounces(tx, visit.account_id, datetime.now(UTC) - SOFT_FOR)
    context = {"channels": found, "soft": soft, "used": used, "weekdays": WEEKDAYS, "kinds": KINDS, "error": error}
    answer = visit.page("channels.html", status, **context, secret=secret, secret_of=secret_of)
    if secret:
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _ask(visit: RequestContext, channel_id: int) -> bool:
    """Asks an address that is not confirmed; whether it is one. Whether a mail went out could tell too much."""
    with visit.house.db.transaction() as tx:
        verified = channels.find(tx, channel_id, visit.account_id)["verified"]
    opt_in.request_opt_in(visit.house.db, visit.house.settings, channel_id, visit.account_id, visit.ip)
    return not verified


def _hours(form: Form) -> dict[str, Any]:
    at, weekday = form.text("at", "08:00"), form.text("weekday", "mon")
    return {"at": schedule.parse_time(at), "weekday": schedule.parse_weekday(weekday)}
