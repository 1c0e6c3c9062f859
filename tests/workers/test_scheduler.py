"""The scheduler's wake-ups: a stage is woken at the earliest time that a notice asked for, and once."""

from datetime import timedelta

import psycopg
import pytest

from services.settings import Settings
from services.store.db.database import Database, wake
from workers import scheduler
from workers.scheduler import WakeUps


def test_a_stage_is_woken_once_and_not_early() -> None:
    wake_ups = WakeUps()
    wake_ups.add("deliver 0.500", 10.0)
    assert wake_ups.take_due(10.4) == []
    assert wake_ups.take_due(10.6) == ["deliver"]
    assert wake_ups.take_due(11.0) == []


def test_the_earliest_of_several_wake_ups_of_a_stage_counts() -> None:
    wake_ups = WakeUps()
    for notice in ("deliver 3.000", "deliver 0.200", "deliver 1.000", "embed"):
        wake_ups.add(notice, 10.0)
    assert wake_ups.seconds_to_wait(10.0) == pytest.approx(0.001)
    assert wake_ups.take_due(10.0) == ["embed"]
    assert wake_ups.seconds_to_wait(10.0) == pytest.approx(0.2)
    assert wake_ups.take_due(10.5) == ["deliver"]
    assert wake_ups.seconds_to_wait(10.5) == pytest.approx(1.0)


def test_a_notice_with_a_delay_reaches_the_listener_as_a_wake_up(db: Database, settings: Settings) -> None:
    url = settings.database_url.get_secret_value().replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {scheduler.WAKE_CHANNEL}")
        with db.transaction() as tx:
            wake(tx, "deliver", after=timedelta(seconds=0.25).total_seconds())
        (notice,) = list(listener.notifies(timeout=10, stop_after=1))
    wake_ups = WakeUps()
    wake_ups.add(notice.payload, 1.0)
    assert wake_ups.seconds_to_wait(1.0) == pytest.approx(0.25)
