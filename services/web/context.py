"""What the web process holds: settings, connections, keys."""

from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import Annotated

from fastapi import Depends, Request

from services.errors import ConfigError
from services.flow.upkeep.model_rollover import serving_embedder
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.web.auth import Sessions

PAGE_TIMEOUT_MS = 2_000
PREVIEW_TIMEOUT_MS = 10_000
PREVIEWS_AT_ONCE = 2
"""Each reads two months of papers and computes on them; more at once would only slow the pages down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    settings: Settings
    db: Database
    slow_db: Database
    """The same database with more time per statement, for previews and for compiling interests."""
    secrets: SecretBox
    sessions: Sessions
    previews: BoundedSemaphore

    @classmethod
    def build(cls, settings: Settings) -> "AppContext":
        url = settings.database_url.get_secret_value()
        key = settings.secret_key.get_secret_value()
        if not url:
            raise ConfigError("PAPERWIRE_DATABASE_URL is not set; `paperwire up` sets it for its own processes")
        if not key:
            raise ConfigError("PAPERWIRE_SECRET_KEY is not set; every process needs the same long random key")
        return cls(
            settings=settings,
            db=Database(url, pool_size=8, statement_timeout_ms=PAGE_TIMEOUT_MS),
            slow_db=Database(url, pool_size=PREVIEWS_AT_ONCE, statement_timeout_ms=PREVIEW_TIMEOUT_MS),
            secrets=SecretBox(key),
            sessions=Sessions(key),
            previews=BoundedSemaphore(PREVIEWS_AT_ONCE),
        )

    def close(self) -> None:
        self.db.close()
        self.slow_db.close()

    @property
    def embedder(self) -> Embedder:
        return serving_embedder(self.db, self.settings)

    @property
    def secure(self) -> bool:
        return self.settings.base_url.startswith("https://")


def app_context(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


App = Annotated[AppContext, Depends(app_context)]
