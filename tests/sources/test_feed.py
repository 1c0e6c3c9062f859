import time
from datetime import date

import pytest

from services.errors import SourceError
from services.plugins import source
from tests.sources.listings import ids, parse, sample

feed = source("feed")


def rss(items: str) -> bytes:
    return f"<rss version='2.0'><channel><title>A feed</title>{items}</channel></rss>".encode()


def test_markup_becomes_text_in_any_charset() -> None:
    first = parse("feed", sample("feed_rss.xml")).entries[0]
    assert first.title == "Café models with a < b"
    assert first.abstract == "H2O and more"


def test_formulas_are_not_markup() -> None:
    (entry,) = parse("feed", sample("feed_atom.xml")).entries
    assert entry.abstract == "Where $x<y$ and <eta> holds."


def test_formulas_are_kept_beside_markup() -> None:
    item = "<item><title>T</title><description>&lt;p&gt;Where &lt;eta&gt; and $a&lt;b$&lt;/p&gt;</description></item>"
    assert parse("feed", rss(item)).entries[0].abstract == "Where <eta> and $a<b$"


@pytest.mark.parametrize(
    ("title", "text"),
    [
        (
            '<![CDATA[<tex-math notation="LaTeX">$H_\\infty$</tex-math> <italic>a</italic>]]>',
            "$H_\\infty$ a",
        ),
        ("&lt;jats:italic&gt;In situ&lt;/jats:italic&gt; MoS&lt;sub&gt;2&lt;/sub&gt;", "In situ MoS2"),
        ("&lt;mml:math&gt;&lt;mml:mi&gt;α&lt;/mml:mi&gt;&lt;/mml:math&gt;-Al where a&lt;b", "α-Al where a<b"),
    ],
)
def test_tags_of_publishers_are_removed(title: str, text: str) -> None:
    (entry,) = parse("feed", rss(f"<item><title>{title}</title></item>")).entries
    assert entry.title == text


def test_relative_links_are_relative_to_the_feeds_own_address() -> None:
    assert parse("feed", sample("feed_rss.xml")).entries[0].links["listing"] == "https://lab.example.org/p/2604.26238"
    (entry,) = parse("feed", sample("feed_atom.xml")).entries
    assert entry.links["listing"] == "https://journal.example.org/articles/1"


def test_only_web_links_are_kept() -> None:
    second = parse("feed", sample("feed_rss.xml")).entries[1]
    assert second.links == {"abstract": "https://doi.org/10.1000/abc.7"}


def test_a_paper_seen_elsewhere_has_its_identifiers() -> None:
    rss_entries = parse("feed", sample("feed_rss.xml")).entries
    assert [ids(entry) for entry in rss_entries] == [["arxiv:2604.26238"], ["doi:10.1000/abc.7"], []]
    assert ids(parse("feed", sample("feed_rdf.xml")).entries[0]) == ["doi:10.1101/287961"]
    json_entry = parse("feed", sample("feed.json")).entries[0]
    assert (ids(json_entry), json_entry.version) == (["arxiv:2505.00001"], 2)


def test_a_paper_on_another_site_is_linked_at_its_own_page() -> None:
    (entry,) = parse("feed", sample("feed_atom.xml")).entries
    assert entry.links["abstract"] == "https://doi.org/10.5555/test.1"
    assert entry.links["pdf"] == "https://journal.example.org/articles/1.pdf"


def test_authors_in_one_name_are_split() -> None:
    assert parse("feed", sample("feed_rss.xml")).entries[0].authors == ("Ana Silva", "Bo Li", "Cy Young")
    assert parse("feed", sample("feed_rdf.xml")).entries[0].authors == ("Meena, R. C.", "Chakrabarti, A.")


def test_the_editor_of_a_feed_is_not_an_author() -> None:
    assert parse("feed", sample("feed_rss.xml")).entries[1].authors == ()


def test_the_day_is_in_the_time_zone_of_the_feed() -> None:
    assert parse("feed", sample("feed_rss.xml")).entries[0].announced_on == date(2026, 4, 29)
    assert parse("feed", sample("feed_atom.xml")).entries[0].announced_on == date(2026, 4, 28)
    assert parse("feed", sample("feed.json")).entries[0].announced_on == date(2026, 4, 28)


def test_the_date_of_an_unset_clock_is_ignored() -> None:
    item = "<item><title>T</title><pubDate>Thu, 01 Jan 1970 00:00:00 GMT</pubDate></item>"
    assert parse("feed", rss(item)).entries[0].announced_on is None


def test_both_versions_of_json_feed_are_read() -> None:
    listing = parse("feed", sample("feed_v1.json"))
    first, second = listing.entries
    assert first.authors == ("Ana Silva",)
    assert (ids(first), first.abstract) == (["doi:10.1000/old.1"], "Some text")
    assert first.links == {
        "abstract": "https://doi.org/10.1000/old.1",
        "listing": "https://old.example.org/1",
        "pdf": "https://old.example.org/1.pdf",
    }
    assert second.authors == ()
    assert parse("feed", sample("feed.json")).entries[0].authors == ("Ana Silva",)


def test_a_forum_of_openreview_is_an_identifier() -> None:
    second = parse("feed", sample("feed_v1.json")).entries[1]
    assert ids(second) == ["openreview:aBcD_1234"]
    assert second.links["abstract"] == "https://openreview.net/forum?id=aBcD_1234"


