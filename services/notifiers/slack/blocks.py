"""A digest as Slack's Block Kit, within its limits. Text of papers cannot mention people or make links."""

from collections.abc import Callable
from typing import Any

from services.domain.digests.digest import Digest, DigestPaper, Reason
from services.domain.papers.paper import Paper
from services.notifiers.slack.mrkdwn import escape, fitted, with_code, without_links
from services.render import abstract, authors, day, home, line, link, links, title

MAX_PAPERS = 15
MAX_HEADER = 150
MAX_SECTION = 3000
MAX_BLOCKS = 9000
"""Characters of all blocks. Slack rejects blocks and text of together about 13,200 (slackapi/bolt-js#2509)."""
MAX_TEXT = 2800
_MAX_FOOT = 1000
_MAX_NAMES = 64
_MAX_URL = 300
_ABSTRACT = 280

Block = dict[str, Any]


def message(digest: Digest, *, brief: bool = True) -> dict[str, Any]:
    """`blocks`, and `text` for notifications and for clients that cannot show blocks.

    `brief`: with the beginnings of the abstracts, where no thread follows.
    """
    papers = digest.papers[:MAX_PAPERS]
    more = digest.more + len(digest.papers) - len(papers)
    heading = line(digest.title, MAX_HEADER) or "Papers for you"
    room = min(MAX_SECTION, (MAX_BLOCKS - MAX_HEADER - _MAX_FOOT) // max(len(papers), 1))
    blocks: list[Block] = [{"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": False}}]
    if digest.kind == "test":
        blocks.append(_section("This is the test you asked for: papers for you will arrive here."))
    blocks += [_section(_paper(item, room, _ABSTRACT if brief else 0)) for item in papers]
    foot = _foot(digest, more)
    blocks += [{"type": "context", "elements": [_mrkdwn(foot)]}] if foot else []
    return {"text": _plain(heading, papers, more), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def opt_in_request(confirm_url: str, refuse_url: str) -> dict[str, Any]:
    """The only message that a conversation gets before a person in it agrees. It has no text of whoever asked."""
    heading = "Do you want alerts about research papers here?"
    text = (
        "Somebody asked paperwire to post alerts about new research papers in this conversation. Nothing is posted "
        f"unless one of you agrees: {linked(confirm_url, 'Yes, post them here')}. "
        f"{linked(refuse_url, 'No, and do not ask again')}."
    )
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": False}},
        _section(text),
    ]
    return {"text": f"{heading} {text}", "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def thread(digest: Digest) -> dict[str, Any]:
    """The abstracts, for the message's thread; no blocks when no paper has an abstract."""
    papers = [item.paper for item in digest.papers[:MAX_PAPERS] if item.paper.abstract]
    room = min(MAX_SECTION, MAX_BLOCKS // max(len(papers), 1))
    blocks = [_section(_abstract(paper, room)) for paper in papers]
    heading = "The abstract" if len(papers) == 1 else f"{len(papers)} abstracts"
    size = (MAX_TEXT - len(heading)) // max(len(papers), 1) - 1
    plain = "\n".join(
        [heading, *(fitted(f"{title(paper, 80)}: {abstract(paper, size)}", size, without_links) for paper in papers)]
    )
    return {"text": plain, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _abstract(paper: Paper, room: int) -> str:
    heading = f"*{linked(home(paper), title(paper), 150)}*"
    left = room - len(heading) - 1
    return f"{heading}\n{fitted(abstract(paper, left), left)}"


def linked(url: str, text: str, limit: int = 60) -> str:
    """`<url|text>`; the text alone when there is no safe URL."""
    safe = link(url).replace("|", "%7C").replace("<", "%3C").replace(">", "%3E").replace("&", "&amp;")
    return f"<{safe}|{fitted(text, limit)}>" if safe and len(safe) <= _MAX_URL else fitted(text, limit)


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, Any]:
    """`verbatim`: Slack makes no links of `#general`, `@here` and `model.py`."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _paper(item: DigestPaper, room: int, words: int) -> str:
    """One section of at most `room` characters: the title, and as many other lines as fit, reasons first."""
    paper = item.paper
    heading = f"*{linked(home(paper), title(paper), 150)}*"
    reasons = list(dict.fromkeys(_reason(reason) for reason in item.reasons))
    facts, brief = _facts(item), fitted(abstract(paper, words), words) if words else ""
    other = " · ".join(linked(url, label) for label, url in links(paper) if url != home(paper))
    chosen = [heading]
    for text in (*reasons, facts, other, brief):
        if text and sum(map(len, chosen)) + len(chosen) + len(text) <= room - _MAX_NAMES:
            chosen.append(text)
    names = _names(item.reasons) if len(set(reasons) - set(chosen)) == len(reasons) else ""
    return "\n".join(
        [heading, *(text for text in (facts, *reasons, brief, other) if text in chosen), *filter(None, [names])]
    )


def _facts(item: DigestPaper) -> str:
    paper = item.paper
    votes = f"▲ {paper.upvotes}" if paper.upvotes > 0 else ""
    categories = ", ".join(line(category, 30) for category in paper.categories[:3])
    facts = (line(authors(paper), 120), categories, day(paper.announced_on), votes)
    return fitted(" · ".join(fact for fact in facts if fact), 220)


def _reason(reason: Reason) -> str:
    whom = f" for {fitted(reason.for_whom, 40)}" if reason.for_whom else ""
    return f"↳ *{fitted(reason.name, 60)}*{whom}: {fitted(reason.why, 120, with_code)}"


def _names(reasons: tuple[Reason, ...], inert: Callable[[str], str] = escape) -> str:
    names = (f"{reason.name} for {reason.for_whom}" if reason.for_whom else reason.name for reason in reasons)
    return f"({fitted(', '.join(names), _MAX_NAMES - 3, inert)})" if reasons else ""


def _foot(digest: Digest, more: int) -> str:
    parts = [linked(digest.more_url, f"and {more} more")] if more else []
    parts += [fitted(note, 160) for note in digest.foot[:3]]
    parts += [linked(digest.settings_url, "Settings")] if link(digest.settings_url) else []
    return "  ·  ".join(parts)


def _plain(heading: str, papers: tuple[DigestPaper, ...], more: int) -> str:
    """The message as one text, which is sent alone when Slack rejects the blocks."""
    room = (MAX_TEXT - MAX_HEADER - 40) // max(len(papers), 1)
    lines = [fitted(heading, MAX_HEADER, without_links)]
    for item in papers:
        entry = f"• {linked(home(item.paper), title(item.paper), 80)} {_names(item.reasons, without_links)}"
        lines.append(entry if len(entry) < room else f"• {fitted(title(item.paper), 80, without_links)}")
    return "\n".join(lines + ([f"and {more} more"] if more else []))
