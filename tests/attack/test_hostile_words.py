"""Hostile names of subscriptions and hostile texts of papers, as they reach readers by mail, Slack and Atom."""

import email
import json
import re
import unicodedata
from email.message import EmailMessage
from email.policy import SMTP
from html.parser import HTMLParser
from typing import cast
from xml.etree.ElementTree import Element, fromstring

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from services.flow.commands import channels
from services.store.db.tables import paper, subscription
from services.store.subscriptions import atom_feeds, subscriptions
from services.web.app import create_app
from tests.support.sinks import HttpSink, SmtpSink
from tests.support.world import Pipeline, entry

WORDS = {
    "header": "Nice\r\nBcc: everyone@example.org\r\n\r\n<b>hello</b>",
    "controls": "a\x07b\x1b[31mc\x7fd\x85e\u2028f",
    "bidi": "safe \u202egnp.exe\u202c \u2066x\u2069 \u200bzero\ufeff",
    "mention": "<!channel> <!everyone|all> <@U123> <#C123> @here #general <https://evil.example|Settings>",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>]]></title><![CDATA[ &lt;script&gt;",
    "template": "{{ 7 * 7 }} {% raw %}",
    "words": "word " * 2_000,
    "one word": "x" * 10_000,
}
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
MAX_MAIL = 102_000
"""Bytes. Gmail cuts a longer mail."""
LINK = re.compile(r"<https?://[^<>|\s]+\|[^<>]*>")
ATOM = "{http://www.w3.org/2005/Atom}"


class _Elements(HTMLParser):
    """The elements of a document, and the names of all their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def hidden(text: str) -> list[str]:
    """The characters that control, hide or reorder text, but for line ends."""
    return [character for character in text.replace("\n", "") if unicodedata.category(character) in HIDDEN]


def assert_inert(html: str) -> None:
    found = _Elements(html)
    assert not found.names & {"script", "img", "b", "iframe", "object"}, found.names
    assert not [name for name in found.attributes if name.startswith("on")]
    assert " 49 " not in found.text


@pytest.fixture(params=sorted(WORDS))
def words(request: pytest.FixtureRequest) -> str:
    return WORDS[request.param]


@pytest.fixture
def told(world: Pipeline, smtp: SmtpSink, slack: HttpSink, words: str) -> int:
    """Sends an alert by mail and to Slack in which every text is hostile. Returns the subscription.

    The rows are written directly: a text may have been stored before its form checked it.
    """
    room = channels.find_or_add(world.db, world.settings, world.account, "slack:#papers", verified=True)
    number = world.subscribe(query="planning", to=[world.email, room])
    world.announce(entry("A paper about planning", 1))
    world.embed_and_match()
    world.notify()
    with world.db.transaction() as tx:
        tx.execute(update(subscription).values(name=words, for_whom=words))
        hostile = {"title": words, "abstract": words, "authors": [words] * 5, "categories": [words] * 5}
        tx.execute(update(paper).values(**hostile, links={"abstract": f"https://example.org/{words}", "pdf": words}))
    world.deliver()
    return number


def test_a_mail_keeps_hostile_words_as_text(told: int, smtp: SmtpSink) -> None:
    (sent,) = smtp.mails
    mail = cast(EmailMessage, email.message_from_bytes(sent.body, policy=SMTP))
    assert len(sent.body) < MAX_MAIL
    assert max(map(len, sent.body.split(b"\r\n"))) <= 998
    assert (mail.get_all("To"), mail.get_all("Bcc"), mail.get_all("Cc")) == (["ada@example.org"], None, None)
    assert len(mail.get_all("Subject", [])) == 1
    assert 0 < len(mail["Subject"]) <= 200
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    shown = [str(mail["Subject"]), text.get_content(), html.get_content()]
    assert [hidden(part.replace("\r\n", "\n")) for part in shown] == [[], [], []]
    assert_inert(html.get_content())


def test_slack_keeps_hostile_words_as_text(told: int, slack: HttpSink) -> None:
    (posted,) = (json.loads(asked.body) for asked in slack.to("/chat.postMessage"))
    header, *blocks = posted["blocks"]
    assert header["text"]["type"] == "plain_text"
    assert 0 < len(header["text"]["text"]) <= 150
    elements = [element for block in blocks for element in block.get("elements", [block.get("text")])]
    assert all(element["verbatim"] for element in elements), "Slack makes no links and mentions of its own"
    assert not re.search(r"[@#]\w", LINK.sub("", posted["text"])), "where nothing can say so, the words are parted"
    texts = [element["text"] for element in elements]
    assert max(map(len, texts)) <= 3_000
    assert sum(map(len, texts)) + len(posted["text"]) <= 13_200
    for text in [*texts, posted["text"]]:
        assert "<" not in LINK.sub("", text), "only links of paperwire's own are live"
        assert "<https://evil.example" not in text
        assert hidden(text) == []
    assert hidden(header["text"]["text"]) == []


def test_an_atom_feed_keeps_hostile_words_as_text(world: Pipeline, told: int) -> None:
    with world.db.transaction() as tx:
        token = atom_feeds.token(world.secrets, subscriptions.find(tx, told))
    with TestClient(create_app(), base_url=world.settings.base_url) as reader:
        answer = reader.get(f"/feeds/{token}")
    assert len(answer.content) < MAX_MAIL
    feed = fromstring(answer.content)
    (match,) = feed.findall(f"{ATOM}entry")
    for name in ("title", "author", "content"):
        assert match.find(f"{ATOM}{name}") is not None
    texts = [part.text or "" for part in feed.iter()] + [
        value for part in feed.iter() for value in part.attrib.values()
    ]
    assert [text for text in texts if hidden(text)] == []
    assert len(_text(feed, "title")) <= 200
    assert len(_text(match, "title")) <= 300
    assert_inert(_text(match, "content"))


def _text(element: Element, name: str) -> str:
    found = element.find(f"{ATOM}{name}")
    assert found is not None
    return found.text or ""
