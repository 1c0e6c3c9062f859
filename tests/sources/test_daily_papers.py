import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

import services.local
from services.errors import SourceError
from services.plugins import source
from tests.sources.listings import ids, parse, sample

HEAD = "Daily Papers\n\nNov 6\n\n"
ABSTRACT = "We study a thing. " * 30


def page(*papers: str, head: str = HEAD, day: date = date(2025, 11, 8)) -> list[tuple[str, date | None]]:
    listing = parse("daily-papers", (head + "\n\n".join(papers)).encode(), day)
    return [(entry.title, entry.published_on) for entry in listing.entries]


def test_the_page_gives_every_paper_even_without_authors_and_date() -> None:
    listing = parse("daily-papers", sample("daily_papers_page.txt"), date(2025, 11, 8))
    assert [entry.author_count for entry in listing.entries] == [3, 1, None, 1024, 7]
    assert [entry.comments for entry in listing.entries] == [None, 4, None, 2, None]
    assert all(entry.abstract for entry in listing.entries)
    assert not listing.skipped


def test_dates_without_a_year_are_in_the_twelve_months_before_the_page() -> None:
    listing = parse("daily-papers", sample("daily_papers_page.txt"), date(2025, 11, 8))
    assert [entry.published_on for entry in listing.entries] == [
        date(2023, 4, 21),
        date(2025, 8, 15),
        None,
        date(2024, 8, 5),
        date(2024, 11, 20),
    ]


@pytest.mark.parametrize(
    ("day", "announced"),
    [
        (date(2025, 11, 6), date(2025, 11, 6)),
        (date(2025, 11, 5), date(2024, 11, 6)),
        (date(2026, 1, 2), date(2025, 11, 6)),
    ],
)
def test_the_day_of_a_page_is_not_in_the_future(day: date, announced: date) -> None:
    listing = parse("daily-papers", sample("daily_papers_page.txt"), day)
    assert listing.announced_on == announced
    assert {entry.announced_on for entry in listing.entries} == {announced}


def test_the_head_may_be_missing() -> None:
    body = f"A title\n\n{ABSTRACT}\n\n  • 2 authors\n·\nMay 1\n"
    listing = parse("daily-papers", body.encode(), date(2025, 11, 8))
    assert [entry.title for entry in listing.entries] == ["A title"]
    assert (listing.announced_on, listing.entries[0].published_on) == (None, date(2025, 5, 1))


@pytest.mark.parametrize("change", [lambda t: t.replace("\n", "\r\n"), lambda t: t.replace("\n\n", "\n")])
def test_line_endings_and_missing_blank_lines_change_nothing(change: object) -> None:
    text = sample("daily_papers_page.txt").decode()
    assert callable(change)
    assert parse("daily-papers", change(text).encode()).entries == parse("daily-papers", text.encode()).entries


def test_a_title_alone_is_skipped_and_named() -> None:
    body = f"{HEAD}A title\n\n{ABSTRACT}\n\n  • 2 authors\n·\nMay 1\n\nTerms of service\n"
    listing = parse("daily-papers", body.encode())
    assert [skipped.where for skipped in listing.skipped] == ["Terms of service"]


def test_a_title_without_an_abstract_does_not_shift_later_papers() -> None:
    listing = parse("daily-papers", f"{HEAD}Lost\n\nFound\n\n{ABSTRACT}\n\n  • 2 authors\n·\nMay 1\n".encode())
    assert [entry.title for entry in listing.entries] == ["Found"]
    assert [skipped.where for skipped in listing.skipped] == ["Lost"]


def test_a_leap_day_is_found_in_the_year_that_has_it() -> None:
    assert page(
        f"T\n\n{ABSTRACT}\n\n• 1 author\n·\nFeb 29", head="Daily Papers\n\nMar 2\n\n", day=date(2024, 3, 2)
    ) == [("T", date(2024, 2, 29))]
    assert page(f"T\n\n{ABSTRACT}\n\n• 1 author\n·\nFeb 29") == [("T", None)]


def test_a_head_without_papers_is_an_error() -> None:
    with pytest.raises(SourceError, match="no papers"):
        parse("daily-papers", b"Daily Papers\n\nNov 6\n")


def test_the_api_gives_the_day_on_the_list_and_the_links() -> None:
    first, second = parse("daily-papers", sample("daily_papers.json")).entries
    assert (first.announced_on, first.published_on) == (date(2025, 5, 30), date(2025, 5, 28))
    assert (first.upvotes, first.comments, ids(first)) == (78, 2, ["arxiv:2505.00002"])
    assert first.links == {
        "abstract": "https://arxiv.org/abs/2505.00002",
        "pdf": "https://arxiv.org/pdf/2505.00002",
        "listing": "https://huggingface.co/papers/2505.00002",
        "code": "https://github.com/example/repo",
    }
    assert second.links["project"] == "https://example.org/project"


