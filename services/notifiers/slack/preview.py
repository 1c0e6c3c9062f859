"""A Slack message as a page of ours: the part of Block Kit and mrkdwn that `blocks` writes, and no more."""

import html
import json
import re
from typing import Any, NamedTuple

from services.render import link, render

_BOLD = re.compile(r"\*([^*\n]+)\*")
_LINK = re.compile(r"<([^<>|]+)\|([^<>]*)>")


class Span(NamedTuple):
    text: str
    url: str = ""
    bold: bool = False


def preview(body: bytes) -> str:
    """A whole HTML document."""
    message = json.loads(body)
    # Refused blocks were sent as the text alone; this shows what was meant.
    blocks = [_block(block) for block in message.get("blocks", ())] or [("section", _lines(message["text"]))]
    return render("slack/message.html", blocks=blocks, thread="thread_ts" in message, edited="ts" in message)


def _block(block: dict[str, Any]) -> tuple[str, list[list[Span]]]:
    if block["type"] == "header":
        return "header", [[Span(block["text"]["text"])]]
    text = block["text"]["text"] if "text" in block else " ".join(one["text"] for one in block["elements"])
    return block["type"], _lines(text)


def _lines(text: str) -> list[list[Span]]:
    return [_spans(line) for line in text.split("\n")]


def _spans(line: str) -> list[Span]:
    """Bold and links of one line; a bold stretch may hold a link."""
    found: list[Span] = []
    for number, part in enumerate(_BOLD.split(line)):
        found += _links(part, bold=number % 2 == 1)
    return found


def _links(text: str, *, bold: bool) -> list[Span]:
    found, end = [], 0
    for match in _LINK.finditer(text):
        found += _plain(text[end : match.start()], bold)
        found.append(Span(html.unescape(match[2]), link(html.unescape(match[1])), bold))
        end = match.end()
    return found + _plain(text[end:], bold)


def _plain(text: str, bold: bool) -> list[Span]:
    return [Span(html.unescape(text), "", bold)] if text else []
