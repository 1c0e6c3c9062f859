"""The web application with all its routers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from services.settings import settings
from services.web import bounce_webhook, error_pages, health, requests, security_headers
from services.web.context import AppContext
from services.web.pages import (
    account,
    account_members,
    channels,
    consent,
    deletion,
    deliveries,
    editor,
    export,
    feeds,
    marks,
    members,
    oidc,
    outbox,
    papers,
    quarantine,
    search,
    sessions,
    signin,
    silences,
    sources,
    subscriptions,
    templates,
    today,
    vote_links,
    votes,
)

STATIC = Path(__file__).parent / "static"
ROUTERS = (
    health.router,
    signin.router,
    oidc.router,
    editor.router,
    quarantine.router,
    subscriptions.router,
    silences.router,
    feeds.router,
    today.router,
    marks.router,
    papers.router,
    search.router,
    votes.router,
    vote_links.router,
    channels.router,
    consent.router,
    bounce_webhook.router,
    deliveries.router,
    sources.router,
    outbox.router,
    templates.router,
    account.router,
    account_members.router,
    deletion.router,
    export.router,
    members.router,
    sessions.router,
)


def create_app() -> FastAPI:
    """The application. It connects to the database at the first request and to no broker. Raises ConfigError."""
    context = AppContext.build(settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        context.close()

    app = FastAPI(title="paperwire", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.context = context
    for router in ROUTERS:
        app.include_router(router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    error_pages.install(app)
    requests.install(app, context.settings.base_url)
    security_headers.install(app, is_https=context.is_https)
    return app
