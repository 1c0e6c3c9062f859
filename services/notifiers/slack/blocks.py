"""A digest as Slack's Block Kit, inside every limit and with nothing in it that Slack would act on."""

from typing import Any

from services.domain.digest import Digest, DigestPaper, Reason
from services.render import abstract, authors, day, home, line, link, links, title

MOST_PAPERS = 15
LONGEST_HEADER = 150
LONGEST_SECTION = 3000
LONGEST_BLOCKS = 9000
"""Blocks of about 13,200 characters in all are refused (slackapi/bolt-js#2509); 12,000 are safe, less the text."""
LONGEST_TEXT = 2800
_LONGEST_FOOT = 1000
_LONGEST_URL = 300
_ABSTRACT = 280

Block = dict[str, Any]


def message(digest: Digest) -> dict[str, Any]:
    """`blocks`, and `text` for notifications and for clients that cannot show blocks."""
    papers = digest.papers[:MOST_PAPERS]
    more = digest.more + len(digest.papers) - len(papers)
    heading = line(digest.title, LONGEST_HEADER) or "Papers for you"
    room = min(LONGEST_SECTION, (LONGEST_BLOCKS - LONGEST_HEADER - _LONGEST_FOOT) // max(len(papers), 1))
    blocks: list[Block] = [{"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": False}}]
    if digest.kind == "test":
        blocks.append(_section("This is the test you asked for: papers for you will arrive here."))
    blocks += [_section(_paper(item, room)) for item in papers]
    foot = _foot(digest, more)
    blocks += [{"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]}] if foot else []
    return {"text": _plain(heading, papers, more), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def escape(text: str) -> str:
    """Text that Slack shows as it is: no mention, link or command, and no mark-up by accident."""
    inert = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return inert.replace("*", "∗").replace("`", "ˋ").replace("~", "∼")


def linked(url: str, text: str) -> str:
    """`<url|text>`; the text alone when there is no safe URL."""
    safe = link(url).replace("|", "%7C").replace("<", "%3C").replace(">", "%3E").replace("&", "&amp;")
    return f"<{safe}|{escape(text)}>" if safe and len(safe) <= _LONGEST_URL else escape(text)


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _paper(item: DigestPaper, room: int) -> str:
    """One section of at most `room` characters: the title, then by weight the reasons, the facts, the rest."""
    paper = item.paper
    reasons = [_reason(reason) for reason in item.reasons]
    facts, brief = _facts(item), escape(abstract(paper, _ABSTRACT))
    other = " · ".join(linked(url, label) for label, url in links(paper) if url != home(paper))
    heading = _heading(item, room // 2)
    chosen = [heading]
    for text in (*reasons, facts, other, brief):
        if text and sum(map(len, chosen)) + len(chosen) + len(text) <= room:
            chosen.append(text)
    if reasons and not set(reasons) & set(chosen):
        chosen.append(_because(item.reasons))
    return "\n".join(
        text for text in (heading, facts, *reasons, _because(item.reasons), brief, other) if text in chosen
    )


def _heading(item: DigestPaper, room: int) -> str:
    """The linked title, as long as the room allows; escaping may make five characters of one."""
    tried = (f"*{linked(home(item.paper), title(item.paper, limit))}*" for limit in (150, 80, 30))
    return next((text for text in tried if len(text) <= room), f"*{escape(title(item.paper, 30))}*")


def _facts(item: DigestPaper) -> str:
    paper = item.paper
    votes = f"▲ {paper.upvotes}" if paper.upvotes > 0 else ""
    categories = ", ".join(line(category, 30) for category in paper.categories[:3])
    facts = (line(authors(paper), 120), categories, day(paper.announced_on), votes)
    return escape(" · ".join(fact for fact in facts if fact))


def _reason(reason: Reason) -> str:
    whom = f" for {escape(line(reason.for_whom, 40))}" if reason.for_whom else ""
    return f"↳ *{escape(line(reason.name, 60))}*{whom}: {escape(line(reason.why, 120))}"


def _foot(digest: Digest, more: int) -> str:
    parts = [linked(digest.more_url, f"and {more} more")] if more else []
    parts += [escape(line(note, 160)) for note in digest.foot[:3]]
    parts += [linked(digest.settings_url, "Settings")] if link(digest.settings_url) else []
    return "  ·  ".join(parts)


def _plain(heading: str, papers: tuple[DigestPaper, ...], more: int) -> str:
    """The whole message as one text: what is shown when the blocks are refused."""
    room = (LONGEST_TEXT - LONGEST_HEADER - 40) // max(len(papers), 1)
    lines = [escape(heading)]
    for item in papers:
        whole = f"• {linked(home(item.paper), title(item.paper, 80))} {_because(item.reasons)}"
        lines.append(whole if len(whole) <= room else f"• {escape(title(item.paper, 80))}")
    return "\n".join(lines + ([f"and {more} more"] if more else []))


def _because(reasons: tuple[Reason, ...]) -> str:
    names = ", ".join(f"{reason.name} for {reason.for_whom}" if reason.for_whom else reason.name for reason in reasons)
    return f"({escape(line(names, 60))})" if names else ""
