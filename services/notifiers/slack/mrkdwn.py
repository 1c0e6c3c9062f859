"""Text of papers in Slack's mrkdwn, which has no escape characters: it must not become a format, an emoji or a link.

https://docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Callable

from services.render import line

_BREAK = "\u034f"
"""The combining grapheme joiner, which is invisible. It ends an emoji's or a link's name."""
_LOOK_ALIKES = str.maketrans({"*": "∗", "`": "ˋ", "~": "∼"})
_EMOJI = re.compile(r":(?=[^\s:]+:)")
# An underscore between two letters or digits is no format.
_ITALIC = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_LINK = re.compile(r"(?<=:)(?=//)|(?<=\w\.)(?=\w)|(?<=[#@])(?=\w)")
# As `domain/query/evaluate.py` writes the clauses of a query.
_CLAUSE = re.compile(r'(?:^|(?<=; ))("[^"]*"(?:~\d+)?|\S+)(?= in the (?:title|abstract))')


def escape(text: str) -> str:
    """Text that Slack displays as it is, in an object with `verbatim`."""
    inert = _EMOJI.sub(f":{_BREAK}", _ITALIC.sub(_low_macrons, text.translate(_LOOK_ALIKES)))
    inert = _entities(inert)
    return f"{_BREAK}{inert}" if inert.startswith("&gt;") else inert  # Otherwise a quotation begins.


def without_links(text: str) -> str:
    """As `escape`, for the text beside the blocks, which knows no `verbatim`."""
    return escape(_LINK.sub(_BREAK, text))


def with_code(text: str) -> str:
    """As `escape`, with the clauses of a query as code, so that a copied clause still is one."""
    parts, end = [], 0
    for match in _CLAUSE.finditer(text):
        parts += [escape(text[end : match.start()]), code(match[1])]
        end = match.end()
    return "".join([*parts, escape(text[end:])])


def code(text: str) -> str:
    return f"`{_entities(text.replace('`', 'ˋ'))}`"


def fitted(text: str, limit: int, inert: Callable[[str], str] = escape) -> str:
    """The inert text in at most `limit` characters. It is cut before escaping, so that no entity is cut in two."""
    room = limit
    while len(escaped := inert(line(text, room))) > limit:
        room = min(room - 1, room * limit // len(escaped))
    return escaped


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _low_macrons(underscores: re.Match[str]) -> str:
    return "ˍ" * len(underscores[0])
