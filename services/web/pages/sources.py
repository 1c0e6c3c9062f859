"""Where papers come from: every account sees the sources, operators add, poll and remove them."""

from datetime import timedelta

from fastapi import APIRouter
from fastapi.responses import Response

from services import plugins
from services.domain.http.ssrf import without_secrets
from services.errors import ConfigError, NotFound, PaperwireError
from services.flow.commands.add_source import add_source
from services.store.db.database import wake
from services.store.sources import batches as batch_store
from services.store.sources import sources
from services.store.subscriptions import quarantine
from services.web.csrf_forms import Posted
from services.web.formatting import span
from services.web.request_context import Id, Operator, RequestContext, SignedIn

router = APIRouter(prefix="/sources")
MIN_MINUTES = 5


@router.get("")
def page(request: SignedIn) -> Response:
    return _sources_page(request)


@router.post("")
def add(request: Operator, form: Posted) -> Response:
    try:
        plugin = plugins.source(form.text("kind"))
        if plugin.every is None:
            raise ConfigError(f"{plugin.kind} only reads saved files; use paperwire import")
        location = plugin.location(form.text("location"))
        minutes = form.number("minutes")
        if minutes and minutes < MIN_MINUTES:
            raise ConfigError(f"a source is polled every {MIN_MINUTES} minutes at most")
        with request.app.db.transaction() as tx:
            add_source(tx, plugin, location, timedelta(minutes=minutes) if minutes else None)
            wake(tx, "poll")
    except PaperwireError as error:
        return _sources_page(request, error=str(error), status=422)
    return request.redirect("/sources", "added")


@router.get("/{source_id}")
def announcements(request: SignedIn, source_id: Id) -> Response:
    """The source's batches, day by day."""
    with request.app.db.transaction() as tx:
        source = next((source for source in sources.all_with_newest_batch(tx) if source.id == source_id), None)
        batches = batch_store.of_source(tx, source_id)
    if source is None:
        raise NotFound(f"no source {source_id}")
    return request.render("source.html", source=source, batches=batches)


@router.post("/{source_id}/poll")
def poll(request: Operator, form: Posted, source_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        if sources.poll_now(tx, source_id) == 0:
            raise NotFound(f"no polled source {source_id}")
        wake(tx, "poll")
    return request.redirect("/sources", "polling")


@router.get("/{source_id}/remove")
def confirm_remove(request: Operator, source_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        polled = (source for source in sources.all_with_newest_batch(tx) if source.polled)
        source = next((source for source in polled if source.id == source_id), None)
    if source is None:
        raise NotFound(f"no polled source {source_id}")
    return request.render(
        "confirm.html",
        question=f"Stop polling {source.kind} {without_secrets(source.location)}?".replace(" ?", "?"),
        consequence="Its papers stay in the archive. No account gets new papers from it.",
        label="Remove",
        back="/sources",
    )


@router.post("/{source_id}/remove")
def remove(request: Operator, form: Posted, source_id: Id) -> Response:
    with request.app.db.transaction() as tx:
        sources.remove(tx, source_id)
    return request.redirect("/sources", "removed")


def _sources_page(request: RequestContext, error: str = "", status: int = 200) -> Response:
    with request.app.db.transaction() as tx:
        known = sources.all_with_newest_batch(tx)
        quarantined = quarantine.list_all(tx) if request.account.operator else []
    kinds = [plugin for plugin in plugins.sources().values() if plugin.every is not None]
    intervals = {source.id: _interval(source.kind, source.every) for source in known}
    return request.render(
        "sources.html",
        status,
        sources=known,
        intervals=intervals,
        kinds=kinds,
        error=error,
        quarantined=quarantined,
    )


def _interval(kind: str, every: timedelta | None) -> str:
    plugin = plugins.sources().get(kind)
    every = every or (plugin.every if plugin else None)
    return span(every) if every else ""
