"""The service's processes on a database of their own, with sinks that record, and hands to hurt them with."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.domain.delivery.schedule import ChannelHours
from services.domain.papers.paper import Entry, Identifier, Listing
from services.domain.subscriptions.draft import Draft
from services.flow.commands import channels as channel_commands
from services.flow.commands import subscribe
from services.flow.pipeline import embed, ingest, match, notify
from services.settings import Settings, load
from services.store.accounts import accounts
from services.store.db.database import Database, wake
from services.store.maintenance import due_work
from services.store.maintenance.audit import Audit, audit
from services.store.sources import sources
from services.telemetry import log
from tests.faults import oracle
from tests.faults.nursery import Nursery
from tests.faults.oracle import Message, Told
from tests.faults.page import Page
from tests.faults.role import Role
from tests.faults.servers import Servers
from tests.flow.conftest import WordEmbedder
from tests.service import until
from tests.sinks import Asked, HttpSink, SmtpSink, refused_port

SCALE = 1 / 30
"""Of leases, backoffs and sweeps: a claim lives 6 s, a mail's sending 30 s, and the sweep comes every half second."""
SOON = timedelta(minutes=11)
"""Later than the audit's patience."""
KEY = "a key for fault tests"
_papers = count(10_000)


@dataclass(slots=True)
class Reader:
    """Somebody who asked for a topic; `channels` as the oracle names them."""

    account: int
    subscription: int
    channels: dict[str, int]
    topic: str


