"""Retention deletes old finished rows, and keeps the rows that prevent duplicate alerts."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update

from services.flow.commands import channels, explain, resend
from services.flow.upkeep import retention
from services.store.db.tables import (
    bounce,
    change_log,
    channel,
    confirmation,
    delivery,
    delivery_item,
    event,
    invitation,
    link_request,
    listing,
    match,
    match_job,
    paper,
    rate_limit,
    run,
    session,
    signin_link,
    source,
    subscription,
)
from services.store.maintenance import due_work
from services.store.maintenance import retention as retention_steps
from services.store.subscriptions import subscriptions
from tests.support.world import Pipeline, entry

AGENTS = "One paper about agent planning"
MONTH, YEAR = timedelta(days=31), timedelta(days=401)


def clean_all(world: Pipeline) -> int:
    """Works until nothing is left to delete. Returns the number of batches."""
    world.make_due(rate_limit, available_at=timedelta(days=2))
    batches = 0
    while retention.work(world.db, world.settings):
        batches += 1
        assert batches < 100
    return batches


def age(world: Pipeline, by: timedelta) -> None:
    """Moves all times into the past by `by`."""
    times = {
        delivery: ("created_at", "sent_at"), delivery_item: ("created_at", "not_before"), match: ("created_at",),
        run: ("created_at", "matched_at", "embedded_at"), match_job: ("done_at",), subscription: ("deleted_at",),
        channel: ("deleted_at",),
    }  # fmt: skip
    for table, names in times.items():
        world.make_due(table, **dict.fromkeys(names, by))


def count(world: Pipeline, table: object) -> int:
    return int(world.rows(select(func.count().label("n")).select_from(table))[0]["n"])  # type: ignore[arg-type]


@pytest.fixture
def sent(world: Pipeline) -> Pipeline:
    world.subscribe(query="planning")
    world.run(entry(AGENTS, 1))
    assert world.deliveries()[0]["state"] == "sent"
    return world


def test_nothing_recent_is_deleted(sent: Pipeline) -> None:
    before = [count(sent, table) for table in (delivery, delivery_item, match, event, match_job, paper)]
    assert clean_all(sent) == 0
    assert [count(sent, table) for table in (delivery, delivery_item, match, event, match_job, paper)] == before
    assert sent.deliveries()[0]["rendered"]
    assert sent.mails()


def test_old_message_bytes_events_and_files_are_deleted_and_records_stay(sent: Pipeline) -> None:
    age(sent, MONTH)
    for path in Path(sent.settings.data_dir, "outbox").iterdir():
        os.utime(path, (0, 0))
    clean_all(sent)
    assert sent.mails() == []
    assert (sent.deliveries()[0]["rendered"], sent.deliveries()[0]["state"]) == (None, "sent")
    assert [count(sent, table) for table in (event, match_job)] == [0, 0]
    assert [count(sent, table) for table in (delivery, delivery_item, match, paper)] == [1, 1, 1, 1]


def test_unfinished_deliveries_and_runs_are_kept(sent: Pipeline) -> None:
    for state in ("pending", "claimed", "sending", "uncertain"):
        with sent.db.transaction() as tx:
            tx.execute(update(delivery).values(state=state, next_attempt_at=sent.now()))
            tx.execute(update(run).values(matched_at=None))
        age(sent, YEAR)
        assert clean_all(sent) <= 1  # the finished jobs
        assert sent.deliveries()[0]["rendered"], state
        assert count(sent, event) == 1


def test_a_dead_message_can_be_replayed_after_its_bytes_were_cleared(sent: Pipeline) -> None:
    with sent.db.transaction() as tx:
        tx.execute(update(delivery).values(state="dead", bytes_final=True, sent_at=None))
    age(sent, MONTH)
    clean_all(sent)
    resend.retry(sent.db, 1)
    sent.deliver()
    assert sent.deliveries()[0]["state"] == "sent"
    assert sent.deliveries()[0]["rendered"]


def test_a_paper_whose_delivery_was_deleted_is_not_sent_again(sent: Pipeline) -> None:
    """Neither its own subscription nor a new one sends it."""
    age(sent, YEAR)
    clean_all(sent)
    assert sent.deliveries() == []
    assert sent.items()[0]["dropped_because"].startswith("sent on 20")
    sent.subscribe("Later", query="agent", sources=("arxiv",))
    sent.announce(entry(AGENTS, 1), source="arxiv")
    sent.embed_and_match()
    with sent.db.transaction() as tx:
        tx.execute(update(match).values(notified_at=None))
    sent.notify()
    sent.deliver()
    assert count(sent, match) == 2
    assert sent.deliveries() == []
    steps = explain.explain(sent.db, sent.embedder, str(sent.paper(AGENTS)), 1)
    assert any("sent on 20" in text for _, text in steps)


def test_an_item_of_a_deleted_dead_delivery_says_that_it_was_not_delivered(sent: Pipeline) -> None:
    with sent.db.transaction() as tx:
        tx.execute(update(delivery).values(state="dead"))
    age(sent, YEAR)
    clean_all(sent)
    assert sent.items()[0]["dropped_because"].startswith("not delivered on 20")


def test_matches_and_items_of_deleted_subscriptions_and_channels_are_deleted(sent: Pipeline) -> None:
    with sent.db.transaction() as tx:
        subscriptions.remove(tx, 1, sent.account)
        tx.execute(update(channel).values(deleted_at=func.now()))
    age(sent, YEAR)
    clean_all(sent)
    assert [count(sent, table) for table in (delivery, delivery_item, match)] == [0, 0, 0]
    assert count(sent, paper) == 1


def test_the_last_listing_of_each_source_shows_that_its_first_poll_is_over(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        new = insert(source).values(kind="feed", location="x").returning(source.c.id)
        other = tx.scalars(new).one()
        for source_id in (world.source, world.source, other):
            long_ago = world.now() - YEAR
            tx.execute(insert(listing).values(source_id=source_id, fetched_at=long_ago, done_at=long_ago))
        tx.execute(insert(listing).values(source_id=world.source, fetched_at=long_ago))
    clean_all(world)
    kept = world.rows(select(listing.c.id, listing.c.done_at).order_by(listing.c.id))
    assert [row["id"] for row in kept] == [2, 3, 4]


def test_items_wait_a_week_for_the_confirmation_of_an_address(world: Pipeline) -> None:
    lab = channels.find_or_add(world.db, world.settings, world.account, "email:lab@example.org")
    world.subscribe(query="planning", to=[lab])
    world.run(entry(AGENTS, 1))
    clean_all(world)
    assert world.items()[0]["dropped_because"] == ""
    age(world, timedelta(days=8))
    clean_all(world)
    assert world.items()[0]["dropped_because"] == "the address was not confirmed for 7 days"


def test_confirmations_and_sign_in_links_are_deleted_after_a_day(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        for days in (0, 2):
            then = world.now() - timedelta(days=days)
            tx.execute(insert(confirmation).values(address="a@b.c", ip="203.0.113.1", created_at=then))
            tx.execute(insert(signin_link).values(digest=bytes([days]), account_id=world.account, expires_at=then))
        report = {"channel_id": world.email, "status": "5.2.2"}
        tx.execute(insert(bounce).values(digest=b"x", created_at=world.now() - YEAR, **report))
    clean_all(world)
    assert [count(world, table) for table in (confirmation, signin_link, bounce)] == [1, 1, 0]


def test_requests_for_links_and_old_invitations_are_deleted(world: Pipeline) -> None:
    now = world.now()
    old = {"expires_at": now - timedelta(days=31)}
    revoked = {"expires_at": now, "revoked_at": now - timedelta(days=31)}
    with world.db.transaction() as tx:
        for row in (old, revoked, {"expires_at": now - timedelta(days=29)}):
            tx.execute(insert(invitation).values(email="a@b.c", invited_by=world.account, **row))
        for days in (0, 2):
            tx.execute(insert(link_request).values(email="a@b.c", created_at=now - timedelta(days=days)))
    clean_all(world)
    assert (count(world, invitation), count(world, link_request)) == (1, 1)


def test_the_change_log_is_kept_for_its_own_time(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        for days in (399, 401):
            then = world.now() - timedelta(days=days)
            tx.execute(
                insert(change_log).values(account_id=world.account, actor="x", what="subscribed", created_at=then)
            )
    clean_all(world)
    assert count(world, change_log) == 1


def test_sessions_are_deleted_thirty_days_after_they_end(world: Pipeline) -> None:
    ended = {"ended_at": world.now() - timedelta(days=31)}
    rows = [{}, {"ended_at": world.now() - timedelta(days=29)}, ended, {"created_at": world.now() - timedelta(days=61)}]
    with world.db.transaction() as tx:
        for number, row in enumerate(rows):
            tx.execute(insert(session).values(digest=bytes([number]), account_id=world.account, member_id=1, **row))
    clean_all(world)
    assert count(world, session) == 2


def test_rows_are_deleted_in_batches_until_none_is_left(world: Pipeline) -> None:
    with world.db.transaction() as tx:
        then = world.now() - timedelta(days=2)
        rows = [{"address": "a@b.c", "ip": "", "created_at": then}] * (2 * retention_steps.BATCH_SIZE + 1)
        tx.execute(insert(confirmation), rows)

    def is_due() -> bool:
        with world.db.transaction() as tx:
            tx.execute(update(rate_limit).where(rate_limit.c.key == "bounces").values(available_at=world.now() + YEAR))
            return "slow" in due_work.stages_with_work(tx, world.now(), 1.0, world.embedder.name)

    with world.db.transaction() as tx:
        tx.execute(insert(rate_limit).values(key="bounces"))
    assert is_due()
    assert clean_all(world) == 3
    assert not is_due()
    assert not retention.work(world.db, world.settings)
    (row,) = world.rows(select(rate_limit).where(rate_limit.c.key == "clean-up"))
    assert row["available_at"].hour == 3
    assert row["available_at"] > world.now()


def test_idle_rate_limits_of_channels_are_deleted_and_those_of_sources_stay(world: Pipeline) -> None:
    past, later = world.now() - timedelta(days=2), world.now() + timedelta(days=3)
    with world.db.transaction() as tx:
        rows = {"slack:ab:#old": past, "slack:ab:#limited": later, "2001:db8::1": past, "export.arxiv.org": past}
        tx.execute(insert(rate_limit), [{"key": key, "available_at": at} for key, at in rows.items()])
        tx.exec_driver_sql("UPDATE source SET rate_limit_key = '2001:db8::1'")
    clean_all(world)
    left = {row["key"] for row in world.rows(select(rate_limit))}
    assert left >= {"slack:ab:#limited", "2001:db8::1", "export.arxiv.org"}
    assert "slack:ab:#old" not in left
