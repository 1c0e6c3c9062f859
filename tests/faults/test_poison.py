"""Row 16: a paper that crashes every worker that processes it."""

from datetime import timedelta

import pytest

from tests.faults.harness import FaultHarness

pytestmark = [pytest.mark.processes, pytest.mark.faults, pytest.mark.timeout(300)]


def run_until_settled(harness: FaultHarness, queues: str, fault: str) -> int:
    """Replaces the worker each time it crashes, with its lease expired. Returns the number of crashes."""
    crashes, worker = 0, harness.worker(queues, FAULT=fault)

    def done() -> bool:
        nonlocal crashes, worker
        if worker.process.poll() is not None:
            crashes += 1
            harness.set_clock(crashes * timedelta(minutes=10))
            worker = harness.worker(queues, FAULT=fault)
        return harness.settled()

    harness.until(done, "every other paper is sent", 200)
    return crashes


def test_row_16_only_a_paper_that_crashes_matching_is_quarantined(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha", to=["email"])
    tokens = harness.announce("alpha", 5)
    poison = tokens[2]
    harness.expected = {alert for alert in harness.expected if alert.paper != poison}
    harness.worker()
    harness.scheduler()
    crashes = run_until_settled(harness, "embed,match", f"matching:{poison} about alpha")
    assert 2 <= crashes <= 5
    harness.settle()
    assert harness.query("SELECT p.title FROM quarantine JOIN paper p ON p.id = paper_id") == [
        (f"{poison} about alpha",)
    ]
    assert harness.audit().papers_set_aside == 1


def test_row_16_a_paper_that_crashes_embedding_is_matched_by_keywords(harness: FaultHarness) -> None:
    harness.subscribe("ada", "alpha", to=["email"])
    tokens = harness.announce("alpha", 5)
    harness.worker()
    harness.scheduler()
    crashes = run_until_settled(harness, "embed,match,slow", f"embedding:{tokens[2]} about alpha")
    assert 2 <= crashes <= 5
    harness.settle()
