"""A Slack message as HTML. It knows the part of Block Kit and mrkdwn that blocks.py writes."""

import html
import json
import re
from typing import Any, NamedTuple

from services.render import link, render

_BOLD = re.compile(r"\*([^*\n]+)\*")
_LINK = re.compile(r"<([^<>|]+)\|([^<>]*)>")
_CODE = re.compile(r"`([^`\n]+)`")


class Span(NamedTuple):
    text: str
    url: str = ""
    bold: bool = False
    code: bool = False


def preview(body: bytes) -> str:
    """A rendered message as an HTML document."""
    message = json.loads(body)
    # When Slack rejected the blocks, the text alone was sent. The preview shows the blocks.
    blocks = [_block(block) for block in message.get("blocks", ())] or [("section", _lines(message["text"]))]
    return render("slack/message.html", blocks=blocks, thread="thread_ts" in message, edited="ts" in message)


def _block(block: dict[str, Any]) -> tuple[str, list[list[Span]]]:
    if block["type"] == "header":
        return "header", [[Span(block["text"]["text"])]]
    text = block["text"]["text"] if "text" in block else " ".join(element["text"] for element in block["elements"])
    return block["type"], _lines(text)


def _lines(text: str) -> list[list[Span]]:
    return [_spans(line) for line in text.split("\n")]


def _spans(line: str) -> list[Span]:
    """The spans of one line. Bold text may contain a link, and code contains text only."""
    spans: list[Span] = []
    for number, part in enumerate(_CODE.split(line)):
        spans += [Span(html.unescape(part), code=True)] if number % 2 == 1 else _bold_spans(part)
    return spans


def _bold_spans(text: str) -> list[Span]:
    spans: list[Span] = []
    for number, part in enumerate(_BOLD.split(text)):
        spans += _links(part, bold=number % 2 == 1)
    return spans


def _links(text: str, *, bold: bool) -> list[Span]:
    spans, end = [], 0
    for match in _LINK.finditer(text):
        spans += _plain(text[end : match.start()], bold)
        spans.append(Span(html.unescape(match[2]), link(html.unescape(match[1])), bold))
        end = match.end()
    return spans + _plain(text[end:], bold)


def _plain(text: str, bold: bool) -> list[Span]:
    return [Span(html.unescape(text), "", bold)] if text else []
