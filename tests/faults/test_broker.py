"""Rows 11 and 12: a broker that is flushed, is killed, stalls or drops all traffic."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.local.valkey import redis_url
from tests.faults.conftest import MakeHarness
from tests.faults.gateway import Gateway
from tests.faults.harness import FaultHarness
from tests.faults.web_client import PageResponse

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]


def start(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha", to=["email", "#papers"])
    harness.subscribe("eve", "alpha")
    harness.worker("embed,match")
    harness.worker(concurrency=2)


def test_row_11_a_broker_that_is_flushed_under_load_delays_and_loses_nothing(harness: FaultHarness) -> None:
    start(harness)
    harness.scheduler()
    for _ in range(10):
        harness.announce("alpha")
        for _ in range(5):
            with harness.servers.broker() as broker:
                broker.flushall()
            time.sleep(0.05)
    harness.settle(60)


@pytest.mark.faults
def test_row_12_a_broker_that_is_killed_five_times_delays_and_loses_nothing(harness: FaultHarness) -> None:
    start(harness)
    harness.scheduler()
    for _ in range(5):
        harness.announce("alpha")
        harness.servers.kill_broker()
    harness.announce("alpha")
    harness.settle(90)


@pytest.mark.faults
def test_row_12_a_broker_that_stalls_for_half_a_minute_delays_and_loses_nothing(harness: FaultHarness) -> None:
    start(harness)
    harness.scheduler()
    harness.announce_and_notify("alpha")
    harness.until(lambda: len(harness.messages()) == 3, "the first alerts have arrived")
    with harness.servers.broker() as broker:
        broker.client_pause(30_000)
    harness.announce("alpha")
    harness.settle(90)


def quickest(request: Callable[[], PageResponse], status: int) -> float:
    """The shortest of three requests: a wait for the broker slows all three, a busy machine only some."""
    responses = [request() for _ in range(3)]
    assert [response.status for response in responses] == [status] * 3
    return min(response.seconds for response in responses)


@pytest.mark.faults
def test_row_12_a_broker_that_drops_all_traffic_delays_no_page(make_harness: MakeHarness) -> None:
    harness = make_harness()
    socket_path = Path(redis_url(harness.servers.broker_url).removeprefix("unix://").partition("?")[0])
    with Gateway(socket_path) as gateway:
        harness.env["PAPERWIRE_BROKER_URL"] = gateway.url
        start(harness)
        harness.scheduler()
        ada = harness.subscribers[0]
        page = harness.web().sign_in(ada.account)
        harness.announce_and_notify("alpha")
        harness.until(lambda: len(harness.messages()) == 3, "the first alerts have arrived")
        gateway.drops_traffic = True
        harness.announce("alpha")
        for path in ("/healthz", "/readyz", "/metrics", "/subscriptions", "/deliveries"):
            assert quickest(lambda path=path: page.get(path), 200) < 2
        assert quickest(lambda: page.post(f"/channels/{ada.channels['#papers']}/test"), 303) < 2
        gateway.drops_traffic = False
        harness.announce("alpha")
        harness.settle(120)
        assert harness.query("SELECT state FROM delivery WHERE kind = 'test'") == [("sent",)] * 3
