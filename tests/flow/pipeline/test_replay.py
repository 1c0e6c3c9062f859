"""Seven months of real Daily Papers through the poller, smoothly and with failures; where recordings are at hand."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from sqlalchemy import func, select

from services import plugins
from services.settings import Settings
from services.store.db.database import Database
from services.store.db.tables import batch, event, paper, paper_identifier
from tests.flow.pipeline.test_batches import Poller, faults, no_fault

DAYS = Path(__file__).resolve().parents[4] / "shared" / "data" / "hf_daily_papers" / "raw"
FIRST, LAST = date(2025, 3, 3), date(2025, 9, 30)

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DAYS.is_dir(), reason="the recorded days are not part of the project"),
]


class Recorded:
    """The recorded list of each day, empty where there is none."""

    def __init__(self, fault: Callable[[httpx2.Request], httpx2.Response | None]) -> None:
        self.fault = fault

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if (failure := self.fault(request)) is not None:
            return failure
        asked = parse_qs(urlsplit(str(request.url)).query)
        file = DAYS / f"{asked['date'][0]}.json.gz"
        past_the_end = asked.get("p", ["0"])[0] != "0"
        body = gzip.decompress(file.read_bytes()) if file.exists() and not past_the_end else b"[]"
        return httpx2.Response(200, content=body)


def expected() -> dict[str, int]:
    """arXiv id → highest upvotes, by the bare parser over all recorded days."""
    best: dict[str, int] = {}
    for file in sorted(DAYS.glob("2025-*.json.gz")):
        day = date.fromisoformat(file.name.removesuffix(".json.gz"))
        for one in plugins.source("daily-papers").parse(gzip.decompress(file.read_bytes()), day=day).entries:
            name = str(one.identifiers[0])
            best[name] = max(best.get(name, 0), one.upvotes or 0)
    return best


@pytest.mark.parametrize("fault", [no_fault, faults(5)], ids=["smoothly", "with failures"])
def test_seven_months_give_each_paper_once_with_its_highest_upvotes(
    db: Database, postgres_url: str, settings: Settings, fault: Callable[[httpx2.Request], httpx2.Response | None]
) -> None:
    one = Poller(postgres_url, settings, fault, first=FIRST, step=timedelta(hours=24))
    one.fetcher = one.fetcher_for(Recorded(fault))
    skipped = date(2025, 4, 10)
    one.run(
        datetime.combine(LAST + timedelta(days=5), datetime.min.time(), UTC), skip=lambda now: now.date() == skipped
    )
    ids = select(paper_identifier.c.value, paper.c.upvotes).join(paper, paper.c.id == paper_identifier.c.paper_id)
    found = {
        f"arxiv:{row['value']}": row["upvotes"] for row in one.rows(ids.where(paper_identifier.c.scheme == "arxiv"))
    }
    assert found == expected()
    assert len(found) == one.rows(select(func.count().label("n")).select_from(paper))[0]["n"]
    states = {
        row["announced_on"]: row["state"] for row in one.rows(select(batch)) if FIRST <= row["announced_on"] <= LAST
    }
    days = [FIRST + timedelta(days=offset) for offset in range((LAST - FIRST).days + 1)]
    gaps = {day: states.get(day) for day in days if states.get(day) not in ("complete", "empty")}
    assert gaps == {}
    assert all(
        states[day] == "complete" for day in days if (DAYS / f"{day}.json.gz").exists() and json.loads(_text(day))
    )
    new = [row["paper_id"] for row in one.rows(select(event).where(event.c.what == "new"))]
    assert len(new) == len(set(new))
    one.db.close()


def _text(day: date) -> str:
    return gzip.decompress((DAYS / f"{day}.json.gz").read_bytes()).decode()
