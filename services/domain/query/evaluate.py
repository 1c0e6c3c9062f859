"""One query against one paper, plainly: the truth that every faster way is held to, and the reason why (not)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.domain.query.paper_text import FieldText, PaperText, Span, is_below, is_named
from services.domain.query.parser import (
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
)
from services.domain.text.tokens import fold

__all__ = ["Evidence", "PaperText", "describe", "evidence", "explain_failure", "matches"]

MAX_REASONS = 6
_KINDS = {"author": "author", "cat": "category", "source": "source"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A clause that holds in one field: in the `spans` of title or abstract, or by what was `found` in the others."""

    clause: str
    field: str
    spans: tuple[Span, ...] = ()
    found: str = ""
    """The author, category or source as the paper has it."""


def matches(query: Query, text: PaperText) -> bool:
    return _holds(query, text, text.fields())


def evidence(query: Query, text: PaperText) -> tuple[Evidence, ...]:
    """The clauses that made the query match, each once; empty when it does not match."""
    fields = text.fields()
    # A clause that does not hold has no evidence, so it need not be asked first.
    whole = isinstance(query, And | Or | Not | Field)
    return () if whole and not _holds(query, text, fields) else tuple(dict.fromkeys(_evidence(query, text, fields)))


def describe(found: Sequence[Evidence]) -> str:
    """One line, such as `"diffusion model*" in the title; "image" in the abstract`."""
    places = defaultdict[tuple[str, bool], list[str]](list)
    for one in found:
        places[one.clause, bool(one.found)].append(f"{_KINDS[one.field]} {one.found}" if one.found else one.field)
    reasons = [
        ", ".join(where) if named else f"{clause} in the {' and '.join(where)}"
        for (clause, named), where in places.items()
    ]
    rest = len(reasons) - MAX_REASONS
    return "; ".join(reasons[:MAX_REASONS]) + (f"; and {rest} more" if rest > 0 else "")


def explain_failure(query: Query, text: PaperText) -> str:
    """The clause that decides why the query does not match; empty when it does match."""
    return "" if matches(query, text) else _explain_failure(query, text, "")


def _holds(query: Query, text: PaperText, fields: tuple[FieldText, ...]) -> bool:
    match query:
        case And(operands):
            return all(_holds(operand, text, fields) for operand in operands)
        case Or(operands):
            return any(_holds(operand, text, fields) for operand in operands)
        case Not(operand):
            return not _holds(operand, text, fields)
        case Field(name, operand):
            return _holds(operand, text, text.fields(name))
        case Phrase() | Near() | Exact():
            return any(next(field.spans(query), None) for field in fields)
    return next(_clause_evidence(query, text, fields), None) is not None


def _clause_evidence(clause: Clause, text: PaperText, fields: tuple[FieldText, ...]) -> Iterator[Evidence]:
    """Where one clause holds, lazily: whether it holds at all costs no more than the first place."""
    match clause:
        case Author():
            pairs = zip(text.authors, text.names, strict=True)
            return (Evidence(str(clause), "author", found=author) for author, names in pairs if is_named(clause, names))
        case Category():
            return (Evidence(str(clause), "cat", found=c) for c in text.categories if is_below(clause, c))
        case Source():
            wanted = fold(clause.text)
            return (Evidence(str(clause), "source", found=s) for s in text.sources if fold(s) == wanted)
    return (
        Evidence(_display_text(clause), field.name, spans)
        for field in fields
        if (spans := tuple(dict.fromkeys(field.spans(clause))))
    )


def _evidence(query: Query, text: PaperText, fields: tuple[FieldText, ...], wanted: bool = True) -> Iterator[Evidence]:
    """The evidence in a part of the query whose value is `wanted`, out of those operands that give it this value."""
    match query:
        case And(operands) | Or(operands):
            for operand in operands:
                if _holds(operand, text, fields) is wanted:
                    yield from _evidence(operand, text, fields, wanted)
        case Not(operand):
            yield from _evidence(operand, text, fields, not wanted)
        case Field(name, operand):
            yield from _evidence(operand, text, text.fields(name), wanted)
        case _ if wanted:
            yield from _clause_evidence(query, text, fields)


def _explain_failure(query: Query, text: PaperText, field: str) -> str:
    """Why a part that does not hold does not, in the scope of a field."""
    fields = text.fields(field)
    match query:
        case And(operands):
            return next(_explain_failure(o, text, field) for o in operands if not _holds(o, text, fields))
        case Or(operands):
            return "none of the alternatives: " + "; ".join(
                _explain_failure(operand, text, field) for operand in operands
            )
        case Not(operand):
            because = describe(tuple(_evidence(operand, text, fields)))
            return f"excluded by {query}" + (f": {because}" if because else "")
        case Field(name, operand):
            return _explain_failure(operand, text, name)
        case Author() | Category() | Source():
            return f"not {_KINDS[field]} {query}"
    return f"{_display_text(query)} not in the {field or 'title or abstract'}"


def _display_text(clause: Phrase | Near | Exact) -> str:
    """The clause as reasons show it: words always in quotes."""
    return f'"{clause.text}"' if isinstance(clause, Phrase) else str(clause)