@dataclass
class Rig:
    servers: Servers
    nursery: Nursery
    folder: Path
    smtp: SmtpSink
    slack: HttpSink
    scale: float = SCALE
    env: dict[str, str] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    expected: set[Told] = field(default_factory=set)
    refused: list[Asked] = field(default_factory=list)
    """Posts that the Slack sink read and said no to."""
    roles: list[Role] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self.servers.broker() as broker:
            broker.flushall()
        self.url = self.servers.new_database()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAPERWIRE_", "FAULT"))}
        self.env = {
            **kept,
            "PAPERWIRE_DATABASE_URL": self.url,
            "PAPERWIRE_BROKER_URL": self.servers.broker_url,
            "PAPERWIRE_DATA_DIR": str(self.folder / "data"),
            "PAPERWIRE_SECRET_KEY": KEY,
            "PAPERWIRE_BASE_URL": "https://papers.example.org",
            "PAPERWIRE_TIMEZONE": "UTC",
            "PAPERWIRE_ALLOW_HOSTS": "127.0.0.1/32",
            # Patient whatever the scale: a crowded machine is not a dead server.
            "PAPERWIRE_SMTP_URL": f"{self.smtp.url}?timeout=600",
            "PAPERWIRE_SLACK_API_URL": f"{self.slack.url}/",
            "PAPERWIRE_SLACK_BOT_TOKEN": "xoxb-faults",
            "PAPERWIRE_TIME_SCALE": str(self.scale),
            **self.env,
        }
        self.db = Database(self.url)
        self.settings = load(
            Settings, database_url=self.url, secret_key=KEY, data_dir=self.folder / "data", time_scale=self.scale
        )
        self._shard = match.Shard(number=0)

    # ── people and papers ─────────────────────────────────────────────────────────────────────────────────────

    def reader(self, name: str, topic: str, to: Sequence[str] = ("email",), **asked: Any) -> Reader:
        """An account that asks for `topic` on its own address, or on `#channels`."""
        address = f"{name}@example.org"
        known = next((one for one in self.readers if address in one.channels), None)
        if known is None:
            with self.db.transaction() as tx:
                account = accounts.add(tx, address, asked.pop("timezone", "UTC"))
        else:
            account = known.account
        words = {one: f"email:{address}" if one == "email" else f"slack:{one}" for one in to}
        has_hours = not asked.keys().isdisjoint({"at", "weekday"})
        hours = ChannelHours(asked.pop("at", time(8)), asked.pop("weekday", 0)) if has_hours else None
        channels = {
            address if one == "email" else one: channel_commands.find_or_add(
                self.db, self.settings, account, word, verified=True, hours=hours
            )
            for one, word in words.items()
        }
        draft = Draft(name=f"{name} on {topic}", query=topic, **{"cadence": "immediate", **asked})
        number = subscribe.save(self.db, WordEmbedder(), account, draft, list(channels.values()))
        self.readers.append(Reader(account, number, channels, topic))
        return self.readers[-1]

    def announce(self, topic: str, papers: int = 1) -> list[str]:
        """Commits a listing of new papers on a topic; their tokens. Whoever asks for the topic is to get them."""
        tokens = [f"P{next(_papers)}" for _ in range(papers)]
        entries = tuple(
            Entry(
                title=f"{token} about {topic}",
                authors=("Ada Lovelace",),
                identifiers=(Identifier("arxiv", f"2605.{token[1:]}"),),
            )
            for token in tokens
        )
        with self.db.transaction() as tx:
            listing = Listing(format="test", entries=entries, announced_on=date(2026, 5, 4))
            ingest.store(tx, sources.source_of_imports(tx, "daily-papers"), listing, now=self.db.now(), silent=False)
        self.expect(topic, tokens)
        return tokens

    def expect(self, topic: str, tokens: Sequence[str]) -> None:
        self.expected |= {
            Told(channel, token)
            for reader in self.readers
            if reader.topic == topic
            for channel in reader.channels
            for token in tokens
        }

    def match(self) -> None:
        """Works the stages before delivery off, in this process."""
        while embed.work(self.db, self.settings, WordEmbedder()):
            pass
        while match.work(self.db, self.settings, [self._shard]):
            pass

    def notify(self) -> None:
        while notify.work(self.db, self.settings):
            pass
        self.ring("deliver")

    def tell(self, topic: str, papers: int = 1) -> list[str]:
        """Announced, matched and notified: what is left is delivery."""
        tokens = self.announce(topic, papers)
        self.match()
        self.notify()
        return tokens

    # ── processes ─────────────────────────────────────────────────────────────────────────────────────────────

    def role(self, name: str, *words: str, **env: str) -> Role:
        role = Role(self.nursery, words, {**self.env, **env}, self.folder / f"{len(self.roles)}-{name}.log")
        self.roles.append(role)
        return role

    def worker(self, queues: str = "deliver", *, concurrency: int = 1, **env: str) -> Role:
        return self.role(
            f"worker-{queues}", "workers", "worker", "--queues", queues, "--concurrency", str(concurrency), **env
        )

    def scheduler(self, **env: str) -> Role:
        return self.role("scheduler", "workers", "scheduler", **env)

    def web(self, **env: str) -> Page:
        with refused_port() as port:
            pass
        role = self.role("web", "services.cli", "web", "--port", str(port), **env)
        page = Page(role, port, KEY)
        self.until(lambda: page.get("/healthz").status == 200, "the page is served")
        return page

    def close(self) -> None:
        for role in self.roles:
            role.send(signal.SIGCONT)
            role.kill()
        self.db.close()

    # ── hands ─────────────────────────────────────────────────────────────────────────────────────────────────

    def ring(self, stage: str, times: int = 1) -> None:
        """Messages as the scheduler sends them."""
        with Celery("faults", broker=self.servers.broker_url) as app:
            for _ in range(times):
                app.send_task(f"paperwire.{stage}", queue={"notify": "deliver"}.get(stage, stage))

    def wake(self, stage: str) -> None:
        with self.db.transaction() as tx:
            wake(tx, stage)

    def set_clock(self, ahead: timedelta) -> None:
        """The database's time, and with it every process's, is real time plus this."""
        with self.db.transaction() as tx:
            tx.execute(text("UPDATE clock.setting SET ahead = :ahead"), {"ahead": ahead})
        told = self.db.now() - datetime.now(UTC)
        assert abs(told - ahead) < timedelta(minutes=1), "the service goes by another clock than the one that is set"

    def query(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        with self.db.transaction() as tx:
            return [tuple(row) for row in tx.execute(text(sql), values)]

    def idle(self) -> None:
        """Waits until the workers and the scheduler have nothing due at the time that is set, and know it."""
        self.ring("deliver")

        def nothing() -> bool:
            with self.db.transaction() as tx:
                due_now = due_work.stages_with_work(tx, self.db.now(), self.scale, "words")
            with self.servers.broker() as broker:
                return "deliver" not in due_now and not (broker.llen("deliver") or broker.hlen("unacked"))

        self.until(nothing, "nothing is due")

    def states(self) -> list[str]:
        return [state for (state,) in self.query("SELECT state FROM delivery ORDER BY id")]

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Waits through a database that is away."""

        def met() -> Any:
            try:
                return condition()
            except DBAPIError:
                return False

        try:
            return until(met, what, seconds)
        except AssertionError:
            log.warning("missing", told=sorted(self.expected - oracle.told(self.messages())), audit=self.audit())
            for role in self.roles:
                log.warning("said", role=role.log.name, last=role.log.read_text(errors="replace")[-3000:])
            log.warning("deliveries", rows=self.query("SELECT id, state, attempt, error FROM delivery"))
            raise

    # ── the oracle ────────────────────────────────────────────────────────────────────────────────────────────

    def messages(self) -> list[Message]:
        return oracle.received(self.smtp, self.slack, self.refused)

    def audit(self) -> Audit:
        """As it will be when the audit's patience is over."""
        with self.db.transaction() as tx:
            return audit(tx, self.db.now() + SOON)

    def settled(self) -> bool:
        """Everything was received, and no row waits for anything."""
        open_ones = "SELECT count(*) FROM delivery WHERE state IN ('pending', 'claimed', 'sending')"
        doubtful = "SELECT count(*) FROM delivery WHERE state = 'uncertain' AND next_attempt_at IS NOT NULL"
        unmatched = "SELECT count(*) FROM run WHERE matched_at IS NULL"
        if any(self.query(question)[0][0] for question in (open_ones, doubtful, unmatched)):
            return False
        return self.expected <= oracle.told(self.messages()) and self.audit().clean

    def settle(self, seconds: float = 90, *, doubtful: int | None = 0) -> list[Message]:
        """Waits until all is done, then judges; the messages. `doubtful` None: as many as the service says itself."""
        self.until(self.settled, "everything is sent and nothing waits", seconds)
        messages = self.messages()
        if doubtful is None:
            ((doubtful,),) = self.query(oracle.DOUBTFUL)
        oracle.judge(self.expected, messages, doubtful=doubtful)
        return messages
