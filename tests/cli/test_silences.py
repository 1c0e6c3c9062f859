from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Paperwire

SOON = (datetime.now(UTC).date() + timedelta(days=9)).isoformat()


def test_a_silence_is_added_listed_and_ended(paperwire: Paperwire, ada: str) -> None:
    subscription = paperwire("subscribe", ada, "--query", "robots", "--json").json()["id"]
    words = ("--until", SOON, "--query", "survey OR  benchmark", "--subscription", subscription)
    assert paperwire("silence", "add", ada, *words).out == f"silence 1 until {SOON}\n"
    (one,) = paperwire("silence", "list", ada, "--json").json()
    assert (one["id"], one["query"], one["subscription"]) == ("1", "survey OR benchmark", subscription)
    assert "survey OR benchmark" in paperwire("silence", "list").out
    assert paperwire("silence", "end", 1).out == "silence 1 ended\n"
    assert paperwire("silence", "list", "--json").json() == []


def test_an_invalid_silence_is_rejected_in_one_line(paperwire: Paperwire, ada: str) -> None:
    assert "still to come" in paperwire("silence", "add", ada, "--until", "2020-01-01").error()
    assert "2026-01-31" in paperwire("silence", "add", ada, "--until", "soon").error()
    assert "no subscription 7" in paperwire("silence", "add", ada, "--until", SOON, "--subscription", 7).error()
    assert "never closed" in paperwire("silence", "add", ada, "--until", SOON, "--query", "(a").err
    assert "no silence 3" in paperwire("silence", "end", 3).error()
