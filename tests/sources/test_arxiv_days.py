"""arXiv's past announcements: its calendar, OAI-PMH, and the API by time of submission."""

from datetime import UTC, date, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from services.errors import SourceError
from services.plugins import source
from services.sources.arxiv import calendar
from tests.sources.listings import ids, parse, sample

arxiv = source("arxiv")
FRIDAY = date(2025, 5, 30)


def asked(location: str, day: date) -> dict[str, str]:
    request = arxiv.request_day(location, day)
    assert request is not None
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


def api(title: str, *, total: int, start: int = 0, entries: int = 1) -> bytes:
    names = 'xmlns="http://www.w3.org/2005/Atom" xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/"'
    counts = "".join(
        f"<opensearch:{name}>{number}</opensearch:{name}>"
        for name, number in (("totalResults", total), ("startIndex", start))
    )
    entry = "<entry><id>http://arxiv.org/abs/2505.{:05d}v1</id><title>T</title><published>2025-05-28T20:00:00Z</published></entry>"
    body = "".join(entry.format(number) for number in range(entries))
    return f"<feed {names}><title>arXiv Query: {title}</title>{counts}{body}</feed>".encode()


# ── the calendar ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("submitted", "announced"),
    [
        ("2025-05-28T17:59:00Z", "2025-05-29"),  # Wednesday 13:59 in New York
        ("2025-05-28T18:00:00Z", "2025-05-30"),
        ("2025-05-29T18:00:00Z", "2025-06-02"),  # Thursday: on Sunday evening
        ("2025-05-30T18:00:00Z", "2025-06-03"),
        ("2025-05-31T12:00:00Z", "2025-06-03"),
        ("2025-06-02T17:00:00Z", "2025-06-03"),
        ("2025-01-15T18:59:00Z", "2025-01-16"),  # in winter
    ],
)
def test_a_submission_is_announced_after_the_next_deadline(submitted: str, announced: str) -> None:
    assert calendar.announced_after(datetime.fromisoformat(submitted)) == date.fromisoformat(announced)


@pytest.mark.parametrize("offset", range(14))
def test_the_submissions_of_an_announcement_are_announced_by_it(offset: int) -> None:
    day = date(2025, 3, 3 + offset)  # summer time begins in between
    start, end = calendar.submissions(day)
    assert (
        calendar.announced_after(start) == calendar.announced_after(end - calendar.MINUTE) == calendar.announced_by(day)
    )
    assert calendar.announced_after(end) > calendar.announced_by(day)


def test_arxiv_announces_from_monday_to_friday_on_its_own_clock() -> None:
    table = arxiv.timetable
    assert (table.timezone, table.states_days, table.grows) == ("America/New_York", True, False)
    assert table.weekdays == {0, 1, 2, 3, 4}


# ── OAI-PMH ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("cs.LG", "cs:cs:LG"),
        ("math.AG", "math:math:AG"),
        ("hep-th", "physics:hep-th"),
        ("astro-ph.GA", "physics:astro-ph:GA"),
        ("physics.optics", "physics:physics:optics"),
        ("cond-mat.mes-hall", "physics:cond-mat:mes-hall"),
        ("math-ph", "physics:math-ph"),
        ("q-bio.NC", "q-bio:q-bio:NC"),
        ("cs", "cs:cs"),
    ],
)
def test_one_category_is_requested_by_its_set_and_day(category: str, name: str) -> None:
    assert asked(category, FRIDAY) == {
        "verb": "ListRecords",
        "metadataPrefix": "arXivRaw",
        "set": name,
        "from": "2025-05-30",
        "until": "2025-05-30",
    }


def test_oai_has_a_long_timeout() -> None:
    request = arxiv.request_day("cs.LG", FRIDAY)
    assert request is not None
    assert request.timeout > 90
    assert request.url.startswith("https://oaipmh.arxiv.org/oai?")


def test_a_record_gives_id_version_days_and_people() -> None:
    new, revised, _, _ = parse("arxiv", sample("arxiv_oai_raw.xml")).entries
    assert (ids(new), new.version, new.announced_on) == (["arxiv:2505.00002"], 1, FRIDAY)
    assert new.published_on == date(2025, 5, 29)
    assert new.abstract.startswith("The paper presents a paradoxical feature of")
    assert (revised.version, revised.replacement) == (2, False), "recent: whoever missed it wants to hear of it"
    assert revised.authors == ("Fabian Retkowski", "Andreas Sudmann", "Alexander Waibel")
    assert revised.categories == ("cs.CL", "cs.AI")


