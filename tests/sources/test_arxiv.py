from datetime import UTC, date, datetime, timedelta

import pytest

from services.errors import SourceError
from services.plugins import source
from tests.sources.listings import ids, parse, sample

arxiv = source("arxiv")


def rss(item: str) -> bytes:
    title = "<title>cs.LG updates on arXiv.org</title>"
    names = 'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:arxiv="http://arxiv.org/schemas/atom"'
    return f"<rss version='2.0' {names}><channel>{title}<item>{item}</item></channel></rss>".encode()


def test_an_rss_item_gives_id_version_day_and_the_abstract_without_its_prefix() -> None:
    first = parse("arxiv", sample("arxiv_rss.xml")).entries[0]
    assert ids(first) == ["arxiv:2505.00002"]
    assert first.version == 1
    assert first.announced_on == date(2025, 5, 30)
    assert first.abstract.startswith("The paper presents a paradoxical feature")
    assert first.categories == ("cs.CL",)
    assert first.links == {"abstract": "https://arxiv.org/abs/2505.00002", "pdf": "https://arxiv.org/pdf/2505.00002"}


def test_a_replacement_is_an_entry_with_its_version_and_doi() -> None:
    replaced = parse("arxiv", sample("arxiv_rss.xml")).entries[2]
    assert replaced.version == 3
    assert replaced.replacement
    assert ids(replaced) == ["arxiv:2505.00017", "doi:10.1145/3544548.3580000"]


def test_an_old_id_keeps_its_archive_and_authors_lose_their_affiliations() -> None:
    old = parse("arxiv", sample("arxiv_rss.xml")).entries[3]
    assert ids(old) == ["arxiv:cond-mat/0207270"]
    assert old.authors == ("A. Lovelace", "C. Babbage")


@pytest.mark.parametrize(
    ("kind", "replacement"),
    [("new", False), ("cross", False), ("replace", True), ("replace-cross", True), ("absonly", True), ("other", False)],
)
def test_the_announce_type_tells_replacements_from_new_papers(kind: str, replacement: bool) -> None:
    extra = f"<arxiv:announce_type>{kind}</arxiv:announce_type>"
    item = "<title>T</title><guid>oai:arXiv.org:2401.00001v2</guid><description>{}</description>{}"
    for body in (
        rss(item.format("", extra)),
        rss(item.format(f"arXiv:2401.00001v2 Announce Type: {kind} Abstract: A", "")),
    ):
        assert parse("arxiv", body).entries[0].replacement == replacement


def test_a_replacement_is_dated_by_its_id_so_that_it_does_not_count_as_todays() -> None:
    entries = parse("arxiv", sample("arxiv_rss.xml")).entries
    assert [entry.announced_on for entry in entries[2:]] == [date(2025, 5, 30), date(2002, 7, 31)]
    assert parse("arxiv", sample("arxiv_rss.xml")).announced_on == date(2025, 5, 30)


def test_the_description_gives_the_version_that_a_guid_lacks() -> None:
    text = "arXiv:2401.00001v4 Announce Type: replace \nAbstract: A"
    body = rss(f"<title>T</title><guid>oai:arXiv.org:2401.00001</guid><description>{text}</description>")
    assert parse("arxiv", body).entries[0].version == 4


def test_a_doi_is_read_from_the_journal_reference() -> None:
    extra = "<arxiv:journal_reference>J. Example 7 (2024), https://doi.org/10.1000/xyz.7</arxiv:journal_reference>"
    body = rss(f"<title>T</title><guid>oai:arXiv.org:2401.00001v1</guid>{extra}")
    assert ids(parse("arxiv", body).entries[0]) == ["arxiv:2401.00001", "doi:10.1000/xyz.7"]


def test_missing_fields_are_none() -> None:
    (entry,) = parse("arxiv", rss("<title>T</title><link>https://arxiv.org/abs/2401.00001</link>")).entries
    assert (ids(entry), entry.version, entry.authors, entry.announced_on) == (["arxiv:2401.00001"], None, (), None)


def test_commas_and_brackets_in_affiliations_do_not_split_names() -> None:
    creators = "Ana Silva (Univ. of A, Dept. (B, C)), Bo Li, Cy Young ((1) D, (2) E)"
    body = rss(f"<title>T</title><guid>oai:arXiv.org:2401.00001v1</guid><dc:creator>{creators}</dc:creator>")
    assert parse("arxiv", body).entries[0].authors == ("Ana Silva", "Bo Li", "Cy Young")


@pytest.mark.parametrize("body", [b"Rate exceeded.", b"<html><body>Rate exceeded.</body></html>", b""])
def test_an_unknown_document_is_an_error_that_describes_it(body: bytes) -> None:
    with pytest.raises(SourceError, match=r"no feed of arXiv: it is (text that begins with 'Rate|an HTML page|empty)"):
        parse("arxiv", body)


def test_an_item_without_an_id_is_skipped_and_named() -> None:
    (skipped,) = parse("arxiv", sample("arxiv_rss.xml")).skipped
    assert (skipped.where, skipped.reason) == ("An item without an id", "it has no arXiv id")


def test_a_prefix_without_a_space_before_the_abstract_is_removed() -> None:
    item = "<title>T</title><guid>oai:arXiv.org:2401.00001v1</guid>"
    body = rss(f"{item}<description>arXiv:2401.00001v1 Announce Type: new\nAbstract: Where $a&lt;b$.</description>")
    (entry,) = parse("arxiv", body).entries
    assert entry.abstract == "Where $a<b$."


