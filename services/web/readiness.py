"""Whether the database answers and has the current schema, asked in a time that no hanging database can exceed."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError

from services.store.db.database import Database
from services.store.maintenance import migrate
from services.telemetry import log

SECONDS = 2.0
"""Kubernetes and Docker ask every few seconds and take a late answer for none."""
NO_ANSWER = "the database does not answer"
OLD_SCHEMA = "the database schema is out of date; run: paperwire migrate"


class Readiness:
    """Asks on a connection and a thread of its own, so that busy pages do not look like a dead database."""

    def __init__(self, url: str) -> None:
        self._db = Database(url, pool_size=1, statement_timeout_ms=int(SECONDS * 1000), answer_seconds=SECONDS)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")

    async def problem(self) -> str:
        """What is wrong; empty when the pages can be served. Takes at most SECONDS."""
        asked = asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
        try:
            return await asyncio.wait_for(asked, SECONDS)
        except TimeoutError:
            log.warning("the web process is not ready", why="no answer in time")
            return NO_ANSWER

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._db.close()

    def _ask(self) -> str:
        try:
            return "" if migrate.is_current(self._db.engine) else OLD_SCHEMA
        except SQLAlchemyError as error:
            log.warning("the web process is not ready", why=type(error).__name__)
            return NO_ANSWER