def test_an_old_paper_that_changed_is_a_replacement_and_keeps_its_month() -> None:
    old = parse("arxiv", sample("arxiv_oai_raw.xml")).entries[2]
    assert (old.replacement, old.announced_on, old.version) == (True, date(2007, 4, 30), 1)
    assert ids(old) == ["arxiv:0704.0471", "doi:10.1103/physrevc.76.024606"], "the second is of its erratum"
    assert old.authors == ("D.V. Shetty", "S.J. Yennello", "G.A. Souliotis")


def test_withdrawn_records_are_marked_and_deleted_ones_skipped() -> None:
    listing = parse("arxiv", sample("arxiv_oai_raw.xml"))
    assert [entry.withdrawn for entry in listing.entries] == [False, False, False, True]
    assert ids(listing.entries[3]) == ["arxiv:2505.20001", "doi:10.1000/xyz.7"]
    assert listing.entries[3].categories == ("cs.LG",)
    (skipped,) = listing.skipped
    assert (skipped.where, skipped.reason) == ("oai:arXiv.org:2505.20002", "arXiv has deleted it")


def test_the_count_of_a_day_includes_unreadable_records() -> None:
    listing = parse("arxiv", sample("arxiv_oai_raw.xml"))
    assert (listing.announced_on, listing.announced) == (FRIDAY, 5)
    assert len(listing.entries) + len(listing.skipped) == 5


def test_names_of_people_and_of_collaborations() -> None:
    def authors(text: str) -> tuple[str, ...]:
        body = sample("arxiv_oai_raw.xml").replace(b"The Example Collaboration", text.encode())
        return parse("arxiv", body).entries[3].authors

    assert authors("A. Ng and B. Li") == ("A. Ng", "B. Li")
    assert authors("A. Ng, ATLAS and CMS Collaborations") == ("A. Ng", "ATLAS and CMS Collaborations")
    assert authors("Sandra Anders") == ("Sandra Anders",)


def test_arxiv_metadata_state_a_revision_without_its_number() -> None:
    (entry,) = parse("arxiv", sample("arxiv_oai.xml")).entries
    assert ids(entry)[0] == "arxiv:1706.05371"
    assert (entry.version, entry.replacement) == (None, True)
    assert entry.authors[0] == "Tyler Anderson"
    body = sample("arxiv_oai.xml").replace(b"<updated>2017-12-12</updated>", b"")
    assert parse("arxiv", body).entries[0].version == 1


def test_each_page_has_the_next_url_and_the_last_page_gives_the_count() -> None:
    body = sample("arxiv_oai.xml")
    first = parse("arxiv", body)
    assert first.announced is None
    token = parse_qs(urlsplit(first.next_url).query)["resumptionToken"][0]
    assert token.startswith("verb%3DListRecords%26")
    assert first.next_url.startswith("https://oaipmh.arxiv.org/oai?verb=ListRecords&resumptionToken=verb%253D")
    asked_again = body.replace(b' from="2017-12-14"', b' resumptionToken="%s" from="2017-12-14"' % token.encode())
    last = parse("arxiv", asked_again[: asked_again.index(b"<resumptionToken")] + b"</ListRecords></OAI-PMH>")
    assert (last.next_url, last.announced) == ("", 2_001)


def test_a_count_that_oai_states_is_used() -> None:
    body = sample("arxiv_oai.xml").replace(
        b"<resumptionToken expires=", b"<resumptionToken completeListSize='2345' expires="
    )
    assert parse("arxiv", body).announced == 2_345


def test_records_of_several_days_give_no_count() -> None:
    listing = parse("arxiv", sample("arxiv_oai_raw.xml").replace(b' until="2025-05-30"', b""))
    assert (listing.announced, listing.announced_on) == (None, FRIDAY)


def test_a_day_without_records_is_an_empty_listing() -> None:
    listing = parse("arxiv", sample("arxiv_oai_none.xml"))
    assert (listing.entries, listing.announced, listing.announced_on) == ((), 0, FRIDAY)


