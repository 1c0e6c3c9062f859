"""The syntax tree of a query. `str` gives its canonical text, which parses to the same tree and is never longer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from services.domain.text.person_names import PersonName, is_initial, read_name
from services.domain.text.tokens import fold, tokens
from services.errors import QueryError

TEXT_FIELDS = ("title", "abstract")
FIELDS = (*TEXT_FIELDS, "author", "cat", "source")
KEYWORDS = frozenset({"AND", "OR", "NOT"})
MIN_PREFIX_LETTERS = 3
MAX_WINDOW = 100

_UNQUOTED = re.compile(r'(?![-=])(?![^\W\d_][\w-]*:)[^\s()"~]+')


class Word(NamedTuple):
    """One word of a phrase: the stem that a word of the paper must have, or a prefix of its folded form."""

    text: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """One word, or words next to each other in this order. `word*` stands for all words with this prefix."""

    text: str
    words: tuple[Word, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", _words(self.text))
        object.__setattr__(self, "text", _one_line(self.text))

    def __str__(self) -> str:
        return _quoted(self.text)


@dataclass(frozen=True, slots=True)
class Near:
    """Every word, in any order, within `within` + 1 consecutive words."""

    text: str
    within: int
    words: tuple[Word, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(dict.fromkeys(_words(self.text))))
        object.__setattr__(self, "text", _one_line(self.text))
        if len(self.words) == 1:
            raise QueryError("'~' needs two different words or more between the quotes", self.text, 0)
        least = len(self.words) - 1
        if not least <= self.within <= MAX_WINDOW:
            advice = f"write a number from {least} to {MAX_WINDOW}"
            raise QueryError(f"{len(self.words)} words do not fit within ~{self.within}; {advice}", self.text, 0)

    def __str__(self) -> str:
        return f'"{self.text}"~{self.within}'


@dataclass(frozen=True, slots=True)
class Exact:
    """Whole words exactly as they are written, with case, accents and punctuation."""

    text: str
    words: tuple[Word, ...] = field(init=False, compare=False, repr=False)
    lead: int = field(init=False, compare=False, repr=False)
    """The number of characters before the first word, such as the point of `.NET`."""
    trail: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        parts = tokens(self.text)
        if not parts:
            raise QueryError("'=' needs a word directly after it, as =RAG", self.text, 0)
        object.__setattr__(self, "words", tuple(Word(token.stem) for token in parts))
        object.__setattr__(self, "lead", parts[0].start)
        object.__setattr__(self, "trail", len(self.text) - parts[-1].end)

    def __str__(self) -> str:
        return f"={self.text}"


@dataclass(frozen=True, slots=True)
class Author:
    """A person's name in any form that bibliographies have. Always the operand of a Field."""

    text: str
    name: PersonName = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _one_line(self.text))
        _reject_star("author", self.text)
        name = read_name(self.text)
        if not name.words:
            raise QueryError("'author:' needs a name", self.text, 0)
        if all(map(is_initial, name.words)):
            raise QueryError("'author:' needs a whole name, not initials alone", self.text, 0)
        object.__setattr__(self, "name", name)

    def __str__(self) -> str:
        return _quoted(self.text)


@dataclass(frozen=True, slots=True)
class Category:
    """A category and those below it (`cs` includes `cs.LG`), or with `*` all with this prefix. Always in a Field."""

    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _one_line(self.text))
        _reject_star("cat", self.text.removesuffix("*"))
        if not fold(self.text):
            raise QueryError("'cat:' needs a category, as cat:cs.LG or cat:cs.*", self.text, 0)

    def __str__(self) -> str:
        return _quoted(self.text)


@dataclass(frozen=True, slots=True)
class Source:
    """The kind of a source that announced the paper. Always the operand of a Field."""

    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _one_line(self.text))
        _reject_star("source", self.text)
        if not fold(self.text):
            raise QueryError("'source:' needs a kind of source, as source:arxiv", self.text, 0)

    def __str__(self) -> str:
        return _quoted(self.text)


