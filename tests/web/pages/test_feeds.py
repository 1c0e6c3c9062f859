"""A subscription's feed: valid, the same until something is new, and for nobody but who knows its address."""

from io import BytesIO
from xml.etree.ElementTree import Element, fromstring

import feedparser
import pytest
from starlette.testclient import TestClient

from services.store.subscriptions import atom_feeds, subscriptions
from tests.web.conftest import BASE, Browser, Site, text_of

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture
def reader(site: Site) -> TestClient:
    """A feed reader: no cookies."""
    return TestClient(site.app, base_url=BASE, follow_redirects=False)


@pytest.fixture
def one(site: Site) -> int:
    return site.subscription(site.ada, name="Diffusion & <more>")


def address(site: Site, one: int) -> str:
    with site.db.transaction() as tx:
        return f"/feeds/{atom_feeds.token(site.app.state.context.secrets, subscriptions.find(tx, one))}"


def parsed(reader: TestClient, path: str) -> Element:
    answer = reader.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    return fromstring(answer.content)


def entries(feed: Element) -> list[Element]:
    return feed.findall(f"{ATOM}entry")


def text_of_child(element: Element, name: str) -> str:
    found = element.find(f"{ATOM}{name}")
    assert found is not None
    return found.text or ""


def test_a_feed_has_what_the_standard_asks_for(site: Site, reader: TestClient, one: int) -> None:
    values = {
        "authors": ("Ada Lovelace", "Zoë"),
        "categories": ("cs.LG",),
        "abstract": "<b>diffusion</b> & $\\alpha$.",
    }
    site.match(site.ada, one, site.paper("First & <foremost>", 1, **values), why='"diffusion" in the title')
    feed = parsed(reader, address(site, one))
    assert text_of_child(feed, "title") == "Diffusion & <more> · paperwire"
    for name in ("id", "updated"):
        assert text_of_child(feed, name)
    links = {link.get("rel"): link.get("href") for link in feed.findall(f"{ATOM}link")}
    assert links == {"self": BASE + address(site, one), "alternate": f"{BASE}/matches?subscription={one}"}
    (entry,) = entries(feed)
    assert text_of_child(entry, "title") == "First & <foremost>"
    assert [text_of_child(author, "name") for author in entry.findall(f"{ATOM}author")] == ["Ada Lovelace", "Zoë"]
    assert [category.get("term") for category in entry.findall(f"{ATOM}category")] == ["cs.LG"]
    content = entry.find(f"{ATOM}content")
    assert content is not None
    assert content.get("type") == "html"
    assert "<em>&#34;diffusion&#34; in the title</em>" in (content.text or "")
    assert "&lt;b&gt;diffusion" in (content.text or "")
    for name in ("id", "updated", "published"):
        assert text_of_child(entry, name)
    read = feedparser.parse(BytesIO(reader.get(address(site, one)).content))
    assert (read.bozo, read.version, len(read.entries)) == (False, "atom10", 1)


def test_entries_keep_their_ids_when_their_papers_change(site: Site, reader: TestClient, one: int) -> None:
    for number in (1, 2):
        site.match(site.ada, one, site.paper(f"Paper {number}", number))
    before = [text_of_child(entry, "id") for entry in entries(parsed(reader, address(site, one)))]
    site.sql("UPDATE paper SET title = 'New ' || title, version = 2, upvotes = 9")
    feed = parsed(reader, address(site, one))
    assert [text_of_child(entry, "id") for entry in entries(feed)] == before
    assert len(set(before)) == 2
    assert [text_of_child(entry, "title") for entry in entries(feed)] == ["New Paper 2", "New Paper 1"]


def test_an_unchanged_feed_is_not_sent_again(site: Site, reader: TestClient, one: int) -> None:
    first = reader.get(address(site, one))
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}'):
        again = reader.get(address(site, one), headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    site.match(site.ada, one, site.paper("News"))
    assert reader.get(address(site, one), headers={"If-None-Match": etag}).status_code == 200


def test_it_is_private_and_tells_no_referrer(site: Site, reader: TestClient, one: int) -> None:
    headers = reader.get(address(site, one)).headers
    assert headers["cache-control"].startswith("private")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-robots-tag"] == "noindex"
    assert "set-cookie" not in headers


def test_an_address_opens_no_subscription_that_got_its_number(site: Site, reader: TestClient, one: int) -> None:
    """A restored database can give a lost subscription's number to another person."""
    old = address(site, one)
    site.sql("DELETE FROM subscription")
    site.sql("SELECT setval('subscription_id_seq', 1, false)")
    assert site.subscription(site.ben, name="Private") == one
    assert reader.get(old).status_code == 404


def test_a_new_address_ends_the_old_one(site: Site, reader: TestClient, ada: Browser, ben: Browser, one: int) -> None:
    old = address(site, one)
    assert BASE + old in ada.get(f"/subscriptions/{one}").text
    assert ben.post(f"/subscriptions/{one}/feed").status_code == 404
    assert ada.post(f"/subscriptions/{one}/feed").status_code == 303
    assert address(site, one) != old
    assert reader.get(old).status_code == 404
    assert reader.get(address(site, one)).status_code == 200


def test_only_the_right_address_opens_a_feed(site: Site, reader: TestClient, one: int) -> None:
    other = site.subscription(site.ben, name="Other")
    signature = address(site, one).partition("-")[2]
    for name in (f"{one}", f"{other}-{signature}", f"{one}-{signature}0", "x", "9-é"):
        answer = reader.get(f"/feeds/{name}")
        assert answer.status_code == 404
        assert "no feed" in text_of(answer)
    site.sql(f"UPDATE subscription SET deleted_at = now() WHERE id = {one}")
    assert reader.get(f"/feeds/{one}-{signature}").status_code == 404


def test_nothing_of_others_is_in_it(site: Site, reader: TestClient, one: int) -> None:
    other = site.subscription(site.ada, name="Other")
    site.match(site.ada, other, site.paper("Not for this one"))
    withdrawn = site.paper("Withdrawn", 2)
    site.match(site.ada, one, withdrawn)
    site.sql(f"UPDATE paper SET withdrawn = true WHERE id = {withdrawn}")
    assert entries(parsed(reader, address(site, one))) == []


def test_whatever_a_title_holds_the_feed_is_xml(site: Site, reader: TestClient, one: int) -> None:
    hostile = "]]> <script> \ufffe\uffff \x0b \u202e & \U0001f600 " + "x" * 5000
    site.match(site.ada, one, site.paper(hostile, authors=("A\ufffe",), categories=("c\uffff<",), abstract=hostile))
    (entry,) = entries(parsed(reader, address(site, one)))
    assert text_of_child(entry, "title").startswith("]]> <script>")
    assert "<script" not in (text_of_child(entry, "content"))


def test_the_newest_fifty_are_in_it(site: Site, reader: TestClient, one: int) -> None:
    for number in range(52):
        site.match(site.ada, one, site.paper(f"Paper {number}", number + 1))
    found = [text_of_child(entry, "title") for entry in entries(parsed(reader, address(site, one)))]
    assert (len(found), found[0], found[-1]) == (50, "Paper 51", "Paper 2")
