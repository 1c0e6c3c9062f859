"""The clauses that a query requires all of, one by one: which could be left out, and which papers fail just one."""

from dataclasses import dataclass

from services.domain.query.ast import And, Query, conjunction, is_bounded, negation
from services.domain.query.parser import MAX_QUERY_CHARACTERS

MAX_CLAUSES = 8
"""Of a query with more clauses, the first are looked at."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A query without one of its clauses."""

    clause: str
    query: str
    """The query without the clause."""
    missed: str
    """The query of the papers that fail this clause alone."""


def leave_one_out(query: Query) -> list[LeftOut]:
    """Each clause of a conjunction left out in turn, where the others still ask for something."""
    if not isinstance(query, And):
        return []
    found = []
    for place, clause in enumerate(query.operands[:MAX_CLAUSES]):
        others = conjunction(operand for at, operand in enumerate(query.operands) if at != place)
        if not is_bounded(others):
            continue
        missed = str(conjunction([others, negation(clause)]))
        if len(missed) <= MAX_QUERY_CHARACTERS:
            found.append(LeftOut(str(clause), str(others), missed))
    return found
