"""The Channels page: where an account's papers are sent, with the state and the hours of each channel."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter
from fastapi.responses import Response

from services.domain.delivery.schedule import DEFAULT_TIME, WEEKDAYS, ChannelHours, parse_time, parse_weekday
from services.errors import Busy, ConfigError, NotFound, PaperwireError
from services.flow.commands import channels as channel_commands
from services.flow.commands import opt_in, resend
from services.store.delivery import bounces, channels, ended_channels
from services.store.maintenance import dashboard
from services.web.csrf_forms import Form, Posted
from services.web.request_context import Id, RequestContext, SignedIn

router = APIRouter(prefix="/channels")
KINDS = {"email": "E-mail address", "slack": "Slack channel", "slack-webhook": "Slack webhook", "webhook": "Webhook"}
"""The kinds of channel that the form offers."""
SOFT_BOUNCES_COUNTED_FOR = timedelta(days=30)


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
            raise ConfigError("enter a target: a mail address, #papers, or a webhook's address")
        app, word = request.app, f"{kind}:{target}"
        added = channel_commands.add(app.db, app.settings, request.account_id, word, hours=_hours(form))
        needs_opt_in = _request_opt_in(request, added.id)
    except NotFound:
        raise
    except PaperwireError as error:
        return _listing(request, error=str(error), status=422)
    if added.secret:
        return _listing(request, secret=added.secret, secret_of=added.id)
    return request.redirect("/channels", "asked" if needs_opt_in else "added")


@router.post("/{channel_id}/ask")
def ask(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    try:
        _request_opt_in(request, channel_id)
    except Busy as error:
        return _listing(request, error=str(error), status=429)
    return request.redirect("/channels", "asked")


@router.post("/{channel_id}/hours")
def hours(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    app, at_most_once = request.app, form.text("at_most_once") == "on"
    channel_commands.change(
        app.db, app.settings, request.account_id, channel_id, _hours(form), at_most_once=at_most_once
    )
    return request.redirect("/channels", "saved")


@router.post("/{channel_id}/secret")
def new_secret(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    """Makes a new secret and shows it in this answer only. It is stored encrypted and never displayed again."""
    try:
        secret = channel_commands.rotate_secret(request.app.db, request.app.settings, channel_id, request.account_id)
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
    try:
        resend.send_test(request.app.db, request.app.settings, channel_id, request.account_id)
    except Busy as error:
        return _listing(request, error=str(error), status=429)
    return request.redirect("/channels", "testing")


@router.get("/{channel_id}/remove")
def confirm_remove(request: SignedIn, channel_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        channel = channels.find(tx, channel_id, request.account_id)
    return request.render(
        "confirm.html",
        question=f"Remove the channel {channel.label}?",
        consequence="What waits for it is dropped. A subscription without another channel sends nothing any more.",
        label="Remove",
        back="/channels",
    )


@router.post("/{channel_id}/remove")
def remove(request: SignedIn, form: Posted, channel_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        ended_channels.remove(tx, channels.find(tx, channel_id, request.account_id).id)
    return request.redirect("/channels", "removed")


def _listing(
    request: RequestContext, error: str = "", status: int = 200, secret: str = "", secret_of: int = 0
) -> Response:
    with request.app.db.transaction() as tx:
        listed = channels.all_of(tx, request.account_id)
        used = dashboard.subscriptions_per_channel(tx, request.account_id)
        soft = bounces.soft_bounces(tx, request.account_id, datetime.now(UTC) - SOFT_BOUNCES_COUNTED_FOR)
    answer = request.render(
        "channels.html",
        status,
        channels=listed,
        soft=soft,
        used=used,
        weekdays=WEEKDAYS,
        default_time=DEFAULT_TIME,
        kinds=KINDS,
        error=error,
        secret=secret,
        secret_of=secret_of,
    )
    if secret:
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _request_opt_in(request: RequestContext, channel_id: int) -> bool:
    """Sends an opt-in request to a channel that is not confirmed; returns whether it is not confirmed.

    The page does not tell whether a mail was sent, which would reveal requests of other accounts.
    """
    with request.app.db.transaction() as tx:
        verified = channels.find(tx, channel_id, request.account_id).verified
    opt_in.request_opt_in(request.app.db, request.app.settings, channel_id, request.account_id, request.ip)
    return not verified


def _hours(form: Form) -> ChannelHours:
    return ChannelHours(parse_time(form.text("at", DEFAULT_TIME)), parse_weekday(form.text("weekday", "mon")))
