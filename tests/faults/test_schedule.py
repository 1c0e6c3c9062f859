"""Rows 17 to 20: two schedulers or none, and clocks that jump or change their offset."""

import signal
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text, update

from services.store.db.tables import account
from services.store.maintenance import due_work
from tests.faults.harness import FaultHarness

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class LocalClock:
    """Sets the clock of a harness and counts the digests of each local date."""

    def __init__(self, harness: FaultHarness, zone: str) -> None:
        self.harness, self.zone = harness, ZoneInfo(zone)
        self.digests: Counter[date] = Counter()

    def advance_to(self, moment: datetime) -> None:
        """Sets the clock and waits until everything that is due is done."""
        before = len(self.harness.messages())
        self.harness.set_clock(moment - datetime.now(UTC))
        self.harness.wake("deliver")
        self.harness.until(self._idle, f"nothing is due at {moment}")
        self.digests[moment.astimezone(self.zone).date()] += len(self.harness.messages()) - before

    def _idle(self) -> bool:
        if set(self.harness.states()) - {"sent"}:
            return False
        with self.harness.db.transaction() as tx:
            return "deliver" not in due_work.stages_with_work(tx, self.harness.db.now(), self.harness.scale, "words")

    def local(self, *numbers: int) -> datetime:
        return datetime(*numbers, tzinfo=self.zone).astimezone(UTC)  # type: ignore[arg-type,misc]


def test_row_17_a_second_scheduler_takes_over_and_sends_one_digest(harness: FaultHarness) -> None:
    first = harness.scheduler()
    harness.until(lambda: first.logged("scheduler active"), "the first is active")
    second = harness.scheduler()
    harness.worker()
    now = harness.db.now()
    harness.subscribe("ada", "alpha", cadence="daily", at=time((now + HOUR).hour, now.minute))
    harness.announce_and_notify("alpha", 2)
    first.kill()
    harness.until(lambda: second.logged("scheduler active"), "the second takes over", 30)
    third = harness.scheduler()
    harness.set_clock(2 * HOUR)
    assert len(harness.settle()) == 1
    harness.db.close()
    harness.servers.stop_database_immediately()
    harness.until(
        lambda: second.logged("scheduler active") + third.logged("scheduler active") == 2, "the lock is taken again"
    )
    harness.announce_and_notify("alpha")
    harness.set_clock(26 * HOUR)
    assert len(harness.settle()) == 2


