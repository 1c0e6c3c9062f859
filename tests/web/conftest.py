"""The web application on a real database, and browsers with and without a session."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import Response
from starlette.testclient import TestClient

from services.domain.interests.calibration import CompiledInterest
from services.domain.papers.paper import Entry, Identifier, Listing
from services.domain.subscriptions.draft import Draft
from services.flow.commands import channels
from services.flow.pipeline import ingest
from services.settings import Settings
from services.store.accounts import accounts, sessions
from services.store.db.database import Database
from services.store.sources import sources
from services.store.subscriptions import matches
from services.store.subscriptions.records import NewMatch
from services.store.subscriptions.subscriptions import save
from services.web.app import create_app
from services.web.auth import COOKIE

BASE = "http://127.0.0.1:8400"
DAY = date(2026, 5, 4)


class Browser:
    """A browser that keeps cookies, sends `Origin` and the form token, and follows no redirects.

    `key`: of its session; empty before the sign-in.
    """

    def __init__(self, app: FastAPI, key: str, base: str = BASE) -> None:
        self.client = TestClient(app, base_url=base, follow_redirects=False)
        self.origin = base
        session = app.state.context.sessions.new(key)
        self.token = app.state.context.sessions.form_token(session)
        host = base.partition("://")[2].partition(":")[0]
        # The domain under which the cookie jar stores cookies of this host.
        domain = host if "." in host else f"{host}.local"
        self.client.cookies.set(COOKIE, app.state.context.sessions.write(session), domain=domain)

    def get(self, path: str, **headers: str) -> Response:
        return self.client.get(path, headers=headers)

    def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> Response:
        data = {"token": self.token, **(fields or {})}
        return self.client.post(path, data=data, headers={"Origin": self.origin, **headers})


class Site:
    def __init__(self, app: FastAPI, db: Database, settings: Settings) -> None:
        self.app, self.db, self.settings = app, db, settings
        with db.transaction() as tx:
            self.ada = accounts.add(tx, "ada@example.org", "Europe/Berlin", operator=True)
            self.ben = accounts.add(tx, "ben@example.org", "UTC")

    def browser(self, account_id: int | None = None, base: str = BASE) -> Browser:
        return Browser(self.app, "" if account_id is None else self.session(account_id), base)

    def session(self, account_id: int) -> str:
        """The key of a new session."""
        with self.db.transaction() as tx:
            return sessions.start(tx, account_id, "192.0.2.7", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")

    def channel(self, account_id: int, word: str) -> int:
        return channels.find_or_add(self.db, self.settings, account_id, word, verified=True)

    def subscription(self, account_id: int, *channels: int, **values: Any) -> int:
        draft = Draft(**{"name": "Mine", "query": "diffusion", **values})
        with self.db.transaction() as tx:
            return save(tx, account_id, draft, CompiledInterest(), channels)

    def paper(self, title: str, number: int = 1, **values: Any) -> int:
        entry = Entry(title=title, identifiers=(Identifier("arxiv", f"2605.{number:05d}"),), **values)
        with self.db.transaction() as tx:
            listing = Listing(format="test", entries=(entry,), announced_on=DAY)
            ingest.store(tx, sources.source_of_imports(tx, "daily-papers"), listing, now=self.db.now(), silent=False)
            found = tx.exec_driver_sql("SELECT max(id) FROM paper").scalar_one()
        return int(found)

    def match(self, account_id: int, subscription_id: int, paper_id: int, why: str = "it fits") -> None:
        match = NewMatch(account_id, subscription_id, paper_id, score=None, reason=why, revision=1)
        with self.db.transaction() as tx:
            matches.store(tx, [match])

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with self.db.transaction() as tx:
            result = tx.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture
def site(db: Database, settings: Settings) -> Iterator[Site]:
    app = create_app()
    with TestClient(app):
        yield Site(app, db, settings)


@pytest.fixture
def ada(site: Site) -> Browser:
    """An operator's browser."""
    return site.browser(site.ada)


@pytest.fixture
def ben(site: Site) -> Browser:
    """The browser of another account, which is not an operator."""
    return site.browser(site.ben)


def text_of(response: Response) -> str:
    """The text of a page without tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.text).split())
