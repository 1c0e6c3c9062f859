"""A paper's words as a tsvector of PostgreSQL, and a query as a tsquery.

Each word becomes lexemes at its position: its stem, its folded form with `+` in front for prefix queries, and its
written form with `=` in front where that differs. Keys of the authors' names have `@` in front, categories `#`. The
title has weight A, the abstract B. A gap of positions keeps phrases and windows from spanning both.

Limits of a tsvector: https://www.postgresql.org/docs/current/textsearch-limitations.html
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.domain.query.ast import MAX_WINDOW, Word
from services.domain.query.paper_text import FieldText, PaperText, plain_category
from services.domain.query.parser import And, Author, Category, Exact, Field, Near, Not, Or, Phrase, Query, Source
from services.domain.text.person_names import PersonName
from services.domain.text.tokens import fold

TRUNCATED = "!long"
"""A lexeme of papers of which a tsvector cannot hold every position: a query must be evaluated on their text."""
MAX_POSITIONS, MAX_POSITION, MAX_LEXEME_CHARACTERS, MAX_CHARACTERS = 255, 16_383, 500, 200_000
"""What a tsvector holds: positions of a lexeme, the last position, characters of a lexeme (2 kB), of all (1 MB)."""
MAX_EXACT_WINDOW = 16
WEIGHTS = {"": "", "title": "A", "abstract": "B"}


@dataclass(frozen=True, slots=True)
class TsQuery:
    """A condition that every paper that matches a query meets."""

    tsquery: str | None
    """None if no condition can be expressed."""
    exact: bool
    """Whether every paper that meets the condition matches."""
    sources: tuple[str, ...] = ()
    """Folded kinds of sources, in all of which the paper must have appeared as well."""


def to_tsvector(text: PaperText) -> str:
    """The paper in the text format of a tsvector."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    is_truncated = _add_authors(places, text.names)
    for category in text.categories:
        places["#" + plain_category(category)] = []
    first = 1
    for field in text.fields():
        is_truncated |= _add(places, field, first, "A" if field.name == "title" else "B")
        first += len(field.tokens) + MAX_WINDOW + 1
    if is_truncated:
        places[TRUNCATED] = []
    return " ".join(_literal(lexeme, at) for lexeme, at in places.items() if len(lexeme) <= MAX_LEXEME_CHARACTERS)


def to_tsquery(query: Query) -> TsQuery:
    """The condition in SQL. A kind of source is part of it only where the query requires it in any case."""
    operands = query.operands if isinstance(query, And) else (query,)
    sources, others = list[Source](), list[Query]()
    for operand in operands:
        if isinstance(operand, Field) and isinstance(operand.operand, Source):
            sources.append(operand.operand)
        else:
            others.append(operand)
    converted = _all([_convert(operand, "") for operand in others])
    return replace(converted, sources=tuple(fold(source.text) for source in sources))


def _add_authors(places: defaultdict[str, list[str]], names: Iterable[PersonName]) -> bool:
    """Adds the keys of the authors' names. Returns whether some had to be left out."""
    room = MAX_CHARACTERS // 2
    for key in sorted({key for name in names for key in name.keys}):
        room -= len(key) + 1
        if room < 0:
            return True
        places["@" + key] = []
    return False


def _add(places: defaultdict[str, list[str]], field: FieldText, first: int, weight: str) -> bool:
    """Adds the words of a field from position `first`. Returns whether some had to be left out."""
    is_truncated = len(field.tokens) + first > MAX_POSITION
    room = MAX_CHARACTERS - sum(map(len, places))
    for token in field.tokens[: max(0, MAX_POSITION - first)]:
        place = f"{token.position + first}{weight}"
        written = unicodedata.normalize("NFC", token.surface)
        lexemes = (token.stem, "+" + token.folded, "=" + written)
        for lexeme in lexemes if written != token.folded else lexemes[:2]:
            room -= 0 if lexeme in places else len(lexeme)
            if len(lexeme) <= MAX_LEXEME_CHARACTERS and room > 0 and len(places[lexeme]) < MAX_POSITIONS:
                places[lexeme].append(place)
            else:
                is_truncated = True
    return is_truncated


def _literal(lexeme: str, at: list[str]) -> str:
    return _quoted(lexeme) + (":" + ",".join(at) if at else "")


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def _convert(query: Query, weight: str) -> TsQuery:
    match query:
        case And(operands):
            return _all([_convert(operand, weight) for operand in operands])
        case Or(operands):
            return _any([_convert(operand, weight) for operand in operands])
        case Not(operand):
            inner = _convert(operand, weight)
            return TsQuery(f"!({inner.tsquery})", True) if inner.exact else TsQuery(None, False)
        case Field(name, operand):
            return _convert(operand, WEIGHTS.get(name, ""))
        case Phrase(words=words):
            return TsQuery(" <-> ".join(_word(word, weight) for word in words), True)
        case Near():
            return _near(query, weight)
        case Exact():
            return _exact(query, weight)
        case Author(name=name):
            keys = " | ".join(_quoted("@" + key) for key in sorted(name.query_keys))
            return TsQuery(keys, name.is_found_by_keys_alone)
        case Category(text=text):
            return TsQuery(_category(plain_category(text)), True)
    return TsQuery(None, False)


def _word(word: Word, weight: str) -> str:
    flags = weight + ("*" if word.prefix else "")
    return _quoted("+" + word.text if word.prefix else word.text) + (":" + flags if flags else "")


def _near(near: Near, weight: str) -> TsQuery:
    """Two words at each allowed distance. More words, or a wide window, only as all words in any place."""
    words = [_word(word, weight) for word in near.words]
    if len(words) > 2 or near.within > MAX_EXACT_WINDOW:
        return TsQuery(" & ".join(words), False)
    first, second = words
    orders = ((first, second), (second, first))
    distances = (f"{left} <{n}> {right}" for n in range(near.within + 1) for left, right in orders)
    return TsQuery(" | ".join(f"({distance})" for distance in distances), True)


def _exact(exact: Exact, weight: str) -> TsQuery:
    """A single word has a `=` lexeme, which is exact, unless it is written as it is folded."""
    written = unicodedata.normalize("NFC", exact.text)
    if len(exact.words) == 1 and not (exact.lead or exact.trail) and written != fold(written):
        return TsQuery(_word(Word("=" + written), weight), True)
    return TsQuery(" <-> ".join(_word(word, weight) for word in exact.words), False)


def _category(wanted: str) -> str:
    if wanted.endswith("*"):
        return _quoted("#" + wanted[:-1]) + ":*"
    return f"{_quoted('#' + wanted)} | {_quoted(f'#{wanted}.')}:*"


def _all(operands: Iterable[TsQuery]) -> TsQuery:
    all_operands = list(operands)
    expressed = [operand.tsquery for operand in all_operands if operand.tsquery is not None]
    return TsQuery(_joined(expressed, " & "), all(operand.exact for operand in all_operands))


def _any(operands: Iterable[TsQuery]) -> TsQuery:
    all_operands = list(operands)
    expressed = [operand.tsquery for operand in all_operands if operand.tsquery is not None]
    tsquery = _joined(expressed, " | ") if len(expressed) == len(all_operands) else None
    return TsQuery(tsquery, all(operand.exact for operand in all_operands))


def _joined(parts: list[str], operator: str) -> str | None:
    return operator.join(f"({part})" for part in parts) or None
