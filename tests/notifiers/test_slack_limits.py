"""A Slack message of any papers keeps within every limit and contains only text and links made by paperwire."""

import html
import json
import re
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from services.domain.digests.digest import Digest, DigestPaper, Reason
from services.domain.papers.paper import Paper
from services.notifiers.slack import SlackTarget, plugin
from tests.support.digests import ENVELOPE, digest, papers

TARGETS = (
    SlackTarget(channel="#papers"),
    SlackTarget(webhook_url=SecretStr("https://hooks.slack.com/services/T/B/x")),
)
BITS = ["word ", "&", "<", ">", "*", "_", "`", "~", "|", "\n", "\u202e", "\x00", "😀", "é", "中", "$\\alpha$", "&amp;"]
BITS += ["<!channel>", "<@U1>", "<https://evil.example|x>", "\\frac{a}{b}", "x" * 500]
extreme = st.builds(
    lambda bits, times: "".join(bits) * times, st.lists(st.sampled_from(BITS), max_size=8), st.sampled_from([1, 9, 900])
)
urls = st.one_of(st.just(""), extreme.map(lambda text: f"https://example.org/{text}"), extreme)
reasons = st.builds(Reason, subscription=st.integers(1, 9), name=extreme, for_whom=extreme, why=extreme)


def _paper(title: str, abstract: str, authors: tuple[str, ...], categories: tuple[str, ...], url: str) -> Paper:
    links = {name: url for name in ("abstract", "pdf", "code", "project") if url}
    return replace(
        papers()[0], title=title, abstract=abstract, authors=authors, categories=categories, links=links, identifiers=()
    )


many = st.builds(lambda text, count: (text,) * count, extreme, st.sampled_from([0, 1, 400]))
monsters = st.builds(
    DigestPaper,
    paper=st.builds(_paper, extreme, extreme, many, many, urls),
    reasons=st.builds(lambda reason, count: (reason,) * count, reasons, st.sampled_from([0, 1, 3, 60])),
)
digests = st.builds(
    lambda items, count, title, foot, more, url: Digest(
        kind="message", title=title, papers=tuple(items * count), foot=foot, more=more, more_url=url, settings_url=url
    ),
    st.lists(monsters, max_size=4), st.sampled_from([1, 4, 15, 40]), extreme, many, st.integers(0, 10**9), urls,
)  # fmt: skip

LINK = re.compile(r"<https?://[^<>|\s]+\|[^<>]*>")


def texts(block: dict[str, Any]) -> list[dict[str, Any]]:
    return [block["text"]] if "text" in block else block["elements"]


@settings(max_examples=40, deadline=None)
@given(digests, st.sampled_from(TARGETS))
def test_extreme_papers_stay_within_every_limit(extreme_digest: Digest, target: SlackTarget) -> None:
    message = json.loads(plugin.render(extreme_digest, ENVELOPE, target))
    within_limits(message)
    header = message["blocks"][0]
    assert header["type"] == "header"
    assert header["text"]["type"] == "plain_text"
    assert len(header["text"]["text"]) <= 150


@settings(max_examples=40, deadline=None)
@given(digests)
def test_the_thread_of_extreme_papers_stays_within_every_limit_too(extreme_digest: Digest) -> None:
    about = replace(ENVELOPE, about="C1 17.1")
    within_limits(json.loads(plugin.render(replace(extreme_digest, kind="thread"), about, TARGETS[0])))


def within_limits(message: dict[str, Any]) -> None:
    assert len(message["blocks"]) <= 45
    block_texts = [text for block in message["blocks"] for text in texts(block)]
    assert all(0 < len(text["text"]) <= 3000 for text in block_texts)
    assert sum(len(text["text"]) for text in block_texts) + len(message["text"]) <= 12_000
    assert 0 < len(message["text"]) <= 3000


@settings(max_examples=40, deadline=None)
@given(digests)
def test_extreme_papers_are_text_and_links_made_here(extreme_digest: Digest) -> None:
    message = json.loads(plugin.render(extreme_digest, ENVELOPE, TARGETS[0]))
    live = [text["text"] for block in message["blocks"] for text in texts(block) if text["type"] == "mrkdwn"]
    for text in [*live, message["text"]]:
        bare = LINK.sub("", text)
        assert "<" not in bare
        assert ">" not in bare
        assert not re.search(r"&(?!(amp|lt|gt);)", text), "an entity is cut in two"
        assert html.unescape(bare).isprintable() or "\n" in bare


@settings(max_examples=30, deadline=None)
@given(st.lists(monsters, min_size=1, max_size=40))
def test_every_paper_shown_names_the_subscriptions_that_matched(items: list[DigestPaper]) -> None:
    named = [
        replace(item, reasons=(replace(digest(1).papers[0].reasons[0], name="Mine"), *item.reasons)) for item in items
    ]
    blocks = json.loads(plugin.render(digest(0, papers=tuple(named), more=0), ENVELOPE, TARGETS[0]))["blocks"]
    sections = [block["text"]["text"] for block in blocks if block["type"] == "section"]
    assert len(sections) == min(len(items), 15)
    assert all("Mine" in text for text in sections)
    if len(items) > 15:
        assert f"and {len(items) - 15} more" in texts(blocks[-1])[0]["text"]
