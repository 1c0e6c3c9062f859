"""Highlighting: the words of a paper that matched, and the most relevant sentence of its abstract."""

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from services.domain.interests.terms import CATEGORY_PREFIX, FUNCTION_WORDS, stems
from services.domain.query.paper_text import FieldText, PaperText, Span
from services.domain.text.latex import readable

_END = re.compile(r"(?<=[.!?])[\"”’)\]]*\s+(?=[\"“‘(\[]?[A-Z0-9])")
_ABBREVIATED = re.compile(r"(?:\b(?:e\.g|i\.e|et al|cf|vs|resp|Figs?|Eqs?|Secs?|Refs?|Nos?|approx|Dr|St)|\b[A-Z])\.$")
MIN_STEM = 3
"""Letters. Shorter stems are function words such as `of`, `to` and `in`."""
_ELLIPSIS = " … "
MAX_SENTENCES = 40
"""Of an abstract that get vectors. A later sentence is never the most relevant one by vectors."""


class Piece(NamedTuple):
    """A part of the displayed text. `hit`: it matched. `key`: it belongs to the most relevant sentence."""

    text: str
    hit: bool = False
    key: bool = False


def distinctive_stems(text: str, terms: Iterable[str] = ()) -> frozenset[str]:
    """The stems of an interest: those of its text, and of the terms that it has learned."""
    words = [*stems(text), *(word for term in terms if not term.startswith(CATEGORY_PREFIX) for word in term.split())]
    return frozenset(word for word in words if len(word) >= MIN_STEM) - FUNCTION_WORDS


def merge_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order, with overlapping ones merged."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


@lru_cache(512)
def sentences(text: str) -> tuple[Span, ...]:
    """The spans of the sentences of a text on one line."""
    ends = [end for end in _END.finditer(text) if not _ABBREVIATED.search(text, max(0, end.start() - 8), end.start())]
    starts = (0, *(end.end() for end in ends))
    return tuple(zip(starts, (*(end.start() for end in ends), len(text)), strict=True)) if text else ()


def distinctive_sentence(text: FieldText, hits: Sequence[Span], about: Set[str]) -> Span | None:
    """The sentence with the most matched words; of several, the one with the most stems of an interest (`about`).

    None when no sentence has any.
    """
    related = [(token.start, token.stem) for token in text.tokens if token.stem in about] if about else []
    matched = [(start, text.text[start:end].casefold()) for start, end in hits]
    counts = [(_count(matched, span), _count(related, span), span) for span in sentences(text.text)]
    most_matched, most_related, best = max(counts, key=lambda count: count[:2], default=(0, 0, None))
    return best if most_matched or most_related else None


def closest_sentence(text: str, closeness: Sequence[Sequence[float]]) -> Span | None:
    """The sentence with the highest sum of scores; `closeness` has the scores of all sentences for each interest.

    None without scores for these sentences: they have no vectors yet, or the text has changed since.
    """
    spans = sentences(text)
    usable = [scores for scores in closeness if scores and len(scores) == min(len(spans), MAX_SENTENCES)]
    if not usable:
        return None
    sums = [sum(scores) for scores in zip(*usable, strict=True)]
    return spans[sums.index(max(sums))]


def _count(words: Sequence[tuple[int, str]], sentence: Span) -> int:
    """The number of different words, of (position, word), in the sentence."""
    start, end = sentence
    return len({word for at, word in words if start <= at < end})


@lru_cache(256)
def paper_text(
    title: str, abstract: str, authors: tuple[str, ...], categories: tuple[str, ...], sources: tuple[str, ...]
) -> PaperText:
    """The displayed text of a paper for queries. Cached, since many people get the same papers."""
    return PaperText(
        title=FieldText("title", title),
        abstract=FieldText("abstract", abstract),
        authors=tuple(map(readable, authors)),
        categories=categories,
        sources=sources,
    )


# ── pieces ────────────────────────────────────────────────────────────────────────────────────────────────────


def pieces(text: str, hits: Sequence[Span], limit: int, key: Span | None = None) -> list[Piece]:
    """The text in pieces, cut to `limit` characters: the beginning of a longer text, or the part around `key`."""
    parts = _parts(text, limit, key)
    cut: list[Piece] = []
    for number, (start, end) in enumerate(parts):
        if number or start:
            cut.append(Piece(_ELLIPSIS if number else _ELLIPSIS.lstrip()))
        cut += _cut(start, end, text, hits, key)
    if cut and parts[-1][1] < len(text):
        cut[-1] = cut[-1]._replace(text=cut[-1].text.rstrip(" ,.;:–—-"))
        cut.append(Piece("…"))
    return cut


def _parts(text: str, limit: int, key: Span | None) -> list[Span]:
    """The spans to display: all, the beginning, the first sentence and the key sentence, or the key sentence alone."""
    if len(text) <= limit:
        return [(0, len(text))] if text and limit else []
    if limit < 2 * len(_ELLIPSIS):
        return []
    if key is None or key[1] < limit:
        return [(0, _word_end(text, 0, limit - 1))]
    room = limit - len(_ELLIPSIS) - 1
    first = sentences(text)[0]
    if first[1] + (key[1] - key[0]) <= room and first[1] < key[0]:
        return [first, (key[0], _word_end(text, key[0], room - first[1]))]
    return [(key[0], _word_end(text, key[0], room))]


def _word_end(text: str, start: int, room: int) -> int:
    """The end of at most `room` characters from `start`, at the end of a word when one is near."""
    end = start + room
    if end >= len(text):
        return len(text)
    space = text.rfind(" ", start, end + 1)
    return space if space - start > room * 0.6 else end


def _cut(start: int, end: int, text: str, hits: Sequence[Span], key: Span | None) -> Iterator[Piece]:
    borders = {start, end, *(edge for hit in hits for edge in hit), *(key or ())}
    edges = sorted(edge for edge in borders if start <= edge <= end)
    for a, b in pairwise(edges):
        hit = any(span[0] <= a < span[1] for span in hits)
        yield Piece(text[a:b], hit, key is not None and key[0] <= a < key[1])
