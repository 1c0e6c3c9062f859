import json
from pathlib import Path

from services.cli.explain import chart
from tests.cli.conftest import Paperwire


def test_a_preview_shows_what_would_have_matched(paperwire: Paperwire, archive: Path) -> None:
    seen = paperwire("preview", "--query", "symbol OR qualitative", "--json").json()
    assert (seen["days"], seen["matched"]) == (60, 2)
    assert seen["papers_scanned"] == 4
    assert {sample["paper"]["title"][:6] for sample in seen["samples"]} == {"Symbol", "The AI"}
    output = paperwire("preview", "--query", "symbol OR qualitative").out
    assert output.startswith("2 of 4 papers in 60 days")
    assert '"symbol" in the title' in output


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
    assert [step["stage"] for step in steps] == ["paper", "subscription", "known", "not matched"]
    assert "zebra" in steps[-1]["what"]
    assert " UTC" in steps[1]["what"]
    shown = paperwire("why", "2505.00002", 1).out
    assert "Symbol grounding" in shown
    assert "saved today, " in shown
    assert "UTC" not in shown
    assert "listed without alerting" in shown
    assert "silently" not in shown
    assert "no paper" in paperwire("why", "arxiv:2506.01234", 1).error()
    assert "no subscription 7" in paperwire("why", 1, 7).error()


LATEX = {
    "id": "arxiv:2611.21002",
    "title": 'Lines of CO$_2$: {\\it ab initio} \\nicefrac{1}{2}-spin states in K{\\"o}ln',
    "summary": "H$\\alpha$ as well.",
    "authors": ["Fr\\'ed\\'eric J. Schwarz"],
    "categories": ["physics.atom-ph"],
    "first_seen": "2026-11-30",
}
SHOWN = "Lines of CO₂: ab initio 1/2-spin states in Köln"


def test_latex_is_found_and_shown_as_text(paperwire: Paperwire, ada: str, tmp_path: Path) -> None:
    listing = tmp_path / "latex.jsonl"
    listing.write_text(json.dumps(LATEX))
    assert paperwire("import", listing, "--silent").code == 0
    query = 'CO2 "H alpha" author:"Schwarz FJ"'
    [sample] = paperwire("preview", "--query", query, "--json").json()["samples"]
    assert (sample["paper"]["title"], sample["paper"]["authors"]) == (SHOWN, ["Frédéric J. Schwarz"])
    assert "author Frédéric J. Schwarz" in sample["why"]
    assert SHOWN in paperwire("preview", "--query", query).out
    assert paperwire("preview", "--query", 'author:"Frederic Jordan" OR 12', "--json").json()["matched"] == 0
    assert paperwire("subscribe", ada, "--query", "zebra").code == 0
    assert f"1: {SHOWN}" in paperwire("why", "arxiv:2611.21002", 1).out


def test_the_chart_has_a_bar_for_each_day() -> None:
    per_day = [{"date": "2026-03-01", "papers": 1}, {"date": "2026-03-03", "papers": 8}]
    assert chart({"days": 4, "until": "2026-03-04", "per_day": per_day}).splitlines() == [
        "2026-03-01  ▁·█·",
        "a bar a day; the highest is 8",
    ]
