"""The objects that all requests share: settings, database connections, keys."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from services.errors import ConfigError
from services.flow.oidc.issuer import Issuer
from services.flow.upkeep.model_rollover import serving_embedder
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.web.auth import COOKIE, SECURE_COOKIE, Sessions
from services.web.preview_slots import PreviewSlots
from services.web.readiness import Readiness

PAGE_TIMEOUT_MS = 2_000
"""The statement timeout of a page."""
PREVIEW_TIMEOUT_MS = 10_000
ANSWER_GRACE_SECONDS = 2.0
"""How long after the statement timeout the answer of the database must be here."""
MAX_PREVIEWS = 2
"""Each preview reads and scores two months of papers, so more at the same time would slow down the pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    settings: Settings
    db: Database
    slow_db: Database
    """The same database with PREVIEW_TIMEOUT_MS per statement, for previews and for compiling interests."""
    secrets: SecretBox
    sessions: Sessions
    previews: PreviewSlots
    issuer: Issuer | None
    """Where people sign in with OpenID Connect; None: nowhere."""
    readiness: Readiness

    @classmethod
    def build(cls, settings: Settings) -> "AppContext":
        url = settings.database_url.get_secret_value()
        keys = settings.secret_keys
        if not url:
            raise ConfigError("PAPERWIRE_DATABASE_URL is not set; `paperwire up` sets it for its own processes")
        if not keys:
            raise ConfigError("PAPERWIRE_SECRET_KEY is not set; set the same long random key for every process")
        return cls(
            settings=settings,
            db=_database(url, pool_size=8, statement_timeout_ms=PAGE_TIMEOUT_MS),
            slow_db=_database(url, pool_size=MAX_PREVIEWS, statement_timeout_ms=PREVIEW_TIMEOUT_MS),
            readiness=Readiness(url),
            secrets=SecretBox(keys),
            sessions=Sessions(keys),
            issuer=Issuer(settings) if settings.oidc_issuer else None,
            previews=PreviewSlots(MAX_PREVIEWS, settings.previews_per_minute),
        )

    def close(self) -> None:
        self.readiness.close()
        self.db.close()
        self.slow_db.close()

    @property
    def embedder(self) -> Embedder:
        return serving_embedder(self.db, self.settings)

    @property
    def is_https(self) -> bool:
        return self.settings.base_url.startswith("https://")

    @property
    def cookie(self) -> str:
        """The name of the session cookie."""
        return SECURE_COOKIE if self.is_https else COOKIE


def _database(url: str, *, pool_size: int, statement_timeout_ms: int) -> Database:
    answer_seconds = statement_timeout_ms / 1000 + ANSWER_GRACE_SECONDS
    return Database(url, pool_size=pool_size, statement_timeout_ms=statement_timeout_ms, answer_seconds=answer_seconds)


def app_context(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


App = Annotated[AppContext, Depends(app_context)]
