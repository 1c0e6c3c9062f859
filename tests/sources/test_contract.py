"""Every source keeps the contract of its protocol for every input."""

import gzip
import random
import re
import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.domain.papers.paper import Listing
from services.domain.sources import rate_limits
from services.errors import SourceError
from services.plugins import sources
from services.ports import Source
from tests.sources.listings import DAY, SAMPLES

every_source = pytest.mark.parametrize("source", sources().values(), ids=sources())

FORMATS = {
    "arxiv_api.xml": "arxiv-api",
    "arxiv_api_error.xml": "arxiv-api",
    "arxiv_atom.xml": "arxiv-rss",
    "arxiv_oai.xml": "arxiv-oai",
    "arxiv_oai_error.xml": "arxiv-oai",
    "arxiv_oai_none.xml": "arxiv-oai",
    "arxiv_oai_raw.xml": "arxiv-oai",
    "arxiv_rdf.xml": "arxiv-rss",
    "arxiv_rss.xml": "arxiv-rss",
    "arxiv_rss_empty.xml": "arxiv-rss",
    "arxiv_rss_error.xml": "arxiv-rss",
    "biorxiv.json": "biorxiv-json",
    "daily_papers.json": "daily-papers-json",
    "daily_papers_2024.json": "daily-papers-json",
    "daily_papers_page.txt": "daily-papers-page",
    "feed.json": "rss",
    "feed_atom.xml": "rss",
    "feed_rdf.xml": "rss",
    "feed_rss.xml": "rss",
    "feed_v1.json": "rss",
    "medrxiv.json": "biorxiv-json",
    "papers.jsonl": "jsonl",
}

UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
ATOM = b'<feed xmlns="http://www.w3.org/2005/Atom"><title>arXiv Query: x</title>'
BOMB = b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
)
PREPRINTS = b'{"messages": [{"status": "ok"}], "collection": ['
GARBAGE = {
    "nothing": b"",
    "random": random.Random(1).randbytes(100_000),
    "html": b"<!DOCTYPE html><html><head><title>Daily Papers</title></head><body><p>No</body></html>",
    "gzip": gzip.compress(b"x" * 10_000)[:-20],
    "bomb": BOMB + b"]><rss version='2.0'><channel><item><title>&m;</title></item></channel></rss>",
    "nuls": b"\x00" * 50_000,
    "feed of nuls": b"<rss version='2.0'><channel><item><title>a\x00b</title></item></channel></rss>",
    "utf-16": "<rss version='2.0'><channel><item><title>é</title></item></channel></rss>".encode("utf-16"),
    "utf-7": b"<?xml version='1.0' encoding='utf-7'?><rss version='2.0'><channel>+ADw-item+AD4-</channel></rss>",
    "deep rss": b"<rss version='2.0'><channel><item><title>t</title>" + b"<a>" * 50_000,
    "deep atom": ATOM + b"<entry><id>i</id><title>" + b"<b>" * 50_000 + b"</b>" * 50_000 + b"</title></entry></feed>",
    "deep list": b'[{"paper": ' + b"[" * 50_000,
    "deep repr": b"[\"{'paper': " + b"(" * 50_000 + b'"]',
    "deep object": b'{"version": "https://jsonfeed.org/version/1", "items": ' + b"[" * 50_000,
    "deep line": b'{"title": "T"}\n' + b'{"title":' * 50_000,
    "surrogates": b'[{"paper": {"id": "2505.00001", "title": "\\ud800", "authors": [{"name": "\\udfff"}]}}]',
    "surrogate bytes": b"<rss version='2.0'><channel><item><title>\xed\xa0\x80</title></item></channel></rss>",
    "huge number": b'[{"paper": {"id": "2505.00001", "title": "T", "upvotes": ' + b"9" * 10_000 + b"}}]",
    "unclosed": b"<rss version='2.0'><channel><item><title>" + b"<" * 50_000,
    "wrong types": b'[{"paper": null}, {"paper": {"id": 7}}, null, 7, {"paper": {"id": "2505.00001", "title": []}}]',
    "figures without end": PREPRINTS
    + b'{"doi": "10.1101/1", "title": "T", "abstract": "%s"}]}' % (b"O_FIG " * 200_000),
    "counts of another kind": PREPRINTS.replace(b'"ok"', b'"ok", "total": [], "cursor": {}') + b'null, {"doi": 7}]}',
    "no messages": b'{"messages": [], "collection": {}}',
    "page of digits": "Daily Papers\n\nNov 6\n\nT\n\nA\n\n  • 9999999999999999999999 authors\n·\nNov 31\n".encode(),
}


