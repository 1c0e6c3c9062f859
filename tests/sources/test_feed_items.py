"""Items of feeds: which identifier is the paper's, and posts without a title."""

from datetime import date

import pytest

from services.domain.papers.paper import Entry
from services.sources.feed import plugin

RSS = """<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:prism="http://prismstandard.org/namespaces/basic/2.0/" xmlns:p="http://prismstandard.org/namespaces/2.0/basic/">
<channel><title>T</title><link>https://x.example.org</link><item>{item}</item></channel></rss>"""
PAGE = "https://academic.example.org/nar/doi/10.1093/nar/gkag001/unknown-tail"


def read(item: str) -> Entry:
    (entry,) = plugin.parse(RSS.format(item=item).encode(), day=date(2026, 12, 1)).entries
    return entry


def named(entry: Entry) -> list[str]:
    return [str(identifier) for identifier in entry.identifiers]


@pytest.mark.parametrize(
    "stated",
    [
        "<prism:doi>10.1093/nar/gkag001</prism:doi>",
        "<p:doi>doi:10.1093/NAR/gkag001</p:doi>",
        "<dc:identifier>doi:10.1093/nar/gkag001</dc:identifier><dc:identifier>pmid:99000001</dc:identifier>",
        "<dc:identifier>pmid:99000001</dc:identifier><dc:identifier>doi:10.1093/nar/gkag001</dc:identifier>",
        '<guid isPermaLink="false">https://doi.org/10.1093/nar/gkag001</guid>',
    ],
)
def test_a_stated_identifier_beats_a_guess_from_the_link(stated: str) -> None:
    entry = read(f"<title>Cas9</title><link>{PAGE}</link>{stated}")
    assert named(entry) == ["doi:10.1093/nar/gkag001"]
    assert entry.links["abstract"] == "https://doi.org/10.1093/nar/gkag001"


def test_a_version_in_the_link_belongs_to_the_stated_identifier() -> None:
    page = "https://www.biorxiv.org/content/10.1101/2026.01.01.000001v3"
    entry = read(f"<title>Cells</title><link>{page}</link><dc:identifier>doi:10.1101/2026.01.01.000001</dc:identifier>")
    assert (named(entry), entry.version) == (["doi:10.1101/2026.01.01.000001"], 3)


POST = (
    "<link>https://social.example/@bot/1</link><description>&lt;p&gt;A methane-rich atmosphere, B. Example "
    '&lt;a href="{url}"&gt;arxiv.org/abs/2611.12345&lt;/a&gt; #exoplanets&lt;/p&gt;</description>'
)


def test_the_first_words_of_a_post_are_its_title_and_its_link_names_the_paper() -> None:
    entry = read(POST.format(url="https://arxiv.org/abs/2611.12345"))
    assert entry.title == "A methane-rich atmosphere, B. Example #exoplanets"
    assert named(entry) == ["arxiv:2611.12345"]
    assert entry.links["abstract"] == "https://arxiv.org/abs/2611.12345"


def test_a_doi_in_the_text_of_a_post_names_the_paper() -> None:
    assert named(read("<description>New: clouds of quartz. doi:10.1000/xyz.1.</description>")) == ["doi:10.1000/xyz.1"]


def test_a_post_about_several_papers_is_none_of_them() -> None:
    text = "Two papers: https://arxiv.org/abs/2611.12345 and https://arxiv.org/abs/2611.12346"
    assert named(read(f"<description>{text}</description>")) == []


def test_links_in_the_description_of_a_titled_item_do_not_name_it() -> None:
    item = "<title>My week</title><description>I read https://arxiv.org/abs/2611.12345</description>"
    assert named(read(item)) == []


def test_a_long_post_gives_a_short_title() -> None:
    assert read(f"<description>{'word ' * 99}</description>").title == "word " * 20 + "…"


def test_an_item_without_any_text_is_skipped() -> None:
    listing = plugin.parse(RSS.format(item="<link>https://x.example.org/1</link>").encode(), day=date(2026, 12, 1))
    assert (listing.entries, len(listing.skipped)) == ((), 1)
