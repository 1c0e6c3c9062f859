"""The service's stages on a real database, and an embedder that knows four words: what the flow tests work with."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update

from services.domain.delivery.state_machine import DeliveryKind
from services.domain.papers.paper import Entry, Identifier, Listing
from services.domain.subscriptions.draft import Draft
from services.errors import EmbedderError
from services.flow.commands import channels, subscribe
from services.flow.pipeline import embed, ingest, match, notify
from services.flow.pipeline.deliver import claim as claiming
from services.flow.pipeline.deliver import record as recording
from services.flow.pipeline.deliver import render as rendering
from services.flow.pipeline.deliver.claim import ClaimedDelivery, DeliveryOutcome
from services.flow.pipeline.deliver.gather import gather_due
from services.flow.pipeline.deliver.send import send_due
from services.ports import Outcome
from services.settings import Settings
from services.store.accounts import accounts
from services.store.db.database import Database
from services.store.db.secrets import SecretBox
from services.store.db.tables import channel, delivery, delivery_item, match_job, paper
from services.store.db.tables import match as match_table
from services.store.delivery.records import NewDelivery
from services.store.sources import sources

WORDS = ("diffusion", "agent", "protein", "robot")
DAY = date(2026, 5, 4)


class WordEmbedder:
    """A text's vector says which of four words the text has; with `down` set, embedding fails as without a server."""

    name = "words"
    dimensions = len(WORDS) + 1
    score_quantiles = ((0.2, 0.3), (0.001, 0.7))
    floor = 0.3

    def __init__(self) -> None:
        self.down = False

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.down:
            raise EmbedderError("no answer")
        rows = np.array([[*(word in text.lower() for word in WORDS), 0.1] for text in texts], dtype=np.float32)
        return rows.reshape(-1, self.dimensions) / np.linalg.norm(rows.reshape(-1, self.dimensions), axis=1)[:, None]


def entry(title: str, number: int = 0, **values: Any) -> Entry:
    identifiers = (Identifier("arxiv", f"2605.{number:05d}"),) if number else ()
    return Entry(**{"title": title, "identifiers": identifiers, "announced_on": DAY, **values})


def new_test(account_id: int, channel_id: int, number: int = 1) -> NewDelivery:
    """A message without papers that is to be created."""
    key = f"test:{channel_id}:{number}"
    return NewDelivery(account_id=account_id, channel_id=channel_id, kind=DeliveryKind.TEST, idem_key=key)