def test_the_day_is_the_one_on_arxivs_clock() -> None:
    item = "<title>T</title><guid>oai:arXiv.org:2401.00001v1</guid><pubDate>Tue, 02 Jan 2024 03:30:00 +0000</pubDate>"
    assert parse("arxiv", rss(item)).entries[0].announced_on == date(2024, 1, 1)


def test_an_empty_day_is_a_listing_without_entries() -> None:
    listing = parse("arxiv", sample("arxiv_rss_empty.xml"))
    assert (listing.format, listing.entries, listing.announced_on) == ("arxiv-rss", (), date(2025, 5, 30))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("arxiv_rss_error.xml", "Feed error for query: cs.NOPE. Invalid archive or category"),
        ("arxiv_api_error.xml", "incorrect id format for abc"),
    ],
)
def test_an_error_of_arxiv_is_the_error_message(name: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse("arxiv", sample(name))


def test_atom_and_the_old_rdf_give_the_same_kind_of_entries() -> None:
    (atom,) = parse("arxiv", sample("arxiv_atom.xml")).entries
    assert (ids(atom), atom.version, atom.announced_on) == (["arxiv:2505.00030"], 1, date(2025, 5, 30))
    (rdf,) = parse("arxiv", sample("arxiv_rdf.xml")).entries
    assert rdf.title == "New Perspective on Hybrid Mesons"
    assert (ids(rdf), rdf.version, rdf.categories) == (["arxiv:1805.06430"], 2, ("nucl-th",))
    assert rdf.authors == ("Shu-Sheng Xu", "Zhu-Fang Cui")
    assert rdf.abstract.endswith(r"a range of $2.6<\eta<4$.")
    assert rdf.announced_on == date(2018, 5, 23)


def test_the_api_gives_submission_days_only() -> None:
    first, withdrawn = parse("arxiv", sample("arxiv_api.xml")).entries
    assert (first.announced_on, first.published_on, first.version) == (None, date(2025, 5, 27), 2)
    assert first.title.startswith("Enriching the Korean Learner Corpus")
    assert first.categories == ("cs.LG", "cs.CL")
    assert ids(first) == ["arxiv:2505.00261", "doi:10.1000/xyz.1"]
    assert not first.withdrawn
    assert withdrawn.withdrawn


def test_half_a_feed_is_an_error_not_a_short_listing() -> None:
    with pytest.raises(SourceError, match="damaged or incomplete"):
        parse("arxiv", sample("arxiv_rss.xml")[:-200])


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("cs.LG", "cs.LG"),
        ("stat.ml, CS.lg cs.LG", "cs.LG+stat.ML"),
        ("hep-th", "hep-th"),
        ("physics.Optics+cond-mat.mes-hall", "cond-mat.mes-hall+physics.optics"),
        ("astro-ph.co", "astro-ph.CO"),
        ("math-ph", "math-ph"),
    ],
)
def test_a_location_has_one_canonical_form(text: str, canonical: str) -> None:
    assert arxiv.location(text) == canonical
    assert arxiv.location(canonical) == canonical


@pytest.mark.parametrize("text", ["", "LG", "cs.LG+nope", "https://arxiv.org", "cs.LG/../x", "cs.", "cs.LG&x=1"])
def test_an_unknown_category_gets_a_hint(text: str) -> None:
    with pytest.raises(SourceError, match=r"cs\.LG"):
        arxiv.location(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("query:ti:transformer", "query:ti:transformer"),
        ('Query: all:"graph  network"  and cat:cs.LG', 'query:all:"graph  network" AND cat:cs.LG'),
        ("query:(au:lecun OR au:bengio)ANDNOT ti:survey", "query:( au:lecun OR au:bengio ) ANDNOT ti:survey"),
        ("query:cat:cs.* AND electron", "query:cat:cs.* AND electron"),
    ],
)
def test_a_query_has_one_canonical_form(text: str, canonical: str) -> None:
    assert arxiv.location(text) == canonical
    assert arxiv.location(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("query:", "ends too early"),
        ("query:ti:a AND", "ends too early"),
        ("query:(ti:a", "ends too early"),
        ("query:ti:a)", "closes a bracket"),
        ("query:ti:a ti:b", "needs AND, OR or ANDNOT before 'ti:b'"),
        ("query:AND ti:a", "needs a term such as ti:transformer before 'AND'"),
        ("query:ti:a AND ()", r"needs a term such as ti:transformer before '\)'"),
        ('query:ti:"open', "cannot read"),
        ("query:title:a", "cannot read"),
        ("query:submittedDate:[1 TO 2]", "cannot read"),
        ("query:ti:a&start=5", "cannot read"),
        ("query:" + "ti:a OR " * 200 + "ti:a", "at most 1,000 characters"),
    ],
)
def test_a_query_that_arxiv_would_reject_gets_a_hint(text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        arxiv.location(text)


def test_arxiv_is_polled_by_rss_once_in_three_seconds() -> None:
    now = datetime(2026, 5, 30, tzinfo=UTC)
    assert arxiv.request("cs.LG+stat.ML", now).url == "https://rss.arxiv.org/rss/cs.LG+stat.ML"
    assert arxiv.rate_limit("cs.LG") == arxiv.rate_limit("hep-th") == ("arxiv", timedelta(seconds=3))
    assert source("feed").rate_limit("https://export.arxiv.org/api/query?x=1") == arxiv.rate_limit("cs.LG")
