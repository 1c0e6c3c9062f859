from pathlib import Path

from services.cli.explain import chart
from tests.cli.conftest import Paperwire


def test_a_preview_shows_what_would_have_matched(paperwire: Paperwire, archive: Path) -> None:
    seen = paperwire("preview", "--query", "symbol OR qualitative", "--json").json()
    assert (seen["days"], seen["matched"]) == (60, 2)
    assert seen["papers_scanned"] == 4
    assert {sample["paper"]["title"][:6] for sample in seen["samples"]} == {"Symbol", "The AI"}
    told = paperwire("preview", "--query", "symbol OR qualitative").out
    assert told.startswith("2 of 4 papers in 60 days")
    assert '"symbol" in the title' in told


def test_a_preview_for_an_account_counts_what_it_adds(paperwire: Paperwire, ada: str, archive: Path) -> None:
    assert "adds" not in paperwire("preview", "--query", "symbol", "--json").json()
    assert paperwire("preview", ada, "--query", "symbol", "--json").json()["adds"] == 1
    assert "no account" in paperwire("preview", "bob@example.org", "--query", "symbol").error()


def test_a_preview_saves_nothing(paperwire: Paperwire, ada: str, archive: Path) -> None:
    assert paperwire("preview", ada, "--query", "symbol", "--to", "slack:#papers").code == 0
    assert paperwire("subscription", "list", "--json").json() == []
    assert paperwire("channel", "list", "--json").json() == []


def test_an_invalid_preview_is_rejected(paperwire: Paperwire) -> None:
    assert "needs a query" in paperwire("preview").error()
    assert "there are: " in paperwire("preview", "--query", "x", "--source", "astrology").error()


def test_why_shows_every_stage_of_a_paper(paperwire: Paperwire, ada: str, archive: Path) -> None:
    assert paperwire("subscribe", ada, "--query", "zebra").code == 0
    steps = paperwire("why", "arxiv:2505.00002", 1, "--json").json()
    assert [step["stage"] for step in steps] == ["paper", "subscription", "announced", "not matched"]
    assert "zebra" in steps[-1]["what"]
    assert "Symbol grounding" in paperwire("why", "2505.00002", 1).out
    assert "no paper" in paperwire("why", "arxiv:2506.01234", 1).error()
    assert "no subscription 7" in paperwire("why", 1, 7).error()


def test_the_chart_has_a_bar_for_each_day() -> None:
    per_day = [{"date": "2026-03-01", "papers": 1}, {"date": "2026-03-03", "papers": 8}]
    assert chart({"days": 4, "until": "2026-03-04", "per_day": per_day}).splitlines() == [
        "2026-03-01  ▁·█·",
        "a bar a day; the highest is 8",
    ]
