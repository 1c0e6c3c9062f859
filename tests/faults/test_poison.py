"""Row 16: a paper that ends every worker which touches it."""

from datetime import timedelta

import pytest

from tests.faults.rig import Rig

pytestmark = [pytest.mark.processes, pytest.mark.faults, pytest.mark.timeout(300)]


def run_until_settled(rig: Rig, queues: str, fault: str) -> int:
    """Replaces the worker each time it dies, as a supervisor does, with its lease over; how many died."""
    deaths, worker = 0, rig.worker(queues, FAULT=fault)

    def done() -> bool:
        nonlocal deaths, worker
        if worker.process.poll() is not None:
            deaths += 1
            rig.set_clock(deaths * timedelta(minutes=10))
            worker = rig.worker(queues, FAULT=fault)
        return rig.settled()

    rig.until(done, "everything but the poison is told", 200)
    return deaths


def test_row_16_a_paper_that_ends_its_matcher_is_left_out_alone(rig: Rig) -> None:
    rig.reader("ada", "alpha", to=["email"])
    tokens = rig.announce("alpha", 5)
    poison = tokens[2]
    rig.expected = {told for told in rig.expected if told.paper != poison}
    rig.worker()
    rig.scheduler()
    deaths = run_until_settled(rig, "embed,match", f"matching:{poison} about alpha")
    assert 2 <= deaths <= 5
    rig.settle()
    assert rig.query("SELECT p.title FROM quarantine JOIN paper p ON p.id = paper_id") == [(f"{poison} about alpha",)]
    assert rig.audit().papers_set_aside == 1


def test_row_16_a_paper_that_ends_its_embedder_is_matched_by_its_words(rig: Rig) -> None:
    rig.reader("ada", "alpha", to=["email"])
    tokens = rig.announce("alpha", 5)
    rig.worker()
    rig.scheduler()
    deaths = run_until_settled(rig, "embed,match,slow", f"embedding:{tokens[2]} about alpha")
    assert 2 <= deaths <= 5
    rig.settle()
