"""Endpoints for monitoring: liveness, readiness and Prometheus metrics."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from services.store.db import circuit_breaker
from services.store.delivery import bounces, deliveries, sending_pause
from services.store.interests import embedder_health
from services.store.maintenance.audit import audit
from services.web.context import App

router = APIRouter()

DATABASE_UP = Gauge("paperwire_database_up", "1 if the database answers")
SENDING_PAUSED = Gauge("paperwire_held", "1 while sending is paused; `paperwire hold off` resumes it")
BOUNCES_UNREAD = Gauge("paperwire_bounces_unread", "1 if the bounce mailbox cannot be read")
EMBEDDER_UP = Gauge("paperwire_embedder_up", "0 while the embedder fails and papers wait for it")
CIRCUIT_BREAKERS_OPEN = Gauge("paperwire_circuit_breakers_open", "Mail servers, Slack tokens and so on that are down")
DELIVERIES_DEAD = Gauge("paperwire_deliveries_dead", "Messages that were refused for good or given up, as long as kept")
AUDIT = Gauge("paperwire_audit", "Overdue work, by kind", ["figure"])


@router.get("/healthz")
async def healthz() -> PlainTextResponse:
    """Answers while all threads are busy, since it needs none."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
async def readyz(app: App) -> PlainTextResponse:
    """Whether the database answers and has the current schema."""
    problem = await app.readiness.problem()
    return PlainTextResponse(f"{problem}\n", 503) if problem else PlainTextResponse("ready\n")


@router.get("/metrics")
def metrics(app: App) -> Response:
    try:
        serving = app.embedder.name
        with app.db.transaction() as tx:
            figures, pause_reason = audit(tx, app.db.now()).figures(), sending_pause.status(tx).paused_because
            unread = bounces.mailbox_failure(tx)
            failure = embedder_health.failure(tx, serving)
            open_breakers, dead = circuit_breaker.count_open(tx), deliveries.count_dead(tx)
    except SQLAlchemyError:
        DATABASE_UP.set(0)
    else:
        DATABASE_UP.set(1)
        SENDING_PAUSED.set(bool(pause_reason))
        BOUNCES_UNREAD.set(bool(unread))
        EMBEDDER_UP.set(not failure)
        CIRCUIT_BREAKERS_OPEN.set(open_breakers)
        DELIVERIES_DEAD.set(dead)
        for name, value in figures.items():
            AUDIT.labels(name).set(value)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
