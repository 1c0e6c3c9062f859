"""For the machines that look after the service: is it up, is it ready, how does it fare."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from services.store.delivery import bounces, sending_pause
from services.store.interests import embedder_health
from services.store.maintenance import migrate
from services.store.maintenance.audit import audit
from services.telemetry import log
from services.web.context import App

router = APIRouter()

DATABASE_UP = Gauge("paperwire_database_up", "1 when the database answers")
HELD = Gauge("paperwire_held", "1 when nothing is sent until `paperwire hold off`")
UNREAD = Gauge("paperwire_bounces_unread", "1 when the mailbox of returned mails cannot be read")
EMBEDDER_UP = Gauge("paperwire_embedder_up", "0 while the embedder fails and interests wait for it")
AUDIT = Gauge("paperwire_audit", "What should have happened by now and has not", ["figure"])


@router.get("/healthz")
def healthz() -> PlainTextResponse:
    """The process is up."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
def readyz(app: App) -> PlainTextResponse:
    """The database answers and has our schema."""
    try:
        if migrate.is_current(app.db.engine):
            return PlainTextResponse("ready\n")
    except SQLAlchemyError as error:
        log.warning("not ready", why=type(error).__name__)
        return PlainTextResponse("the database does not answer\n", 503)
    return PlainTextResponse("the database is not migrated; run: paperwire migrate\n", 503)


@router.get("/metrics")
def metrics(app: App) -> Response:
    try:
        serving = app.embedder.name
        with app.db.transaction() as tx:
            figures, held = audit(tx, app.db.now()).figures(), sending_pause.status(tx)["paused_because"]
            unread = bounces.why_unreadable(tx)
            down = embedder_health.failure(tx, serving)
    except SQLAlchemyError:
        DATABASE_UP.set(0)
    else:
        DATABASE_UP.set(1)
        HELD.set(bool(held))
        UNREAD.set(bool(unread))
        EMBEDDER_UP.set(not down)
        for name, value in figures.items():
            AUDIT.labels(name).set(value)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
