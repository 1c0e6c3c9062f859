"""What of a paper speaks for it: the words that matched, and the sentence that says most about them."""

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from services.domain.interests.terms import CATEGORY_PREFIX, FUNCTION_WORDS, stems
from services.domain.query.paper_text import FieldText, PaperText, Span

_END = re.compile(r"(?<=[.!?])[\"”’)\]]*\s+(?=[\"“‘(\[]?[A-Z0-9])")
_ABBREVIATED = re.compile(r"(?:\b(?:e\.g|i\.e|et al|cf|vs|resp|Figs?|Eqs?|Secs?|Refs?|Nos?|approx|Dr|St)|\b[A-Z])\.$")
MIN_STEM = 3
"""Letters of a stem that tells something; shorter ones are of, to, in …"""
_JOINT = " … "
MAX_SENTENCES = 40
"""Of an abstract that are weighed by their vectors; what comes later is never the telling one."""


class Piece(NamedTuple):
    """A stretch of shown text: whether it matched, and whether it belongs to the telling sentence."""

    text: str
    hit: bool = False
    key: bool = False


def distinctive_stems(text: str, terms: Iterable[str] = ()) -> frozenset[str]:
    """The stems of what an interest is about: its text's, and those of the terms it has learned."""
    words = [*stems(text), *(word for term in terms if not term.startswith(CATEGORY_PREFIX) for word in term.split())]
    return frozenset(word for word in words if len(word) >= MIN_STEM) - FUNCTION_WORDS


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order, overlapping ones made one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


@lru_cache(512)
def sentences(text: str) -> tuple[Span, ...]:
    """Where the sentences of a line stand."""
    ends = [one for one in _END.finditer(text) if not _ABBREVIATED.search(text, max(0, one.start() - 8), one.start())]
    starts = (0, *(one.end() for one in ends))
    return tuple(zip(starts, (*(one.start() for one in ends), len(text)), strict=True)) if text else ()


def distinctive_sentence(text: FieldText, hits: Sequence[Span], about: Set[str]) -> Span | None:
    """The sentence with most of the words that matched; between equals that with most of the stems that an interest is
    `about`.

    None when no sentence has any.
    """
    near = [(one.start, one.stem) for one in text.tokens if one.stem in about] if about else []
    matched = [(start, text.text[start:end].casefold()) for start, end in hits]
    counts = [(_count(matched, one), _count(near, one), one) for one in sentences(text.text)]
    told, close, best = max(counts, key=lambda count: count[:2], default=(0, 0, None))
    return best if told or close else None


def closest_sentence(text: str, closeness: Sequence[Sequence[float]]) -> Span | None:
    """The sentence that tells most about some interests together, each of which says how much every sentence does.

    None when none says it of these sentences: their vectors are late, or the text has changed since.
    """
    spans = sentences(text)
    told = [one for one in closeness if one and len(one) == min(len(spans), MAX_SENTENCES)]
    if not told:
        return None
    sums = [sum(levels) for levels in zip(*told, strict=True)]
    return spans[sums.index(max(sums))]


def _count(words: Sequence[tuple[int, str]], sentence: Span) -> int:
    """How many different ones of these words stand in the sentence."""
    start, end = sentence
    return len({word for at, word in words if start <= at < end})


@lru_cache(256)
def paper_text(
    title: str, abstract: str, authors: tuple[str, ...], categories: tuple[str, ...], sources: tuple[str, ...]
) -> PaperText:
    """A paper's words as they are shown; cached, since a day's papers go to many people."""
    return PaperText(
        title=FieldText("title", title),
        abstract=FieldText("abstract", abstract),
        authors=authors,
        categories=categories,
        sources=sources,
    )


# ── showing ───────────────────────────────────────────────────────────────────────────────────────────────────


def pieces(text: str, hits: Sequence[Span], limit: int, key: Span | None = None) -> list[Piece]:
    """The text in at most `limit` characters as pieces; of a longer one the beginning, or the part around `key`."""
    parts = _parts(text, limit, key)
    found: list[Piece] = []
    for number, (start, end) in enumerate(parts):
        if number or start:
            found.append(Piece(_JOINT if number else _JOINT.lstrip()))
        found += _cut(start, end, text, hits, key)
    if found and parts[-1][1] < len(text):
        found[-1] = found[-1]._replace(text=found[-1].text.rstrip(" ,.;:–—-"))
        found.append(Piece("…"))
    return found


def _parts(text: str, limit: int, key: Span | None) -> list[Span]:
    """Which stretches are shown: all, the beginning, the first sentence and the telling one, or the latter alone."""
    if len(text) <= limit:
        return [(0, len(text))] if text and limit else []
    if limit < 2 * len(_JOINT):
        return []
    if key is None or key[1] < limit:
        return [(0, _word_end(text, 0, limit - 1))]
    room = limit - len(_JOINT) - 1
    first = sentences(text)[0]
    if first[1] + (key[1] - key[0]) <= room and first[1] < key[0]:
        return [first, (key[0], _word_end(text, key[0], room - first[1]))]
    return [(key[0], _word_end(text, key[0], room))]


def _word_end(text: str, start: int, room: int) -> int:
    """The end of at most `room` characters from `start`, at a word where one ends near."""
    end = start + room
    if end >= len(text):
        return len(text)
    space = text.rfind(" ", start, end + 1)
    return space if space - start > room * 0.6 else end


def _cut(start: int, end: int, text: str, hits: Sequence[Span], key: Span | None) -> Iterator[Piece]:
    borders = {start, end, *(edge for hit in hits for edge in hit), *(key or ())}
    edges = sorted(edge for edge in borders if start <= edge <= end)
    for a, b in pairwise(edges):
        hit = any(one[0] <= a < one[1] for one in hits)
        yield Piece(text[a:b], hit, key is not None and key[0] <= a < key[1])
