"""Evaluates one query on one paper, with the reason. The percolator and the tsquery must agree with `matches`."""

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
    """A clause that holds in one field: at `spans` of title or abstract, or by the `value` of another field."""

    clause: str
    field: str
    spans: tuple[Span, ...] = ()
    value: str = ""
    """The author, category or source as the paper has it."""


def matches(query: Query, text: PaperText) -> bool:
    return _holds(query, text, text.fields())


def evidence(query: Query, text: PaperText) -> tuple[Evidence, ...]:
    """The clauses that make the query match, each once; empty if it does not match."""
    fields = text.fields()
    # A single clause that does not hold has no evidence, so it need not be evaluated first.
    is_composite = isinstance(query, And | Or | Not | Field)
    return (
        () if is_composite and not _holds(query, text, fields) else tuple(dict.fromkeys(_evidence(query, text, fields)))
    )


def describe(items: Sequence[Evidence]) -> str:
    """One line, such as `"diffusion model*" in the title; "image" in the abstract`."""
    places = defaultdict[tuple[str, bool], list[str]](list)
    for item in items:
        place = f"{_KINDS[item.field]} {item.value}" if item.value else item.field
        places[item.clause, bool(item.value)].append(place)
    reasons = [
        ", ".join(where) if has_values else f"{clause} in the {' and '.join(dict.fromkeys(where))}"
        for (clause, has_values), where in places.items()
    ]
    omitted = len(reasons) - MAX_REASONS
    return "; ".join(reasons[:MAX_REASONS]) + (f"; and {omitted} more" if omitted > 0 else "")


def explain_failure(query: Query, text: PaperText) -> str:
    """The clauses because of which the query does not match; empty if it matches."""
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
    """The places where one clause holds. They are found lazily, so that a caller can stop at the first."""
    match clause:
        case Author():
            pairs = zip(text.authors, text.names, strict=True)
            return (Evidence(str(clause), "author", value=author) for author, name in pairs if is_named(clause, name))
        case Category():
            return (Evidence(str(clause), "cat", value=c) for c in text.categories if is_below(clause, c))
        case Source():
            wanted = fold(clause.text)
            return (Evidence(str(clause), "source", value=s) for s in text.sources if fold(s) == wanted)
    return (
        Evidence(_display_text(clause), field.name, spans)
        for field in fields
        if (spans := tuple(dict.fromkeys(field.spans(clause))))
    )


def _evidence(query: Query, text: PaperText, fields: tuple[FieldText, ...], wanted: bool = True) -> Iterator[Evidence]:
    """The evidence in a part of the query whose value is `wanted`, from the operands that have this value."""
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
    """Why a part of the query does not hold, in the scope of a field."""
    fields = text.fields(field)
    match query:
        case And(operands):
            failing = next(operand for operand in operands if not _holds(operand, text, fields))
            return _explain_failure(failing, text, field)
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
    """The clause as reasons show it, with its words in quotes."""
    return f'"{clause.text}"' if isinstance(clause, Phrase) else str(clause)
