"""A paper's words as PostgreSQL's full text keeps them (tsvector), and a query as it is asked of them (tsquery).

A word gives lexemes at its place: its stem, its folded form behind `+` for prefixes, and as it is written behind `=`
where that differs. Authors' names stand behind `@`, categories behind `#`. The title has weight A, the abstract B, and
no phrase or window spans both.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.domain.query.ast import MAX_WINDOW, Word, is_initial
from services.domain.query.paper_text import FieldText, PaperText, plain_category
from services.domain.query.parser import And, Author, Category, Exact, Field, Near, Not, Or, Phrase, Query, Source
from services.domain.text.tokens import fold

TRUNCATED = "!long"
"""A lexeme of papers too long for PostgreSQL to keep every place: a query must be asked of their text."""
MAX_POSITIONS, MAX_POSITION, MAX_LEXEME_CHARACTERS, MAX_CHARACTERS = 255, 16_383, 500, 200_000
"""What a tsvector keeps: places of a lexeme, the last place, (2 kB) characters of a lexeme, and (1 MB) of all."""
MAX_EXACT_WINDOW = 16
WEIGHTS = {"": "", "title": "A", "abstract": "B"}


@dataclass(frozen=True, slots=True)
class TsQuery:
    """What all papers that match a query fulfil; None: nothing that could be asked."""

    tsquery: str | None
    exact: bool
    """Whether a paper that fulfils it also matches."""
    sources: tuple[str, ...] = ()
    """Folded kinds of sources that it must have appeared in besides."""


def to_tsvector(text: PaperText) -> str:
    """The paper as text of a tsvector."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted({name for names in text.names for name in names}):
        places["@" + name] = []
    for category in text.categories:
        places["#" + plain_category(category)] = []
    long = _add(places, text.title, 1, "A")
    long |= _add(places, text.abstract, len(text.title.tokens) + MAX_WINDOW + 2, "B")
    if long:
        places[TRUNCATED] = []
    return " ".join(_literal(lexeme, at) for lexeme, at in places.items() if len(lexeme) <= MAX_LEXEME_CHARACTERS)


def to_tsquery(query: Query) -> TsQuery:
    """What can be asked in SQL; a kind of source only where it must hold in any case."""
    operands = query.operands if isinstance(query, And) else (query,)
    sources = [one.operand for one in operands if isinstance(one, Field) and isinstance(one.operand, Source)]
    rest = [one for one in operands if not (isinstance(one, Field) and isinstance(one.operand, Source))]
    asked = _all([_convert(one, "") for one in rest])
    return replace(asked, sources=tuple(fold(one.text) for one in sources))


def _add(places: defaultdict[str, list[str]], field: FieldText, first: int, weight: str) -> bool:
    """Whether something had to be left out."""
    long = len(field.tokens) + first > MAX_POSITION
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
                long = True
    return long


def _literal(lexeme: str, at: list[str]) -> str:
    return _quoted(lexeme) + (":" + ",".join(at) if at else "")


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"


def _convert(query: Query, weight: str) -> TsQuery:
    match query:
        case And(operands):
            return _all([_convert(one, weight) for one in operands])
        case Or(operands):
            return _any([_convert(one, weight) for one in operands])
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
        case Author(names=names):
            return _author([name for name in names if not is_initial(name)], len(names) == 1)
        case Category(text=text):
            return TsQuery(_category(plain_category(text)), True)
    return TsQuery(None, False)


def _word(word: Word, weight: str) -> str:
    flags = weight + ("*" if word.prefix else "")
    return _quoted("+" + word.text if word.prefix else word.text) + (":" + flags if flags else "")


def _near(near: Near, weight: str) -> TsQuery:
    """Two words at every distance there may be; more words only as all of them anywhere."""
    words = [_word(word, weight) for word in near.words]
    if len(words) > 2 or near.within > MAX_EXACT_WINDOW:
        return TsQuery(" & ".join(words), False)
    one, other = words
    distances = (f"{a} <{n}> {b}" for n in range(near.within + 1) for a, b in ((one, other), (other, one)))
    return TsQuery(" | ".join(f"({distance})" for distance in distances), True)


def _exact(exact: Exact, weight: str) -> TsQuery:
    """A word as it is written, unless that is how it is folded: the same lexeme stands for other spellings too."""
    written = unicodedata.normalize("NFC", exact.text)
    if len(exact.words) == 1 and not (exact.lead or exact.trail) and written != fold(written):
        return TsQuery(_word(Word("=" + written), weight), True)
    return TsQuery(" <-> ".join(_word(word, weight) for word in exact.words), False)


def _author(whole: list[str], exact: bool) -> TsQuery:
    """One name at least is there in full, each other by its initial at least."""
    any_name = " | ".join(_quoted("@" + name) for name in whole)
    each = [f"({_quoted('@' + name)} | {_quoted('@' + name[0])})" for name in whole if is_initial(name[0])]
    return TsQuery(any_name if exact else " & ".join([f"({any_name})", *each]), exact)


def _category(wanted: str) -> str:
    if wanted.endswith("*"):
        return _quoted("#" + wanted[:-1]) + ":*"
    return f"{_quoted('#' + wanted)} | {_quoted(f'#{wanted}.')}:*"


def _all(operands: Iterable[TsQuery]) -> TsQuery:
    found = list(operands)
    asked = [one.tsquery for one in found if one.tsquery is not None]
    return TsQuery(_joined(asked, " & "), all(one.exact for one in found))


def _any(operands: Iterable[TsQuery]) -> TsQuery:
    found = list(operands)
    asked = [one.tsquery for one in found if one.tsquery is not None]
    return TsQuery(_joined(asked, " | ") if len(asked) == len(found) else None, all(one.exact for one in found))


def _joined(parts: list[str], by: str) -> str | None:
    return by.join(f"({part})" for part in parts) or None