@dataclass(frozen=True, slots=True)
class Field:
    """The operand, evaluated in one field."""

    name: str
    operand: "Query"

    def __str__(self) -> str:
        return f"{self.name}:{_grouped(self.operand, And, Or)}"


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Query"

    def __str__(self) -> str:
        return f"-{_grouped(self.operand, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple["Query", ...]

    def __str__(self) -> str:
        return " ".join(_grouped(operand, Or) for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple["Query", ...]

    def __str__(self) -> str:
        return " OR ".join(map(str, self.operands))


Clause: TypeAlias = Phrase | Near | Exact | Author | Category | Source
Query: TypeAlias = And | Or | Not | Field | Clause


def conjunction(operands: Iterable[Query]) -> Query:
    """The conjunction in canonical form: nested conjunctions are merged, and a single operand stays itself."""
    flat = [inner for o in operands for inner in (o.operands if isinstance(o, And) else (o,))]
    return And(tuple(flat)) if len(flat) > 1 else flat[0]


def disjunction(operands: Iterable[Query]) -> Query:
    """The disjunction in canonical form."""
    flat = [inner for o in operands for inner in (o.operands if isinstance(o, Or) else (o,))]
    return Or(tuple(flat)) if len(flat) > 1 else flat[0]


def negation(operand: Query) -> Query:
    """The negation in canonical form: a double negation is the operand itself."""
    return operand.operand if isinstance(operand, Not) else Not(operand)


def in_field(name: str, operand: Query) -> Query:
    """The field in canonical form: a negation is moved outside."""
    return Not(Field(name, operand.operand)) if isinstance(operand, Not) else Field(name, operand)


def is_bounded(query: Query, negated: bool = False) -> bool:
    """Whether a paper must contain something to match. `-a` and `a OR -b` match nearly all papers."""
    match query:
        case Not(operand):
            return is_bounded(operand, not negated)
        case Field(_, operand):
            return is_bounded(operand, negated)
        case And(operands) | Or(operands):
            every = isinstance(query, Or) is not negated
            return (all if every else any)(is_bounded(operand, negated) for operand in operands)
    return not negated


def _words(text: str) -> tuple[Word, ...]:
    """Raises QueryError with the position in `text`."""
    words = [word for chunk in re.finditer(r"\S+", text) for word in _words_of_chunk(chunk[0], text, chunk.start())]
    if not words:
        what = f"{text.strip()[:40]!r} has no letters or digits" if text.strip() else "the phrase is empty"
        raise QueryError(f"{what}: nothing to search for", text, 0)
    return tuple(words)


def _words_of_chunk(chunk: str, text: str, position: int) -> list[Word]:
    """The words between two spaces."""
    stripped = chunk.removesuffix("*")
    if "*" in stripped:
        message = "'*' can only end a word, as in model*"
        raise QueryError(message, text, position + stripped.index("*"))
    parts = tokens(stripped)
    words = [Word(token.stem) for token in parts]
    if stripped != chunk:
        if not parts or parts[-1].end < len(stripped) or len(parts[-1].surface) < MIN_PREFIX_LETTERS:
            hint = f"; for the characters themselves write ={chunk[:40]}" if parts else ""
            message = f"'*' needs {MIN_PREFIX_LETTERS} letters or more before it{hint}"
            raise QueryError(message, text, position + len(stripped))
        words[-1] = Word(parts[-1].folded, prefix=True)
    return words


def _reject_star(name: str, text: str) -> None:
    if "*" in text:
        ending = "takes '*' only at the end, as cat:cs.*" if name == "cat" else "takes no '*': write the whole name"
        raise QueryError(f"'{name}:' {ending}", text, text.index("*"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    return text if _UNQUOTED.fullmatch(text) and text not in KEYWORDS else f'"{text}"'


def _grouped(query: Query, *kinds: type[And] | type[Or]) -> str:
    return f"({query})" if isinstance(query, kinds) else str(query)
