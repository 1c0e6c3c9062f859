from pathlib import Path
from typing import Any

from services.store.db.database import Database
from tests.cli.conftest import Paperwire


def only(paperwire: Paperwire) -> Any:
    [found] = paperwire("subscription", "list", "--json").json()
    return found


def test_a_subscription_goes_to_the_accounts_own_address(paperwire: Paperwire, ada: str) -> None:
    made = paperwire("subscribe", ada, "--name", "Agents", "--for", "Ada", "--query", '"web agent*"', "--json").json()
    assert (made["id"], made["account"], made["name"], made["for"]) == ("1", ada, "Agents", "Ada")
    assert (made["query"], made["interest"], made["cadence"], made["volume"]) == ('"web agent*"', None, "daily", "")
    [channel] = paperwire("channel", "list", "--json").json()
    assert (channel["target"], channel["verified"]) == (ada, True)
    assert made["channels"] == [channel["id"]]
    assert made["preview"]["matched"] == 0


def test_a_subscription_uses_the_given_channels(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("channel", "add", ada, "email", "lab@example.org").code == 0
    to = ["--to", "1", "--to", "email", "--to", "slack:#papers", "--to", "1"]
    made = paperwire("subscribe", ada, "--query", "agents", *to, "--json").json()
    assert made["channels"] == ["1", "2", "3"]
    kinds = [(one["kind"], one["target"]) for one in paperwire("channel", "list", "--json").json()]
    assert kinds == [("email", "lab@example.org"), ("email", ada), ("slack", "#papers")]


def test_an_interest_is_learned_from_papers(paperwire: Paperwire, ada: str, archive: Path) -> None:
    seen = paperwire("preview", "--query", "symbol OR qualitative", "--json").json()["samples"]
    ids = {str(sample["paper"]["title"])[:6]: sample["paper"]["id"] for sample in seen}
    words = ["--interest", "agents on the web", "--like", "arxiv:2505.00002", "--unlike", "2505.00012"]
    made = paperwire("subscribe", ada, *words, "--cadence", "immediate", "--json").json()
    assert made["interest"] == {"text": "agents on the web", "liked": [ids["Symbol"]], "disliked": [ids["The AI"]]}
    assert (made["volume"], made["estimated"], made["cadence"]) == ("5/week", True, "immediate")


def test_an_invalid_subscription_stores_nothing(paperwire: Paperwire, ada: str) -> None:
    assert "needs a query" in paperwire("subscribe", ada).error()
    assert "no cadence" in paperwire("subscribe", ada, "--query", "x", "--cadence", "hourly").error()
    assert "there are: " in paperwire("subscribe", ada, "--query", "x", "--source", "astrology").error()
    assert "no paper" in paperwire("subscribe", ada, "--like", "arxiv:2506.01234").error()
    assert "no channel 7" in paperwire("subscribe", ada, "--query", "x", "--to", "7").error()
    assert "slack:#channel" in paperwire("subscribe", ada, "--query", "x", "--to", "nowhere").error()
    assert "no account" in paperwire("subscribe", "bob@example.org", "--query", "x").error()
    assert paperwire("subscription", "list", "--json").json() == []
    assert paperwire("channel", "list", "--json").json() == []


def test_another_accounts_channel_is_not_found(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("channel", "add", ada, "email", "lab@example.org").code == 0
    assert paperwire("user", "add", "bob@example.org").code == 0
    assert "no channel 1" in paperwire("subscribe", "bob@example.org", "--query", "x", "--to", "1").error()


def test_set_changes_only_what_is_given(paperwire: Paperwire, ada: str) -> None:
    words = ["--query", "agents", "--interest", "web agents", "--for", "Ada", "--min-upvotes", "5", "--trending", "3"]
    before = paperwire("subscribe", ada, *words, "--json").json()
    after = paperwire("subscription", "set", 1, "--cadence", "weekly", "--volume", "2/day", "--json").json()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"cadence", "volume"}
    assert "nothing to change" in paperwire("subscription", "set", 1).error()
    assert "no subscription 7" in paperwire("subscription", "set", 7, "--query", "x").error()


def test_set_removes_settings_that_are_given_empty(paperwire: Paperwire, ada: str) -> None:
    words = ["--query", "agents", "--interest", "web agents", "--for", "Ada", "--min-upvotes", "5", "--trending", "3"]
    assert paperwire("subscribe", ada, *words, "--source", "arxiv").code == 0
    less = ["--interest", "", "--for", "", "--min-upvotes", "0", "--trending", "0", "--source", ""]
    after = paperwire("subscription", "set", 1, *less, "--json").json()
    assert (after["interest"], after["volume"], after["for"], after["min_upvotes"]) == (None, "", "", 0)
    assert (after["trending"], after["sources"], after["query"]) == (None, [], "agents")
    assert "needs a query" in paperwire("subscription", "set", 1, "--query", "").error()


def test_set_moves_a_subscription_to_other_channels(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("subscribe", ada, "--query", "agents").code == 0
    assert paperwire("subscription", "set", 1, "--to", "slack:#papers").code == 0
    assert only(paperwire)["channels"] == ["2"]


def test_a_pause_ends_on_a_day_of_the_accounts_time_zone(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("subscribe", ada, "--query", "agents").code == 0
    assert paperwire("subscription", "pause", 1, "--until", "2999-07-01").code == 0
    assert only(paperwire)["paused_until"] == "2999-06-30T22:00:00+00:00"
    assert "2026-01-31" in paperwire("subscription", "pause", 1, "--until", "summer").error()
    assert paperwire("subscription", "pause", 1).code == 0
    assert only(paperwire)["paused_until"].startswith("9999")
    assert paperwire("subscription", "pause", 1, "--until", "2001-01-01").out == "subscription 1 goes on\n"
    assert only(paperwire)["paused_until"] is None


def test_a_list_can_be_limited_to_one_account(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("user", "add", "bob@example.org").code == 0
    assert paperwire("subscribe", ada, "--query", "agents").code == 0
    assert paperwire("subscribe", "bob@example.org", "--query", "graphs").code == 0
    assert [one["query"] for one in paperwire("subscription", "list", "bob@example.org", "--json").json()] == ["graphs"]
    assert len(paperwire("subscription", "list").out.splitlines()) == 3
    assert "query: graphs" in paperwire("subscription", "show", 2).out


def test_the_address_of_a_feed_is_printed_and_changed(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("subscribe", ada, "--query", "agents").code == 0
    first = paperwire("subscription", "feed", 1).out
    assert first.startswith("http://127.0.0.1:8400/feeds/1-")
    assert paperwire("subscription", "feed", 1).out == first
    assert paperwire("subscription", "feed", 1, "--new").out not in ("", first)
    assert "no subscription 7" in paperwire("subscription", "feed", 7, "--new").error()


def test_a_deleted_subscription_is_gone(paperwire: Paperwire, ada: str) -> None:
    assert paperwire("subscribe", ada, "--query", "agents").code == 0
    assert paperwire("subscription", "delete", 1).code == 0
    assert paperwire("subscription", "list", "--json").json() == []
    assert "no subscription 1" in paperwire("subscription", "delete", 1).error()


def test_a_list_says_when_interests_wait_for_the_embedder(paperwire: Paperwire, ada: str, db: Database) -> None:
    assert paperwire("subscribe", ada, "--name", "Agents", "--interest", "agents that plan").code == 0
    with db.transaction() as tx:
        tx.exec_driver_sql(
            "INSERT INTO transport (key, down_because, check_at) "
            "VALUES ('embedder:all-MiniLM-L6-v2-int8', 'no route', now())"
        )
    answer = paperwire("subscription", "list", "--json")
    assert "The embedder gives no vectors (no route)" in answer.err
    assert answer.json()[0]["name"] == "Agents"