def test_an_expired_token_is_an_error() -> None:
    with pytest.raises(SourceError, match="arXiv answers: badResumptionToken: The value of"):
        parse("arxiv", sample("arxiv_oai_error.xml"))


def test_an_answer_to_another_request_is_an_error() -> None:
    body = b"<OAI-PMH><request>https://oaipmh.arxiv.org/oai</request><Identify/></OAI-PMH>"
    with pytest.raises(SourceError, match="holds no records"):
        parse("arxiv", body)


# ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_several_categories_are_requested_by_times_of_submission() -> None:
    parameters = asked("cs.LG+hep-th+math", FRIDAY)
    assert parameters["search_query"] == (
        "(cat:cs.LG OR cat:hep-th OR cat:math.*) AND submittedDate:[202505281800 TO 202505291800]"
    )
    assert (parameters["sortBy"], parameters["sortOrder"], parameters["start"]) == ("submittedDate", "descending", "0")


def test_a_query_covers_holidays_and_moderated_papers() -> None:
    parameters = asked("query:ti:transformer", FRIDAY)
    assert parameters["search_query"] == "(ti:transformer) AND submittedDate:[202505261800 TO 202505291800]"


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (datetime(2025, 5, 30, 3, tzinfo=UTC), "202505281800"),  # still Thursday in New York
        (datetime(2025, 5, 30, 5, tzinfo=UTC), "202505291800"),
        (datetime(2025, 6, 1, 12, tzinfo=UTC), "202505291800"),  # Sunday: Friday's announcement
    ],
)
def test_a_query_is_polled_for_the_present_announcement(now: datetime, end: str) -> None:
    request = arxiv.request("query:ti:transformer", now)
    assert request.url.startswith("https://export.arxiv.org/api/query?")
    assert f"+TO+{end}%5D" in request.url


@pytest.mark.parametrize("quote", ["", '"'])
def test_the_title_of_an_answer_gives_its_announcement_day(quote: str) -> None:
    title = f"search_query=ti:x AND submittedDate:{quote}[202505261800 TO 202505291800]{quote}&amp;id_list=&amp;start=0"
    listing = parse("arxiv", api(title, total=1))
    assert (listing.announced_on, listing.announced, listing.next_url) == (FRIDAY, 1, "")
    assert listing.entries[0].announced_on == FRIDAY


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_long_answer_has_a_next_page(quote: str) -> None:
    title = f"search_query=ti:x AND submittedDate:{quote}[202505261800 TO 202505291800]{quote}&amp;id_list=&amp;start=4"
    listing = parse("arxiv", api(title, total=9, start=4, entries=3))
    parameters = parse_qs(urlsplit(listing.next_url).query)
    assert parameters["search_query"] == ["ti:x AND submittedDate:[202505261800 TO 202505291800]"]
    assert parameters["start"] == ["7"]
    assert listing.announced == 9


def test_a_late_paper_has_the_day_of_its_own_submission() -> None:
    title = "search_query=submittedDate:[202505281800 TO 202506021800]&amp;id_list="
    (entry,) = parse("arxiv", api(title, total=1)).entries
    assert entry.announced_on == FRIDAY


def test_an_unexpected_empty_page_is_an_error() -> None:
    with pytest.raises(SourceError, match="empty page, though it counts 1,234 results"):
        parse("arxiv", api("search_query=ti:x&amp;id_list=", total=1_234, entries=0))


def test_an_empty_answer_gives_no_count() -> None:
    title = "search_query=submittedDate:[202505281800 TO 202505291800]&amp;id_list="
    listing = parse("arxiv", api(title, total=0, entries=0))
    assert (listing.entries, listing.announced, listing.announced_on) == ((), None, FRIDAY)


# ── one paper in every form ───────────────────────────────────────────────────────────────────────────────────


def test_every_format_gives_the_same_identifiers() -> None:
    named = [
        next(entry for entry in parse(kind, sample(name)).entries if ids(entry)[:1] == ["arxiv:2505.00002"])
        for kind, name in (("arxiv", "arxiv_rss.xml"), ("arxiv", "arxiv_oai_raw.xml"), ("jsonl", "papers.jsonl"))
    ]
    assert len({(entry.title, entry.authors, entry.abstract, entry.categories) for entry in named}) == 1