@pytest.mark.faults
def test_row_17_a_scheduler_retries_after_its_first_query_failed(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha")
    with harness.db.transaction() as tx:
        tx.execute(text("ALTER TABLE match_job RENAME TO renamed_match_job"))
    first = harness.scheduler()
    harness.until(lambda: first.logged("periodic job failed"), "its query fails")
    with harness.db.transaction() as tx:
        tx.execute(text("ALTER TABLE renamed_match_job RENAME TO match_job"))
    harness.worker("embed,match")
    harness.worker()
    harness.announce("alpha")
    harness.settle()
    assert first.logged("scheduler active") == 1


def test_row_18_after_26_hours_without_a_scheduler_one_digest_has_every_paper(harness: FaultHarness) -> None:
    now = harness.db.now()
    harness.subscribe("ada", "alpha", cadence="daily", at=time((now + HOUR).hour, now.minute))
    harness.announce_and_notify("alpha", 2)
    harness.set_clock(14 * HOUR)
    harness.announce_and_notify("alpha", 2)
    harness.set_clock(27 * HOUR)
    harness.worker()
    harness.scheduler()
    (digest,) = harness.settle()
    assert len(digest.papers) == 4


CLOCKS = {
    "Berlin loses 2:00 to 3:00": ("Europe/Berlin", time(2, 30), date(2027, 3, 27)),
    "Berlin has 2:00 to 3:00 twice": ("Europe/Berlin", time(2, 30), date(2027, 10, 30)),
    "Lord Howe loses half an hour": ("Australia/Lord_Howe", time(2, 15), date(2027, 10, 2)),
    "Lord Howe has half an hour twice": ("Australia/Lord_Howe", time(1, 45), date(2027, 4, 3)),
    "Apia has no 30 December 2011": ("Pacific/Apia", time(8), date(2011, 12, 28)),
}


@pytest.mark.faults
@pytest.mark.parametrize("case", CLOCKS)
def test_row_19_a_change_of_the_utc_offset_sends_no_second_digest_and_loses_no_paper(
    harness: FaultHarness, case: str
) -> None:
    zone, at, start = CLOCKS[case]
    clock = LocalClock(harness, zone)
    harness.set_clock(clock.local(start.year, start.month, start.day, 0, 5) - datetime.now(UTC))
    harness.subscribe("ada", "alpha", cadence="daily", at=at, timezone=zone)
    harness.worker()
    harness.scheduler()
    moment = clock.local(start.year, start.month, start.day, 0, 10)
    end = moment + 4 * DAY
    while moment < end:
        local = moment.astimezone(clock.zone)
        near = abs((datetime.combine(local.date(), local.time()) - datetime.combine(local.date(), at)).total_seconds())
        if local.hour % 12 == 0:
            harness.announce_and_notify("alpha")
        clock.advance_to(moment)
        moment += timedelta(minutes=30) if near <= 5400 else timedelta(hours=1) if local.hour < 9 else 3 * HOUR
    clock.advance_to(end + DAY)
    harness.settle()
    assert max(clock.digests.values()) == 1
    assert sum(clock.digests.values()) >= 3


@pytest.mark.faults
def test_row_19_a_time_zone_changed_after_the_digest_sends_no_second_one_that_day(harness: FaultHarness) -> None:
    clock = LocalClock(harness, "Pacific/Auckland")
    morning = clock.local(2027, 6, 15, 7, 50)
    harness.set_clock(morning - datetime.now(UTC))
    ada = harness.subscribe("ada", "alpha", cadence="daily", at=time(8), timezone="Pacific/Auckland")
    harness.announce_and_notify("alpha", 2)
    harness.worker()
    harness.scheduler()
    clock.advance_to(morning + timedelta(minutes=20))
    assert len(harness.messages()) == 1
    with harness.db.transaction() as tx:
        tx.execute(update(account).where(account.c.id == ada.account).values(timezone="America/Los_Angeles"))
    harness.announce_and_notify("alpha")
    west = ZoneInfo("America/Los_Angeles")
    for hours in range(1, 40, 3):
        clock.advance_to(morning + timedelta(hours=hours))
    # The digest of the 15th came on the 14th in Los Angeles, so the next one is that of the 16th.
    moments = [morning + timedelta(hours=hours) for hours in range(40, 60)]
    for moment in moments:
        if len(harness.messages()) == 2:
            break
        clock.advance_to(moment)
    assert (harness.db.now().astimezone(west).date()) == date(2027, 6, 16)
    harness.settle()


@pytest.mark.faults
def test_row_20_a_clock_that_steps_back_and_forth_sends_nothing_twice(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha", to=["email", "#papers"])
    daily = harness.db.now() + HOUR
    harness.subscribe("eve", "alpha", cadence="daily", at=time(daily.hour, daily.minute))
    harness.worker(concurrency=2)
    harness.scheduler()
    for ahead in (timedelta(0), -HOUR, DAY, DAY - HOUR, DAY, 2 * DAY):
        harness.set_clock(ahead)
        harness.announce_and_notify("alpha")
        harness.until(lambda: not {"claimed", "sending"} & set(harness.states()), "nothing is being sent")
    harness.set_clock(3 * DAY)
    harness.settle()


@pytest.mark.faults
def test_row_20_a_stopped_worker_uses_the_clock_of_the_database(harness: FaultHarness) -> None:
    """A lease has expired if it has by the clock of the database, even if no time passed for the worker."""
    harness.subscribe("ada", "alpha")
    harness.smtp.delays["RCPT"] = 2.0
    harness.announce_and_notify("alpha")
    stopped = harness.worker()
    harness.until(lambda: harness.smtp.tries("RCPT"), "the recipient was sent")
    stopped.send(signal.SIGSTOP)
    harness.set_clock(DAY)
    harness.smtp.delays.clear()
    harness.scheduler()
    harness.worker()
    harness.settle()
    stopped.send(signal.SIGCONT)
    harness.until(lambda: stopped.logged("another worker has the delivery"), "it notices that its lease has expired")
    harness.settle()