def test_hidden_authors_are_dropped_and_withdrawn_papers_marked() -> None:
    first, second = parse("daily-papers", sample("daily_papers.json")).entries
    assert first.authors == ("Vincent C. Müller",)
    assert (first.withdrawn, second.withdrawn) == (False, True)


def test_an_entry_that_cannot_be_read_is_skipped_and_named() -> None:
    (skipped,) = parse("daily-papers", sample("daily_papers.json")).skipped
    assert skipped.where == "not an id"


def test_archived_python_reprs_are_read_and_broken_ones_salvaged() -> None:
    listing = parse("daily-papers", sample("daily_papers_2024.json"))
    intact, _, salvaged = listing.entries
    assert intact.title.startswith("Theory of Mind in Large Language Models")
    assert intact.authors
    assert salvaged.title.startswith("Enriching the Korean Learner Corpus")
    assert ids(salvaged) == ["arxiv:2505.00261"]
    assert [skipped.where for skipped in listing.skipped] == ["entry 4"]


def test_an_old_list_without_submission_times_has_the_day_of_its_latest_entry() -> None:
    listing = parse("daily-papers", sample("daily_papers_2024.json"))
    assert listing.announced_on == date(2024, 12, 13)
    # Left open, so that the day that was asked for can take its place.
    assert {entry.announced_on for entry in listing.entries} == {None}


def test_the_order_of_the_list_is_kept() -> None:
    papers = [{"paper": {"id": f"2505.0000{n}", "title": f"T{n}", "upvotes": 10 * n}} for n in (3, 1, 2)]
    listing = parse("daily-papers", json.dumps(papers).encode())
    assert [entry.upvotes for entry in listing.entries] == [30, 10, 20]


def test_missing_fields_are_none() -> None:
    (entry,) = parse("daily-papers", b'[{"paper": {"id": "2505.00001", "title": "T"}}]').entries
    assert (entry.authors, entry.upvotes, entry.comments, entry.abstract) == ((), None, None, "")
    assert entry.links["listing"] == "https://huggingface.co/papers/2505.00001"


def test_a_count_that_is_no_number_is_left_open() -> None:
    (entry,) = parse("daily-papers", b'[{"paper": {"id": "2505.00001", "title": "T", "upvotes": true}}]').entries
    assert entry.upvotes is None


def test_nothing_in_a_list_is_evaluated(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    body = json.dumps([f"{{'paper': open({str(mark)!r}, 'w')}}"])
    assert parse("daily-papers", body.encode()).entries == ()
    assert not mark.exists()


def test_an_empty_list_is_a_day_without_papers() -> None:
    assert parse("daily-papers", b"[]").entries == ()


def test_a_truncated_list_is_an_error() -> None:
    with pytest.raises(SourceError, match="damaged or incomplete"):
        parse("daily-papers", sample("daily_papers.json")[:-10])


def test_the_list_of_the_utc_day_is_requested() -> None:
    url = source("daily-papers").request("", datetime(2026, 5, 30, 23, tzinfo=UTC)).url
    assert url == "https://huggingface.co/api/daily_papers?date=2026-05-30&limit=100"


def test_the_list_of_a_past_day_is_requested_by_its_day() -> None:
    request = source("daily-papers").request_day("", date(2025, 6, 9))
    assert request is not None
    assert request.url == "https://huggingface.co/api/daily_papers?date=2025-06-09&limit=100"


def test_the_list_grows_during_every_utc_day() -> None:
    table = source("daily-papers").timetable
    assert (table.timezone, table.grows, table.states_days, len(table.weekdays)) == ("UTC", True, True, 7)


def test_a_location_is_refused() -> None:
    assert source("daily-papers").location(" ") == ""
    with pytest.raises(SourceError, match="takes no location"):
        source("daily-papers").location("today")


def test_the_packaged_sample_listing_is_complete() -> None:
    path = Path(services.local.__path__[0]) / "sample_announcement.txt"
    listing = parse("daily-papers", path.read_bytes())
    assert len(listing.entries) >= 60
    assert not listing.skipped
    assert listing.announced_on == date(2026, 5, 30)
    assert all(entry.abstract and entry.author_count and entry.published_on for entry in listing.entries)
    assert path.stat().st_size < 200_000
