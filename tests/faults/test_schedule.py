"""Rows 17 to 20: schedulers that are two or none, and clocks that jump, stop and change."""

import signal
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text, update

from services.store.db.tables import account
from services.store.maintenance import due_work
from tests.faults.rig import Rig

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Time:
    """Sets a rig's clock to moments, and counts the digests that come by local date."""

    def __init__(self, rig: Rig, zone: str) -> None:
        self.rig, self.zone = rig, ZoneInfo(zone)
        self.digests: Counter[date] = Counter()

    def go(self, moment: datetime) -> None:
        """Sets the clock; returns when everything that was due by then is done."""
        before = len(self.rig.messages())
        self.rig.set_clock(moment - datetime.now(UTC))
        self.rig.wake("deliver")
        self.rig.until(self._idle, f"nothing is due at {moment}")
        self.digests[moment.astimezone(self.zone).date()] += len(self.rig.messages()) - before

    def _idle(self) -> bool:
        if set(self.rig.states()) - {"sent"}:
            return False
        with self.rig.db.transaction() as tx:
            return "deliver" not in due_work.stages_with_work(tx, self.rig.db.now(), self.rig.scale, "words")

    def local(self, *numbers: int) -> datetime:
        return datetime(*numbers, tzinfo=self.zone).astimezone(UTC)  # type: ignore[arg-type,misc]


def test_row_17_a_second_scheduler_stands_by_and_there_is_one_digest(rig: Rig) -> None:
    first = rig.scheduler()
    rig.until(lambda: first.said("scheduler active"), "one is active")
    second = rig.scheduler()
    rig.worker()
    now = rig.db.now()
    rig.reader("ada", "alpha", cadence="daily", at=time((now + HOUR).hour, now.minute))
    rig.tell("alpha", 2)
    first.kill()
    rig.until(lambda: second.said("scheduler active"), "the other takes over", 30)
    third = rig.scheduler()
    rig.set_clock(2 * HOUR)
    assert len(rig.settle()) == 1
    rig.db.close()
    rig.servers.stop_database_at_once()
    rig.until(lambda: second.said("scheduler active") + third.said("scheduler active") == 2, "the lock is taken again")
    rig.tell("alpha")
    rig.set_clock(26 * HOUR)
    assert len(rig.settle()) == 2


@pytest.mark.faults
def test_row_17_a_scheduler_whose_first_look_fails_looks_again(rig: Rig) -> None:
    rig.reader("ada", "alpha")
    with rig.db.transaction() as tx:
        tx.execute(text("ALTER TABLE match_job RENAME TO out_of_reach"))
    first = rig.scheduler()
    rig.until(lambda: first.said("periodic job failed"), "it looks in vain")
    with rig.db.transaction() as tx:
        tx.execute(text("ALTER TABLE out_of_reach RENAME TO match_job"))
    rig.worker("embed,match")
    rig.worker()
    rig.announce("alpha")
    rig.settle()
    assert first.said("scheduler active") == 1


def test_row_18_after_26_hours_without_a_scheduler_one_digest_brings_everything(rig: Rig) -> None:
    now = rig.db.now()
    rig.reader("ada", "alpha", cadence="daily", at=time((now + HOUR).hour, now.minute))
    rig.tell("alpha", 2)
    rig.set_clock(14 * HOUR)
    rig.tell("alpha", 2)
    rig.set_clock(27 * HOUR)
    rig.worker()
    rig.scheduler()
    (digest,) = rig.settle()
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
def test_row_19_a_clock_change_brings_no_second_digest_and_loses_no_paper(rig: Rig, case: str) -> None:
    zone, at, start = CLOCKS[case]
    clock = Time(rig, zone)
    rig.set_clock(clock.local(start.year, start.month, start.day, 0, 5) - datetime.now(UTC))
    rig.reader("ada", "alpha", cadence="daily", at=at, timezone=zone)
    rig.worker()
    rig.scheduler()
    moment = clock.local(start.year, start.month, start.day, 0, 10)
    end = moment + 4 * DAY
    while moment < end:
        local = moment.astimezone(clock.zone)
        near = abs((datetime.combine(local.date(), local.time()) - datetime.combine(local.date(), at)).total_seconds())
        if local.hour % 12 == 0:
            rig.tell("alpha")
        clock.go(moment)
        moment += timedelta(minutes=30) if near <= 5400 else timedelta(hours=1) if local.hour < 9 else 3 * HOUR
    clock.go(end + DAY)
    rig.settle()
    assert max(clock.digests.values()) == 1
    assert sum(clock.digests.values()) >= 3


@pytest.mark.faults
def test_row_19_a_time_zone_edited_after_the_digest_brings_no_second_one_that_day(rig: Rig) -> None:
    clock = Time(rig, "Pacific/Auckland")
    morning = clock.local(2027, 6, 15, 7, 50)
    rig.set_clock(morning - datetime.now(UTC))
    ada = rig.reader("ada", "alpha", cadence="daily", at=time(8), timezone="Pacific/Auckland")
    rig.tell("alpha", 2)
    rig.worker()
    rig.scheduler()
    clock.go(morning + timedelta(minutes=20))
    assert len(rig.messages()) == 1
    with rig.db.transaction() as tx:
        tx.execute(update(account).where(account.c.id == ada.account).values(timezone="America/Los_Angeles"))
    rig.tell("alpha")
    west = ZoneInfo("America/Los_Angeles")
    for hours in range(1, 40, 3):
        clock.go(morning + timedelta(hours=hours))
    # In Los Angeles it was still the 14th when the 15th's digest came: its next one is the 16th's.
    moments = [morning + timedelta(hours=hours) for hours in range(40, 60)]
    for moment in moments:
        if len(rig.messages()) == 2:
            break
        clock.go(moment)
    assert (rig.db.now().astimezone(west).date()) == date(2027, 6, 16)
    rig.settle()


@pytest.mark.faults
def test_row_20_a_clock_that_steps_back_and_forth_doubles_nothing(rig: Rig) -> None:
    rig.reader("ada", "alpha", to=["email", "#papers"])
    daily = rig.db.now() + HOUR
    rig.reader("eve", "alpha", cadence="daily", at=time(daily.hour, daily.minute))
    rig.worker(concurrency=2)
    rig.scheduler()
    for ahead in (timedelta(0), -HOUR, DAY, DAY - HOUR, DAY, 2 * DAY):
        rig.set_clock(ahead)
        rig.tell("alpha")
        rig.until(lambda: not {"claimed", "sending"} & set(rig.states()), "nothing is in hand")
    rig.set_clock(3 * DAY)
    rig.settle()


@pytest.mark.faults
def test_row_20_a_frozen_worker_whose_own_clock_stood_still_goes_by_the_database(rig: Rig) -> None:
    """A lease that the database says is over is over, however little time the worker thinks has passed."""
    rig.reader("ada", "alpha")
    rig.smtp.delays["RCPT"] = 2.0
    rig.tell("alpha")
    slow = rig.worker()
    rig.until(lambda: rig.smtp.tries("RCPT"), "the recipient is named")
    slow.send(signal.SIGSTOP)
    rig.set_clock(DAY)
    rig.smtp.delays.clear()
    rig.scheduler()
    rig.worker()
    rig.settle()
    slow.send(signal.SIGCONT)
    rig.until(lambda: slow.said("left to another worker"), "it sees that it is late")
    rig.settle()