def test_a_feed_has_no_days_of_its_own_and_cannot_look_back() -> None:
    assert not feed.timetable.states_days
    assert feed.request_day("https://example.org/feed.xml", date(2025, 5, 30)) is None


def test_a_damaged_date_causes_neither_warning_nor_failure() -> None:
    # Damaged: feedparser has a reading of the date, but not its text.
    body = "<entry><title>T</title>published>2006-01-02T14:57:58Z</published></entry>"
    (entry,) = parse("feed", f"<feed xmlns='http://www.w3.org/2005/Atom'>{body}</feed>".encode()).entries
    assert entry.title == "T"


def test_unreadable_items_are_skipped_and_named() -> None:
    assert [skipped.where for skipped in parse("feed", sample("feed.json")).skipped] == ["entry 3"]


def test_the_error_for_an_html_page_names_its_feed() -> None:
    page = (
        b'<!DOCTYPE html><html><head><link rel="alternate" type="application/rss+xml" href="/feed.xml"></head></html>'
    )
    with pytest.raises(SourceError, match=r"it is an HTML page; the feed it names is /feed\.xml"):
        parse("feed", page)


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>',
        '<?x <!-- ?><!DOCTYPE lolz [<!ENTITY lol "lol">]><!-- -->',
        '<!DOCTYPE lolz SYSTEM "<!--" [<!ENTITY lol SYSTEM "file:///etc/passwd">]><!-- -->',
        '<!-- <rss> --><!doctype lolz [<!EnTiTy lol "lol">]>',
        'junk <!ENTITY lol "lol">',
    ],
)
def test_entities_are_refused_however_they_are_hidden(prolog: str) -> None:
    body = f"<?xml version='1.0'?>{prolog}".encode() + rss("<item><title>&lol;</title></item>")
    with pytest.raises(SourceError, match=r"entities|no feed"):
        parse("feed", body)


def test_a_string_that_names_a_file_is_not_opened() -> None:
    with pytest.raises(SourceError):
        parse("feed", b"/etc/passwd")


def test_texts_are_cut_at_their_limits() -> None:
    item = f"<item><title>{'t' * 9_000}</title><description>{'a ' * 50_000}</description></item>"
    (entry,) = parse("feed", rss(item)).entries
    assert (len(entry.title), entry.title[-1]) == (500, "…")
    assert len(entry.abstract) <= 20_000


@pytest.mark.parametrize("author", ["a" * 300_000, "a&#x41;" * 60_000, "a]]><![CDATA[a" * 0 + "a<!-- -->" * 60_000])
def test_a_very_long_author_is_read_fast(author: str) -> None:
    started = time.monotonic()
    parse("feed", rss(f"<item><title>T</title><author>{author}</author></item>"))
    assert time.monotonic() - started < 10


def test_a_very_long_list_of_tags_is_read_fast() -> None:
    tags = "".join(f"<category>{number}</category>" for number in range(40_000))
    started = time.monotonic()
    (entry,) = parse("feed", rss(f"<item><title>T</title>{tags}</item>")).entries
    assert time.monotonic() - started < 10
    assert len(entry.categories) == 50


def test_only_the_first_items_of_a_huge_feed_are_read() -> None:
    items = "".join(f"<item><title>Paper {number}</title></item>" for number in range(100_000))
    listing = parse("feed", rss(items))
    assert len(listing.entries) == 10_000
    assert listing.skipped[-1].where == "entry 10001 and all after it"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("https://Example.org", "https://example.org/"),
        (" http://example.org:80/feed?x=1#top ", "http://example.org/feed?x=1"),
        ("https://example.org:8443/a", "https://example.org:8443/a"),
        ("https://faß.example/feed.xml", "https://xn--fa-hia.example/feed.xml"),
        ("https://bücher.example/feed", "https://xn--bcher-kva.example/feed"),
        ("http://[2606:4700::1]/feed", "http://[2606:4700::1]/feed"),
    ],
)
def test_a_location_has_one_canonical_form(text: str, canonical: str) -> None:
    assert feed.location(text) == canonical
    assert feed.location(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org/feed",
        "ftp://example.org/",
        "javascript:alert(1)",
        "https://",
        "https://me:pw@example.org/",
        "https://a:x/",
        "http://[::1",
    ],
)
def test_a_location_that_is_no_web_address_gets_a_hint(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        feed.location(text)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b'<rss version="2.0"><channel><title>A feed</title>',
        b'<feed xmlns="http://www.w3.org/2005/Atom"><title>A feed</title>',
        b'<rss version="2.0"><channel><title>A feed</title>' + b"<b>" * 20_000,
        b'<rss version="2.0">',
    ],
)
def test_a_feed_that_ends_before_its_first_entry_is_incomplete(body: bytes) -> None:
    with pytest.raises(SourceError, match=r"incomplete|damaged"):
        feed.parse(body, day=date(2026, 5, 4))


@pytest.mark.parametrize(
    "body",
    [
        b'<rss version="2.0"><channel><title>A feed</title></channel></rss>',
        b'<feed xmlns="http://www.w3.org/2005/Atom"><title>A feed</title></feed>',
        b'<feed xmlns="http://www.w3.org/2005/Atom"/>',
        b'<rss version="2.0"><channel/></rss>',
    ],
)
def test_a_whole_feed_without_entries_is_empty(body: bytes) -> None:
    assert feed.parse(body, day=date(2026, 5, 4)).entries == ()
