from datetime import timedelta

import pytest

from services.cli.sources import duration
from services.errors import ConfigError
from tests.cli.conftest import Paperwire


def test_a_source_is_added_once_with_its_interval(paperwire: Paperwire) -> None:
    assert paperwire("source", "add", "arxiv", "cs.LG", "--every", "15m").code == 0
    assert paperwire("source", "add", "arxiv", "cs.LG", "--every", "2h").code == 0
    [source] = paperwire("source", "list", "--json").json()
    assert (source["id"], source["kind"], source["location"]) == ("1", "arxiv", "cs.LG")
    assert (source["polled"], source["every"], source["last_batch"]) == (True, 7200, None)
    assert "cs.LG" in paperwire("source", "list").out


def test_a_source_without_an_interval_has_that_of_its_kind(paperwire: Paperwire) -> None:
    assert paperwire("source", "add", "daily-papers").code == 0
    assert paperwire("source", "list", "--json").json()[0]["every"] == 900


def test_a_kind_that_is_only_read_from_files_is_refused(paperwire: Paperwire) -> None:
    assert "there are: " in paperwire("source", "add", "astrology").error()
    assert "import" in paperwire("source", "add", "jsonl").error()
    assert "15m" in paperwire("source", "add", "daily-papers", "--every", "often").error()
    assert "add one first" in paperwire("source", "poll").error()
    assert "no polled source 7" in paperwire("source", "poll", 7).error()
    assert "no polled source 7" in paperwire("source", "remove", 7).error()


def test_a_removed_source_is_not_polled(paperwire: Paperwire) -> None:
    assert paperwire("source", "add", "daily-papers").code == 0
    assert paperwire("source", "poll", 1).out == "1 source due now\n"
    assert paperwire("source", "remove", 1).code == 0
    assert paperwire("source", "list", "--json").json()[0]["polled"] is False
    assert "no source is polled" in paperwire("source", "poll").error()


def test_an_import_is_listed_in_the_ledger_of_its_source(paperwire: Paperwire, archive: object) -> None:
    [source] = paperwire("source", "list", "--json").json()
    assert (source["kind"], source["polled"]) == ("jsonl", False)
    assert (source["last_batch"]["found"], source["last_batch"]["state"]) == (4, "partial")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_time_spans_are_read(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "15", "0m", "-1m", "1w", "15 minutes", "9999999d"])
def test_other_texts_are_no_time_spans(text: str) -> None:
    with pytest.raises(ConfigError):
        duration(text)


def test_the_ledger_shows_each_announcement(paperwire: Paperwire, archive: object) -> None:
    assert "not stated" in paperwire("source", "ledger", "1").out
    (line,) = paperwire("source", "ledger", "1", "--json").json()
    assert (line["announced"], line["fetched"], line["skipped"]) == (None, 4, 3)
