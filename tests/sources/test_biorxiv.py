import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from services.domain.papers.paper import Entry
from services.errors import SourceError
from services.plugins import source
from tests.sources.listings import ids, parse, sample

biorxiv, medrxiv = source("biorxiv"), source("medrxiv")
MESSAGE = {"status": "ok", "category": "all", "interval": "2026-05-28:2026-05-28", "cursor": 0, "count": 1}


def answer(*items: dict[str, Any], **message: Any) -> bytes:
    return json.dumps({"messages": [{**MESSAGE, **message}], "collection": items}).encode()


def preprint(**fields: Any) -> dict[str, Any]:
    return {"doi": "10.1101/2026.05.28.1", "title": "T", "date": "2026-05-28", **fields}


def entry(**fields: Any) -> Entry:
    (parsed,) = parse("biorxiv", answer(preprint(**fields))).entries
    return parsed


def test_a_preprint_has_its_doi_version_authors_and_links() -> None:
    first = parse("biorxiv", sample("biorxiv.json")).entries[0]
    assert (ids(first), first.version, first.announced_on) == (
        ["doi:10.64898/2026.05.25.700001"],
        1,
        date(2026, 5, 28),
    )
    assert first.authors == ("Fox, L.", "Reyes, M. A.", "de Boer, J.")
    assert first.categories == ("neuroscience",)
    page = "https://www.biorxiv.org/content/10.64898/2026.05.25.700001v1"
    assert first.links == {"abstract": page, "pdf": f"{page}.full.pdf"}


def test_marks_figures_and_markup_of_the_manuscript_are_removed() -> None:
    abstract = parse("biorxiv", sample("biorxiv.json")).entries[0].abstract
    assert abstract.startswith("Background Spindles were counted in SARS-COV-2 free mice, with p < 0.05.")
    assert abstract.endswith("First result Second result")
    assert "highwire" not in abstract


def test_a_revision_is_a_replacement_and_the_journals_doi_an_identifier_of_the_same_paper() -> None:
    second = parse("biorxiv", sample("biorxiv.json")).entries[1]
    assert (second.version, second.replacement) == (3, True)
    assert ids(second) == ["doi:10.1101/2025.01.02.600002", "doi:10.1000/j.example.2026.7"]
    assert not parse("biorxiv", sample("biorxiv.json")).entries[0].replacement


@pytest.mark.parametrize("published", ["NA", "", None])
def test_a_preprint_without_a_journal_version_has_one_doi(published: str | None) -> None:
    assert ids(entry(published=published)) == ["doi:10.1101/2026.05.28.1"]


def test_a_withdrawn_preprint_is_marked() -> None:
    assert [entry.withdrawn for entry in parse("biorxiv", sample("biorxiv.json")).entries] == [False, False, True]


def test_a_preprint_without_a_doi_is_skipped_and_named() -> None:
    (skipped,) = parse("biorxiv", sample("biorxiv.json")).skipped
    assert (skipped.where, skipped.reason) == ("entry 4", "it has no DOI")


def test_the_next_page_begins_after_the_preprints_received() -> None:
    listing = parse("biorxiv", sample("biorxiv.json"))
    assert listing.announced == 61
    assert listing.next_url == ("https://api.biorxiv.org/details/biorxiv/2026-05-28/2026-05-28/4?category=neuroscience")


@pytest.mark.parametrize("size", [30, 100])
def test_a_page_may_be_of_any_size(size: int) -> None:
    page = answer(*[preprint(doi=f"10.1101/{n}") for n in range(size)], total="150", cursor=str(150 - size))
    assert parse("biorxiv", page).next_url == ""
    page = answer(*[preprint(doi=f"10.1101/{n}") for n in range(size)], total=150, cursor=0)
    assert parse("biorxiv", page).next_url.endswith(f"/{size}")


def test_the_last_page_has_no_next_one() -> None:
    listing = parse("medrxiv", sample("medrxiv.json"))
    assert (listing.announced, listing.next_url, listing.announced_on) == (31, "", date(2026, 5, 28))
    assert listing.entries[0].links["abstract"].startswith("https://www.medrxiv.org/content/10.1101/")


def test_each_server_recognises_its_own_answers() -> None:
    assert (biorxiv.recognise(sample("biorxiv.json")), medrxiv.recognise(sample("biorxiv.json"))) == (
        "biorxiv-json",
        None,
    )
    assert (biorxiv.recognise(sample("medrxiv.json")), medrxiv.recognise(sample("medrxiv.json"))) == (
        None,
        "biorxiv-json",
    )


def test_only_a_past_day_without_preprints_has_the_count_zero() -> None:
    body = b'{"messages":[{"status":"no posts found","interval":"2026-05-28:2026-05-28"}],"collection":[]}'
    listing = parse("biorxiv", body, date(2026, 5, 29))
    assert (listing.entries, listing.announced, listing.announced_on) == ((), 0, date(2026, 5, 28))
    assert parse("biorxiv", body, date(2026, 5, 28)).announced is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"messages":[{"status":"Error: (2002) Connection refused"}],"collection":[]}', "Connection refused"),
        (b"", "it is empty"),
        (b"<html><title>Just a moment</title></html>", "HTML page"),
        (answer(total="61"), "empty page, though it counts 61"),
        (sample("biorxiv.json")[:-100], "damaged or incomplete"),
    ],
)
def test_an_answer_without_a_list_is_an_error_with_the_reason(body: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse("biorxiv", body)


@pytest.mark.parametrize(
    ("text", "canonical"), [("", ""), ("neuroscience", "neuroscience"), (" Cell Biology ", "cell_biology")]
)
def test_a_location_is_empty_or_a_category(text: str, canonical: str) -> None:
    assert biorxiv.location(text) == canonical


def test_an_unknown_category_gets_the_nearest_as_a_hint() -> None:
    with pytest.raises(SourceError, match="'neuroscience'"):
        biorxiv.location("neurosciense")
    with pytest.raises(SourceError, match="medRxiv has no category"):
        medrxiv.location("zoology")


def test_a_day_is_requested_by_category() -> None:
    past = biorxiv.request_day("cell_biology", date(2026, 5, 28))
    assert past is not None
    assert past.url == "https://api.biorxiv.org/details/biorxiv/2026-05-28/2026-05-28/0?category=cell_biology"
    # It is still the 28th in New York.
    present = medrxiv.request("", datetime(2026, 5, 29, 2, tzinfo=UTC))
    assert present.url == "https://api.biorxiv.org/details/medrxiv/2026-05-28/2026-05-28/0"
