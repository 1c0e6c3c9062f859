"""Parses a query in one pass with a stack of groups. Errors name the position."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple

from services.domain.query.ast import (
    FIELDS,
    KEYWORDS,
    TEXT_FIELDS,
    And,
    Author,
    Category,
    Clause,
    Exact,
    Field,
    Near,
    Not,
    Or,
    Phrase,
    Query,
    Source,
    Word,
    conjunction,
    disjunction,
    in_field,
    is_bounded,
    negation,
)
from services.domain.query.hints import tag_hint
from services.errors import QueryError

__all__ = [
    "MAX_QUERY_CHARACTERS",
    "MAX_TERMS",
    "And",
    "Author",
    "Category",
    "Clause",
    "Exact",
    "Field",
    "Near",
    "Not",
    "Or",
    "Phrase",
    "Query",
    "Source",
    "Word",
    "parse",
]

MAX_QUERY_CHARACTERS = 500
MAX_TERMS = 64
MAX_NESTING = 10

# Phones and word processors replace the operators with these. Each is one character, so that positions stay.
_TYPOGRAPHIC = str.maketrans("“”„‟«»＂‐‑–—−－（）：＝＊～", '"' * 7 + "-" * 6 + "():=*~")
_LEXEME = re.compile(
    r'(?P<open>\()|(?P<close>\))|(?P<minus>-)|"(?P<phrase>[^"]*)"(?P<near>~[^\s()"]*)?|(?P<quote>")'
    r'|(?P<field>[^\W\d_][\w-]*:)|(?P<exact>=[^\s()"]*)|(?P<word>[^\s()"]+)'
)
_FIELD_ALIASES = {"ti": "title", "au": "author", "abs": "abstract", "category": "cat", "subject": "cat"}


class _Lexeme(NamedTuple):
    kind: str
    text: str
    position: int


@dataclass(slots=True)
class _Group:
    """The query or an open parenthesis: a disjunction of conjunctions, and the operator that needs an operand."""

    position: int
    scope: str = ""
    """The field that encloses the group."""
    branches: list[list[Query]] = field(default_factory=lambda: [[]])
    starts: list[int] = field(default_factory=lambda: [0])
    """The position where each branch begins."""
    pending: _Lexeme | None = None
    """The operator or field that has no operand yet."""
    name: str = ""
    """The field of the next operand."""
    negated: bool = False

    def add(self, operand: Query) -> None:
        operand = in_field(self.name, operand) if self.name else operand
        self.branches[-1].append(negation(operand) if self.negated else operand)
        self.pending, self.name, self.negated = None, "", False

    def query(self) -> Query:
        return disjunction(map(conjunction, self.branches))


def parse(text: str) -> Query:
    """Parses in linear time, into canonical form. Raises QueryError with the position."""
    _check_characters(text)
    return _Parser(text).parse()


def _check_characters(text: str) -> None:
    if len(text) > MAX_QUERY_CHARACTERS:
        message = f"the query has {len(text)} characters; {MAX_QUERY_CHARACTERS} are allowed, so split it into several"
        raise QueryError(message, text, MAX_QUERY_CHARACTERS)
    for position, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r":
            raise QueryError(f"U+{ord(character):04X} is a control character; leave it out", text, position)


def _lexemes(text: str) -> Iterator[_Lexeme]:
    """The lexemes of the text, between which there is only white space."""
    plain = text.translate(_TYPOGRAPHIC)
    operand_end = -1
    for match in _LEXEME.finditer(plain):
        kind, start = str(match.lastgroup), match.start()
        if start == operand_end and kind != "close":
            tag = re.match(r"\[([^\[\]]{1,40})\]", plain[start:])
            hint = tag_hint(tag[1]) if tag else ""
            raise QueryError(hint or f"leave a space before {plain[start]!r}", text, start)
        if kind == "quote":
            raise QueryError("the quote is never closed", text, start)
        if kind == "minus" and plain[start + 1 : start + 2].strip() == "":
            message = "'-' must touch what it excludes, as -survey; leave a dash between words out"
            raise QueryError(message, text, start)
        # An exact form keeps the characters that were typed, such as dashes.
        piece = text[start : match.end()] if kind == "exact" else match[0]
        if kind == "word" and piece in KEYWORDS:
            kind = "minus" if piece == "NOT" else piece
        elif kind in ("phrase", "near", "word", "exact", "close"):
            operand_end = match.end()
        yield _Lexeme(kind, piece, start)


class _Parser:
    """A stack of groups: open parentheses, innermost last."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.groups = [_Group(0)]
        self.terms = 0

    def parse(self) -> Query:
        for lexeme in _lexemes(self.text):
            self._take(lexeme)
        if len(self.groups) > 1:
            raise self._error("the parenthesis is never closed", self.groups[-1].position)
        outermost = self._finished("the query is empty: write a word to look for", 0)
        for branch, start in zip(outermost.branches, outermost.starts, strict=True):
            if not is_bounded(conjunction(branch)):
                part = "this alternative" if len(outermost.branches) > 1 else "the query"
                message = f"{part} only excludes and would match nearly every paper; add what to look for"
                raise self._error(message, start)
        return outermost.query()

    def _take(self, lexeme: _Lexeme) -> None:
        group = self.groups[-1]
        if not group.branches[-1] and (group.pending is None or group.pending.kind == "OR"):
            group.starts[-1] = lexeme.position
        match lexeme.kind:
            case "AND" | "OR":
                self._operator(lexeme)
            case "minus":
                if group.name:
                    raise self._error(f"put the exclusion before the field: -{group.name}:…", lexeme.position)
                group.negated, group.pending = not group.negated, lexeme
            case "field":
                self._field(lexeme)
            case "open":
                if len(self.groups) > MAX_NESTING:
                    raise self._error(f"parentheses are nested more than {MAX_NESTING} deep", lexeme.position)
                self.groups.append(_Group(lexeme.position, group.name or group.scope, starts=[lexeme.position + 1]))
            case "close":
                self._close(lexeme)
            case _:
                group.add(self._clause(lexeme, group.name or group.scope))

    def _operator(self, lexeme: _Lexeme) -> None:
        group = self.groups[-1]
        if group.pending or not group.branches[-1]:
            raise self._error(f"'{lexeme.text}' has nothing before it", lexeme.position, lexeme.text)
        group.pending = lexeme
        if lexeme.kind == "OR":
            group.branches.append([])
            group.starts.append(lexeme.position)

    def _field(self, lexeme: _Lexeme) -> None:
        group, name = self.groups[-1], lexeme.text[:-1].lower()
        if name not in FIELDS:
            close = get_close_matches(name, FIELDS, n=1)
            meant = _FIELD_ALIASES.get(name) or (close[0] if close else "")
            others = f"fields are {', '.join(FIELDS)}; put any other text with a colon in quotes"
            hint = f"did you mean '{meant}'?" if meant else others
            raise self._error(f"unknown field '{lexeme.text[:-1][:40]}'; {hint}", lexeme.position)
        if outer := group.name or group.scope:
            raise self._error(f"'{name}:' cannot be inside '{outer}:'", lexeme.position)
        group.name, group.pending = name, lexeme

    def _close(self, lexeme: _Lexeme) -> None:
        if len(self.groups) == 1:
            raise self._error("this parenthesis was never opened", lexeme.position)
        group = self._finished("there is nothing between the parentheses", self.groups[-1].position)
        self.groups.pop()
        self.groups[-1].add(group.query())

    def _finished(self, empty: str, position: int) -> _Group:
        """The innermost group. Raises QueryError if it is incomplete, with the message `empty` if it has no operand."""
        group = self.groups[-1]
        if group.pending:
            name = group.pending.text
            raise self._error(f"'{name}' has nothing after it", group.pending.position, name)
        if not group.branches[-1]:
            raise self._error(empty, position)
        return group

    def _clause(self, lexeme: _Lexeme, name: str) -> Clause:
        self.terms += 1
        if self.terms > MAX_TERMS:
            raise self._error(f"the query has more than {MAX_TERMS} terms; split it into several", lexeme.position)
        quoted = lexeme.kind in ("phrase", "near")
        try:
            return _clause(lexeme, name)
        except QueryError as error:
            raise self._error(error.message, lexeme.position + quoted + error.position) from None

    def _error(self, message: str, position: int, keyword: str = "") -> QueryError:
        hint = f'; to search for the word itself write "{keyword}"' if keyword in KEYWORDS else ""
        return QueryError(message + hint, self.text, position)


def _clause(lexeme: _Lexeme, name: str) -> Clause:
    """The clause of a word, phrase or exact form. Errors count positions from its first character."""
    kind, text = lexeme.kind, lexeme.text
    if name and name not in TEXT_FIELDS:
        if kind not in ("word", "phrase"):
            raise QueryError(f"'{name}:' takes a word or a phrase, not {text[:40]}", text, 0)
        return _metadata(name, text.strip('"'))
    if kind == "near":
        inside, window = text[1:].rsplit('"', 1)
        if not re.fullmatch(r"~[0-9]{1,3}", window):
            raise QueryError("'~' needs a number after it, as \"graph network\"~3", text, len(inside) + 1)
        return Near(inside, int(window[1:]))
    if kind == "exact":
        return Exact(text[1:])
    if kind == "word" and "~" in text:
        raise QueryError("'~' goes after a phrase, as \"graph network\"~3", text, text.index("~"))
    return Phrase(text.strip('"'))


def _metadata(name: str, text: str) -> Clause:
    match name:
        case "author":
            return Author(text)
        case "cat":
            return Category(text)
        case _:
            return Source(text)
