"""The test harness: processes of the service on a database of their own, sinks that record, and injected faults."""

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
from tests.faults.fork_server import ForkServer
from tests.faults.oracle import Alert, Message
from tests.faults.role import Role
from tests.faults.servers import Servers
from tests.faults.web_client import WebClient
from tests.support.service import until
from tests.support.sinks import Asked, HttpSink, SmtpSink, refused_port
from tests.support.world import WordEmbedder

SCALE = 1 / 30
"""The time scale: a claim's lease lasts 6 s, that of a mail being sent 30 s, and the scheduler looks twice a second."""
AFTER_AUDIT_GRACE = timedelta(minutes=11)
"""Longer than the audit waits before it counts work as overdue."""
KEY = "a key for fault tests of 32 characters or more"
_papers = count(10_000)


@dataclass(slots=True)
class Subscriber:
    """An account with a subscription to a topic; the keys of `channels` are those of the oracle's alerts."""

    account: int
    subscription: int
    channels: dict[str, int]
    topic: str


@dataclass
class FaultHarness:
    servers: Servers
    fork_server: ForkServer
    folder: Path
    smtp: SmtpSink
    slack: HttpSink
    scale: float = SCALE
    env: dict[str, str] = field(default_factory=dict)
    subscribers: list[Subscriber] = field(default_factory=list)
    expected: set[Alert] = field(default_factory=set)
    refused: list[Asked] = field(default_factory=list)
    """Posts that the Slack sink read and rejected."""
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
            "PAPERWIRE_ALLOW_SOURCE_HOSTS": "127.0.0.1/32",
            "PAPERWIRE_ALLOW_WEBHOOK_HOSTS": "127.0.0.1/32",
            # Not scaled, since a busy machine may answer slowly.
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

    def subscribe(self, name: str, topic: str, to: Sequence[str] = ("email",), **options: Any) -> Subscriber:
        """Adds a subscription to `topic`, sent to the account's address or to `#channels`."""
        address = f"{name}@example.org"
        existing = next((subscriber for subscriber in self.subscribers if address in subscriber.channels), None)
        if existing is None:
            with self.db.transaction() as tx:
                account = accounts.add(tx, address, options.pop("timezone", "UTC"))
        else:
            account = existing.account
        targets = {key: f"email:{address}" if key == "email" else f"slack:{key}" for key in to}
        has_hours = not options.keys().isdisjoint({"at", "weekday"})
        hours = ChannelHours(options.pop("at", time(8)), options.pop("weekday", 0)) if has_hours else None
        channels = {
            address if key == "email" else key: channel_commands.find_or_add(
                self.db, self.settings, account, target, verified=True, hours=hours
            )
            for key, target in targets.items()
        }
        draft = Draft(name=f"{name} on {topic}", query=topic, **{"cadence": "immediate", **options})
        number = subscribe.save(self.db, WordEmbedder(), account, draft, list(channels.values()))
        self.subscribers.append(Subscriber(account, number, channels, topic))
        return self.subscribers[-1]

    def announce(self, topic: str, papers: int = 1) -> list[str]:
        """Commits a listing of new papers on a topic and expects an alert for each subscriber; returns their tokens."""
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
            Alert(channel, token)
            for subscriber in self.subscribers
            if subscriber.topic == topic
            for channel in subscriber.channels
            for token in tokens
        }

    def match(self) -> None:
        """Runs the stages before delivery in this process."""
        while embed.work(self.db, self.settings, WordEmbedder()):
            pass
        while match.work(self.db, self.settings, [self._shard]):
            pass

    def notify(self) -> None:
        while notify.work(self.db, self.settings):
            pass
        self.send_tasks("deliver")

    def announce_and_notify(self, topic: str, papers: int = 1) -> list[str]:
        """Announces papers and runs every stage but delivery; returns their tokens."""
        tokens = self.announce(topic, papers)
        self.match()
        self.notify()
        return tokens

    # ── processes ─────────────────────────────────────────────────────────────────────────────────────────────

    def role(self, name: str, *arguments: str, **env: str) -> Role:
        role = Role(self.fork_server, arguments, {**self.env, **env}, self.folder / f"{len(self.roles)}-{name}.log")
        self.roles.append(role)
        return role

    def worker(self, queues: str = "deliver", *, concurrency: int = 1, **env: str) -> Role:
        return self.role(
            f"worker-{queues}", "workers", "worker", "--queues", queues, "--concurrency", str(concurrency), **env
        )

    def scheduler(self, **env: str) -> Role:
        return self.role("scheduler", "workers", "scheduler", **env)

    def web(self, **env: str) -> WebClient:
        with refused_port() as port:
            pass
        role = self.role("web", "services.cli", "web", "--port", str(port), **env)
        client = WebClient(role, port, KEY, self.db)
        self.until(lambda: client.get("/healthz").status == 200, "the web process answers")
        return client

    def close(self) -> None:
        for role in self.roles:
            role.send(signal.SIGCONT)
            role.kill()
        self.db.close()

    # ── faults and time ───────────────────────────────────────────────────────────────────────────────────────────

    def send_tasks(self, stage: str, times: int = 1) -> None:
        """Sends tasks to the broker as the scheduler does."""
        with Celery("faults", broker=self.servers.broker_url) as app:
            for _ in range(times):
                app.send_task(f"paperwire.{stage}", queue={"notify": "deliver"}.get(stage, stage))

    def wake(self, stage: str) -> None:
        with self.db.transaction() as tx:
            wake(tx, stage)

    def set_clock(self, ahead: timedelta) -> None:
        """Sets the time of the database, which all processes use, to the real time plus `ahead`."""
        with self.db.transaction() as tx:
            tx.execute(text("UPDATE clock.setting SET ahead = :ahead"), {"ahead": ahead})
        offset = self.db.now() - datetime.now(UTC)
        assert abs(offset - ahead) < timedelta(minutes=1), "the service does not use the clock that the test set"

    def query(self, sql: str, **values: object) -> list[tuple[Any, ...]]:
        with self.db.transaction() as tx:
            return [tuple(row) for row in tx.execute(text(sql), values)]

    def wait_until_idle(self) -> None:
        """Waits until nothing is due at the time that the test set and the broker has no task."""
        self.send_tasks("deliver")

        def nothing() -> bool:
            with self.db.transaction() as tx:
                due_now = due_work.stages_with_work(tx, self.db.now(), self.scale, "words")
            with self.servers.broker() as broker:
                return "deliver" not in due_now and not (broker.llen("deliver") or broker.hlen("unacked"))

        self.until(nothing, "nothing is due")

    def states(self) -> list[str]:
        return [state for (state,) in self.query("SELECT state FROM delivery ORDER BY id")]

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Waits for a condition. A database error counts as not met."""

        def met() -> Any:
            try:
                return condition()
            except DBAPIError:
                return False

        try:
            return until(met, what, seconds)
        except AssertionError:
            log.warning("missing", alerts=sorted(self.expected - oracle.alerts_in(self.messages())), audit=self.audit())
            for role in self.roles:
                log.warning("log", role=role.log.name, last=role.log.read_text(errors="replace")[-3000:])
            log.warning("deliveries", rows=self.query("SELECT id, state, attempt, error FROM delivery"))
            raise

    # ── the oracle ────────────────────────────────────────────────────────────────────────────────────────────

    def messages(self) -> list[Message]:
        return oracle.received(self.smtp, self.slack, self.refused)

    def audit(self) -> Audit:
        """The audit at the time when all pending work would count as overdue."""
        with self.db.transaction() as tx:
            return audit(tx, self.db.now() + AFTER_AUDIT_GRACE)

    def settled(self) -> bool:
        """Whether every expected alert arrived and no row is pending."""
        unsent = "SELECT count(*) FROM delivery WHERE state IN ('pending', 'claimed', 'sending')"
        uncertain = "SELECT count(*) FROM delivery WHERE state = 'uncertain' AND next_attempt_at IS NOT NULL"
        unmatched = "SELECT count(*) FROM run WHERE matched_at IS NULL"
        if any(self.query(statement)[0][0] for statement in (unsent, uncertain, unmatched)):
            return False
        return self.expected <= oracle.alerts_in(self.messages()) and self.audit().clean

    def settle(self, seconds: float = 90, *, resent: int | None = 0) -> list[Message]:
        """Waits until all work is done, checks the alerts and returns the messages.

        `resent` is how many messages may have a copy; None takes the number that the service recorded.
        """
        self.until(self.settled, "everything is sent and nothing is pending", seconds)
        messages = self.messages()
        if resent is None:
            ((resent,),) = self.query(oracle.RESENT_DELIVERIES)
        oracle.check_alerts(self.expected, messages, resent=resent)
        return messages
