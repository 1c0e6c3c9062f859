"""The sending pause: nothing is sent, what waits is counted, and a copied database starts paused."""

from datetime import date, timedelta

import pytest
from sqlalchemy import update

from services.flow.pipeline.deliver.gather import gather_due
from services.store.db.tables import delivery, installation
from services.store.delivery import sending_pause
from services.store.maintenance import audit
from tests.support.world import Pipeline, entry

ALPHA, BETA = "One paper about agent planning", "Another paper about robot planning"


def begin(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        sending_pause.start(tx, "a test", world.now())


def end(world: Pipeline, last_day: date | None = None) -> int:
    with world.db.transaction() as tx:
        counted = sending_pause.count_as_sent(tx, last_day) if last_day else 0
        sending_pause.end(tx)
    world.deliver()
    return counted


def waiting(world: Pipeline) -> list[int]:
    with world.db.transaction() as tx:
        return [row.papers for row in sending_pause.waiting_papers(tx, world.now())]


def test_nothing_is_sent_during_the_pause_and_its_end_sends_one_message(world: Pipeline) -> None:
    world.subscribe(query="planning")
    begin(world)
    world.run(entry(ALPHA, 1))
    world.run(entry(BETA, 2))
    assert world.deliveries() == []
    assert waiting(world) == [2]
    with world.db.transaction() as tx:
        assert audit.audit(tx, world.now() + timedelta(hours=1)).clean
    end(world)
    (mail,) = world.mails()
    assert ALPHA in mail
    assert BETA in mail


def test_a_delivery_made_before_the_pause_waits_too(world: Pipeline) -> None:
    world.subscribe(query="planning")
    world.announce(entry(ALPHA, 1))
    world.embed_and_match()
    world.notify()
    assert gather_due(world.db, world.settings)
    begin(world)
    world.deliver()
    assert [row["state"] for row in world.deliveries()] == ["pending"]
    assert waiting(world) == [1]
    end(world)
    assert [row["state"] for row in world.deliveries()] == ["sent"]


def test_papers_announced_up_to_a_day_can_be_counted_as_sent(world: Pipeline) -> None:
    world.subscribe(query="planning")
    begin(world)
    world.run(entry(ALPHA, 1, announced_on=date(2026, 5, 1)))
    world.run(entry(BETA, 2, announced_on=date(2026, 5, 4)))
    assert end(world, date(2026, 5, 3)) == 1
    (mail,) = world.mails()
    assert ALPHA not in mail
    assert BETA in mail


@pytest.mark.parametrize("state", ["pending", "uncertain"])
def test_a_delivery_whose_papers_are_all_counted_as_sent_is_cancelled(world: Pipeline, state: str) -> None:
    world.subscribe(query="planning")
    world.announce(entry(ALPHA, 1))
    world.embed_and_match()
    world.notify()
    assert gather_due(world.db, world.settings)
    begin(world)
    with world.db.transaction() as tx:
        tx.execute(update(delivery).values(state=state, bytes_final=state == "uncertain", rendered=b"x"))
    assert end(world, date(2026, 5, 4)) == 1
    assert [row["state"] for row in world.deliveries()] == ["cancelled"]
    assert world.mails() == []


def test_a_database_copied_to_another_server_starts_paused(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        assert not sending_pause.start_if_copied(tx, world.now())
        assert not sending_pause.start_if_copied(tx, world.now())
        tx.execute(update(installation).values(system_identifier="7300000000000000000"))
        assert sending_pause.start_if_copied(tx, world.now())
        assert "copied from another server" in sending_pause.status(tx).paused_because
        sending_pause.end(tx)
        assert not sending_pause.start_if_copied(tx, world.now()), "it is this server's now"