@every_source
def test_the_example_is_a_canonical_location(source: Source) -> None:
    assert source.location(source.example) == source.example


@every_source
def test_a_source_has_a_summary_formats_and_a_polling_interval(source: Source) -> None:
    assert source.summary
    assert source.formats
    assert source.every is None or source.every >= timedelta(minutes=5)


@every_source
def test_requests_use_https_and_a_rate_limit(source: Source) -> None:
    if source.every is None:
        return
    request = source.request(source.example, datetime(2026, 5, 30, tzinfo=UTC))
    key, pause = source.rate_limit(source.example)
    assert request.url.startswith("https://")
    assert key
    assert pause >= timedelta(seconds=1)


@every_source
def test_a_timetable_has_weekdays_and_a_time_zone(source: Source) -> None:
    table = source.timetable
    assert ZoneInfo(table.timezone)
    assert table.weekdays <= set(range(7))
    assert table.weekdays


@every_source
@pytest.mark.parametrize("day", [date(2025, 5, 30), date(2025, 6, 1), date(2024, 2, 29), date(2025, 12, 31)])
def test_a_source_with_days_can_look_back_under_the_same_rate_limit(source: Source, day: date) -> None:
    request = source.request_day(source.example, day)
    assert (request is not None) == source.timetable.states_days
    if request:
        assert request.url.startswith("https://")
        assert rate_limits.of_url(request.url) == source.rate_limit(source.example)
        assert request == source.request_day(source.example, day)


def test_a_next_page_is_on_the_same_server() -> None:
    with_next = {name for name in FORMATS if (listing := reads(name)) and listing.next_url}
    assert with_next == {"arxiv_oai.xml", "biorxiv.json"}


def reads(name: str) -> Listing | None:
    body = (SAMPLES / name).read_bytes()
    source = next(source for source in sources().values() if source.recognise(body))
    try:
        listing = source.parse(body, day=DAY)
    except SourceError:
        return None
    return listing


@pytest.mark.parametrize(("name", "expected"), FORMATS.items())
def test_a_listing_is_recognised_by_its_content(name: str, expected: str) -> None:
    body = (SAMPLES / name).read_bytes()
    formats = [form for source in sources().values() if (form := source.recognise(body))]
    assert formats[0] == expected
    assert set(formats[1:]) <= {"rss"}, "only feeds of arXiv have two formats"


def test_every_sample_and_every_format_is_covered() -> None:
    assert {path.name for path in SAMPLES.iterdir() if path.is_file()} == set(FORMATS)
    assert {form for source in sources().values() for form in source.formats} == set(FORMATS.values())


def tries(source: Source, body: bytes) -> None:
    started = time.monotonic()
    form = source.recognise(body)
    assert form is None or form in source.formats
    try:
        listing: Listing | None = source.parse(body, day=DAY)
    except SourceError as error:
        message, listing = str(error), None
    else:
        message = "fine"
    assert time.monotonic() - started < 10
    assert re.fullmatch(r".{4,500}", message), "an error is one line for people"
    if listing:
        assert listing.format in source.formats
        assert_plain(listing)
        # What a page says never leads the poller elsewhere.
        assert not listing.next_url or rate_limits.of_url(listing.next_url) == source.rate_limit(source.example)


def assert_plain(listing: Listing) -> None:
    for entry in listing.entries:
        assert entry.title
        for text in (entry.title, entry.abstract, *entry.authors, *entry.categories):
            assert not UNFIT.search(text)
        assert all(link.startswith(("http://", "https://")) for link in entry.links.values())


@every_source
@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_an_error_or_skipped_entries(source: Source, body: bytes) -> None:
    tries(source, body)


@every_source
@pytest.mark.parametrize("name", FORMATS)
def test_no_truncated_sample_breaks_a_source(source: Source, name: str) -> None:
    body = (SAMPLES / name).read_bytes()
    for end in range(0, len(body), max(1, len(body) // 7)):
        tries(source, body[:end])


@every_source
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_bytes_break_a_source(source: Source, data: st.DataObject) -> None:
    sample = (SAMPLES / data.draw(st.sampled_from(sorted(FORMATS)))).read_bytes()
    place = data.draw(st.integers(0, len(sample)))
    noise = data.draw(st.binary(max_size=200))
    tries(source, data.draw(st.sampled_from([noise, sample[:place] + noise + sample[place + len(noise) :]])))
