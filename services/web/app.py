"""The web application, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles

from services.settings import settings
from services.web import (
    failures,
    headers,
    health,
    pages_account,
    pages_channels,
    pages_consent,
    pages_deliveries,
    pages_feeds,
    pages_matches,
    pages_outbox,
    pages_papers,
    pages_preview,
    pages_quarantine,
    pages_signin,
    pages_silences,
    pages_sources,
    pages_subscriptions,
    pages_templates,
    webhook_bounces,
)
from services.web.house import House

STATIC = Path(__file__).parent / "static"
ROUTERS = (
    health.router,
    pages_signin.router,
    pages_preview.router,
    pages_quarantine.router,
    pages_subscriptions.router,
    pages_silences.router,
    pages_feeds.router,
    pages_matches.router,
    pages_papers.router,
    pages_channels.router,
    pages_consent.router,
    webhook_bounces.router,
    pages_deliveries.router,
    pages_sources.router,
    pages_outbox.router,
    pages_templates.router,
    pages_account.router,
)


def create_app() -> FastAPI:
    """The application of these settings; it opens the database when first asked, and no broker. Raises ConfigError."""
    house = House.build(settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        house.close()

    app = FastAPI(title="paperwire", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.house = house
    for router in ROUTERS:
        app.include_router(router, include_in_schema=False)
    app.add_api_route("/", _first_page, methods=["GET"], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    failures.install(app)
    headers.protect(app)
    return app


def _first_page() -> RedirectResponse:
    return RedirectResponse("/subscriptions", 303)