class Pipeline:
    """The stages of the service, called as functions in the test's process on a real database.

    It begins with one account (ada@example.org, UTC), her e-mail channel, which writes to the outbox folder unless
    a test sets a mail server, and an imported source. A typical test takes these steps:

        world.subscribe("Agents", query="agent*")       # whom papers are for
        world.run(entry("Planning with agents", 1))     # announce, embed, match, notify and deliver
        assert len(world.mails()) == 1                  # what came out

    `run` is `announce`, `embed_and_match`, `notify` and `deliver` in a row; a test that looks between two stages, or
    breaks something there, calls them one by one. `claim`, `render`, `commit` and `record` are the steps of a single
    send. No clock waits: `make_due` moves times in the database into the past, `let_days_pass` does so for all that
    waits and `expire_leases` for the leases of a lost worker. With `TimedPipeline` the test sets the time itself.
    """

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db, self.settings, self.embedder = db, settings, WordEmbedder()
        self.shard = match.Shard(number=0)
        with db.transaction() as tx:
            self.account = accounts.add(tx, "ada@example.org", "UTC")
            self.source = sources.source_of_imports(tx, "daily-papers")
        self.email = channels.own_email_channel(db, settings, self.account, "ada@example.org")

    def subscribe(self, name: str = "Mine", to: Sequence[int] = (), **values: Any) -> int:
        draft = Draft(name=name, **{"cadence": "immediate", **values})
        return subscribe.save(self.db, self.embedder, self.account, draft, to or [self.email])

    def announce(self, *entries: Entry, source: str = "daily-papers", silent: bool = False) -> ingest.Tally:
        with self.db.transaction() as tx:
            where = sources.source_of_imports(tx, source)
            listing = Listing(format="test", entries=entries, announced_on=DAY)
            return ingest.store(tx, where, listing, now=self.db.now(), silent=silent)

    def embed_and_match(self) -> None:
        while embed.work(self.db, self.settings, self.embedder):
            pass
        while match.work(self.db, self.settings, [self.shard]):
            pass

    def notify(self) -> None:
        while notify.work(self.db, self.settings):
            pass

    def deliver(self) -> None:
        while gather_due(self.db, self.settings):
            pass
        while send_due(self.db, self.settings, self.secrets):
            pass

    def claim(self) -> ClaimedDelivery:
        """What a worker has who took the delivery that is due longest."""
        (claimed,) = claiming.claim_due(self.db, self.settings, self.secrets, 1)[1]
        return claimed

    def render(self, claimed: ClaimedDelivery) -> bytes:
        (message,) = rendering.render_claimed(self.db, self.settings, self.secrets, [claimed])
        return message.body

    def commit(self, claimed: ClaimedDelivery) -> ClaimedDelivery:
        (committed,) = recording.write(self.db, self.settings, [claimed])
        return committed

    def record(self, claimed: ClaimedDelivery, outcome: Outcome) -> None:
        recording.write(self.db, self.settings, [], [DeliveryOutcome(claimed, outcome)])

    @property
    def secrets(self) -> SecretBox:
        return SecretBox(self.settings.secret_keys)

    def run(self, *entries: Entry, source: str = "daily-papers") -> None:
        """A listing all the way to people."""
        self.announce(*entries, source=source)
        self.embed_and_match()
        self.notify()
        self.deliver()

    def rows(self, query: Any) -> list[dict[str, Any]]:
        with self.db.transaction() as tx:
            return [dict(row) for row in tx.execute(query).mappings()]

    def matches(self) -> set[tuple[int, int]]:
        return {(row["subscription_id"], row["paper_id"]) for row in self.rows(select(match_table))}

    def items(self) -> list[dict[str, Any]]:
        return self.rows(select(delivery_item).order_by(delivery_item.c.id))

    def deliveries(self) -> list[dict[str, Any]]:
        return self.rows(select(delivery).order_by(delivery.c.id))

    def paper(self, title: str) -> int:
        return int(self.rows(select(paper).where(paper.c.title == title))[0]["id"])

    def make_due(self, table: Any, **columns: timedelta) -> None:
        """Moves times of a table into the past, as if the clock had gone on."""
        with self.db.transaction() as tx:
            tx.execute(update(table).values({name: table.c[name] - by for name, by in columns.items()}))

    def let_days_pass(self) -> None:
        """Everything that waits for an hour is due, digests too."""
        self.make_due(delivery_item, not_before=timedelta(days=9))
        self.make_due(channel, next_digest_at=timedelta(days=9))

    def expire_leases(self) -> None:
        with self.db.transaction() as tx:
            for table in (delivery, match_job):
                tx.execute(update(table).values(lease_until=self.db.now() - timedelta(seconds=1)))

    def mails(self) -> list[str]:
        outbox = Path(self.settings.data_dir) / "outbox"
        return [path.read_text() for path in sorted(outbox.glob("*.eml"))]

    def now(self) -> datetime:
        return self.db.now()


class Clock:
    """The database's clock as a test turns it."""

    def __init__(self, now: str) -> None:
        self.now = datetime.fromisoformat(now).replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def to(self, now: str) -> None:
        self.now = datetime.fromisoformat(now).replace(tzinfo=UTC)

    def on(self, **by: float) -> None:
        self.now += timedelta(**by)


class TimedPipeline(Pipeline):
    """A world whose time is the test's: Monday 4 May 2026, six in the morning UTC, at first."""

    def __init__(self, db: Database, settings: Settings, clock: Clock) -> None:
        super().__init__(db, settings)
        self.clock = clock
        self.made = 0
        self.deliver()

    def hear(self, title: str = "planning", **values: Any) -> str:
        """Announces one more paper and works everything off; its title."""
        self.made += 1
        name = f"Paper {self.made} about {title}"
        self.run(entry(name, self.made, announced_on=self.clock.now.date(), **values))
        return name

    def wait(self, until: str) -> None:
        """Turns the clock and works everything off."""
        self.clock.to(until)
        self.notify()
        self.deliver()

    def digests(self) -> list[tuple[str, list[str]]]:
        """(local date, titles) of each digest that was sent."""
        titles = {row["id"]: row["title"] for row in self.rows(select(paper))}
        sent = [row for row in self.deliveries() if (row["kind"], row["state"]) == ("digest", "sent")]
        return [
            (
                row["idem_key"].rpartition(":")[2],
                [titles[item["paper_id"]] for item in self.items() if item["delivery_id"] == row["id"]],
            )
            for row in sent
        ]
