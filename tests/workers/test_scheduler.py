"""The scheduler's alarms: a stage is woken when its next turn comes, and once for all who asked."""

from datetime import timedelta

import psycopg
import pytest

from services.settings import Settings
from services.store.db.database import Database, wake
from workers import scheduler
from workers.scheduler import Alarms


def test_an_alarm_rings_once_and_not_early() -> None:
    alarms = Alarms()
    alarms.set("deliver 0.500", 10.0)
    assert alarms.ring(10.4) == []
    assert alarms.ring(10.6) == ["deliver"]
    assert alarms.ring(11.0) == []


def test_of_several_alarms_of_a_stage_the_earliest_counts() -> None:
    alarms = Alarms()
    for notice in ("deliver 3.000", "deliver 0.200", "deliver 1.000", "embed"):
        alarms.set(notice, 10.0)
    assert alarms.wait(10.0) == pytest.approx(0.001)
    assert alarms.ring(10.0) == ["embed"]
    assert alarms.wait(10.0) == pytest.approx(0.2)
    assert alarms.ring(10.5) == ["deliver"]
    assert alarms.wait(10.5) == pytest.approx(1.0)


def test_a_notice_with_a_delay_reaches_whoever_listens_as_an_alarm(db: Database, settings: Settings) -> None:
    url = settings.database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(url, autocommit=True) as ear:
        ear.execute(f"LISTEN {scheduler.WAKE_CHANNEL}")
        with db.transaction() as tx:
            wake(tx, "deliver", after=timedelta(seconds=0.25).total_seconds())
        (heard,) = list(ear.notifies(timeout=10, stop_after=1))
    alarms = Alarms()
    alarms.set(heard.payload, 1.0)
    assert alarms.wait(1.0) == pytest.approx(0.25)
