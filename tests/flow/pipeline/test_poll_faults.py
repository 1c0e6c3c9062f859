"""A plugin that raises fails the poll of its own source and no other."""

from collections.abc import Iterator
from datetime import date, datetime

import pytest
from sqlalchemy import insert, update

from services import plugins
from services.domain.sources.polling import Timetable
from services.flow.pipeline import poll
from services.http.client import Fetcher
from services.ports import Request
from services.sources.feed import Feed
from services.store.db.tables import rate_limit, source
from tests.flow.pipeline.test_poll import FEED, add, fetcher, peer, row_of
from tests.support.sinks import Answer, HttpSink
from tests.support.world import Pipeline

__all__ = ["fetcher", "peer"]


class AsksBadly(Feed):
    kind = "asks-badly"

    def request(self, location: str, now: datetime) -> Request:
        raise TypeError("a programmer's fault")


class LooksBackBadly(Feed):
    kind = "looks-back-badly"
    timetable = Timetable(states_days=True)

    def request_day(self, location: str, day: date) -> Request | None:
        raise KeyError("a programmer's fault")


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    extra = (AsksBadly(), LooksBackBadly())
    plugins.sources().update({each.kind: each for each in extra})
    yield
    for each in extra:
        del plugins.sources()[each.kind]


@pytest.mark.parametrize("kind", ["asks-badly", "looks-back-badly", "removed-since"])
def test_a_plugin_that_raises_does_not_affect_the_other_seven_answers(
    world: Pipeline, peer: HttpSink, fetcher: Fetcher, kind: str
) -> None:
    paths = [f"/{number}" for number in range(8)]
    ids = [add(world, peer, path) for path in paths]
    with world.db.transaction() as tx:
        for source_id in ids:  # as if each were another host's
            tx.execute(insert(rate_limit).values(key=f"gate {source_id}"))
            tx.execute(update(source).where(source.c.id == source_id).values(rate_limit_key=f"gate {source_id}"))
        tx.execute(update(source).where(source.c.id == ids[3]).values(kind=kind))
    for path in paths:
        peer.always(path, Answer(body=FEED.format(title=f"Paper{path[1:]}")))
    assert poll.work(world.db, world.settings, fetcher)
    rows = [row_of(world, source_id) for source_id in ids]
    assert [row["lease_until"] for row in rows] == [None] * 8
    broken = rows.pop(3)
    assert [row["error"] for row in rows] == [""] * 7
    assert all(row["succeeded_at"] for row in rows)
    assert broken["failures"] == 1
    assert kind in str(broken["error"])
    assert broken["next_poll_at"] > world.now()  # type: ignore[operator]
