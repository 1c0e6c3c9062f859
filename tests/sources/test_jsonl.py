import json
from datetime import UTC, date, datetime

import pytest

from services.errors import SourceError
from services.plugins import source
from tests.sources.listings import ids, parse, sample


def test_each_line_is_a_paper_announced_when_it_was_first_seen() -> None:
    first = parse("jsonl", sample("papers.jsonl")).entries[0]
    assert (ids(first), first.announced_on) == (["arxiv:2505.00002"], date(2025, 5, 2))
    assert first.authors == ("Vincent C. Müller",)
    assert first.categories == ("cs.CL",)
    assert "\n" not in first.abstract


def test_only_an_id_of_a_known_form_is_an_identifier() -> None:
    last = parse("jsonl", sample("papers.jsonl")).entries[-1]
    assert ids(last) == ["doi:10.1101/2025.05.01.651234"]
    (entry,) = parse("jsonl", b'{"id": "paper-1", "title": "T"}').entries
    assert ids(entry) == []


def test_bad_lines_are_skipped_and_named_by_their_number() -> None:
    listing = parse("jsonl", sample("papers.jsonl"))
    assert len(listing.entries) == 4
    assert [skipped.where for skipped in listing.skipped] == ["line 4", "line 6", "line 8"]


def test_fields_of_another_type_skip_only_their_line() -> None:
    listing = parse("jsonl", b'{"title": "T", "summary": 7}\n{"title": "U"}\n{"title": "V", "authors": [1, "A"]}')
    assert [(entry.title, entry.authors) for entry in listing.entries] == [("U", ()), ("V", ("A",))]
    assert [skipped.where for skipped in listing.skipped] == ["line 1"]


def test_a_json_feed_on_one_line_is_not_recognised() -> None:
    body = json.dumps(json.loads(sample("feed.json"))).encode()
    assert source("jsonl").recognise(body) is None
    assert source("feed").recognise(body) == "rss"


def test_json_lines_are_never_polled() -> None:
    jsonl = source("jsonl")
    assert jsonl.every is None
    with pytest.raises(SourceError, match="import"):
        jsonl.location("papers.jsonl")
    with pytest.raises(SourceError, match="only read from files"):
        jsonl.request("", datetime.now(UTC))
