"""Standing queries against papers: an index of queries that papers are run against, exact as `evaluate.matches`.

Papers go through in batches as wide as a machine word: what holds where is one bit a paper, so that a query costs the
same for one paper and for 64. Only those queries are looked at whose rarest clause holds somewhere in the batch.
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from services.domain.query.paper_text import PaperText
from services.domain.query.parser import And, Field, Not, Or, Query
from services.domain.query.percolator.clauses import ClauseIndex
from services.domain.query.percolator.expressions import AND, OR, TRUE, ExpressionGraph
from services.domain.query.percolator.postings import Ints, Postings, set_bits

BATCH_SIZE = 64
"""Of one batch, as bits."""
MIN_CHANGES = 4096
"""So many changes wait at least before everything is put in order again."""
REMOVED = np.iinfo(np.int64).min


class Percolator:
    """Queries by subscription id, added, replaced and removed in place.

    What was added since the last ordering is a second, small index beside the large one.
    """

    def __init__(self) -> None:
        self._graph = ExpressionGraph()
        self._clauses = ClauseIndex(self._graph)
        self._roots: dict[int, int] = {}
        """The expression of each subscription."""
        self._recent: dict[int, int] = {}
        """Those of them that are not in the large index."""
        self._gone = 0
        self._papers = self._papers_when_settled = 0
        self._changed = False
        self._above = [Postings.empty(), Postings.empty()]
        """Expressions to look at once a slot holds: the large index and the recent one."""
        self._subscribers = [Postings.empty(), Postings.empty()]
        self._holds = np.empty(0, np.uint64)
        """By literal, the papers of a batch that it holds in; between two batches no clause holds anywhere."""
        self._place = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._roots)

    @property
    def distinct(self) -> int:
        """How many different clauses and expressions the queries are made of."""
        return len(self._graph)

    def put(self, id: int, query: Query) -> None:
        """Adds a query or replaces the one of the same id."""
        root = self._root(query)
        if self._roots.get(id) == root:
            return
        self._graph.hold(root)
        self.remove(id)
        self._roots[id] = self._recent[id] = root
        self._changed = True

    def build(self, pairs: Iterable[tuple[int, Query]]) -> None:
        """Puts many, and orders them at once instead of at the next match."""
        for id, query in pairs:
            self.put(id, query)
        self._settle()

    def remove(self, id: int) -> None:
        """Does nothing when there is none of this id."""
        root = self._roots.pop(id, None)
        if root is None:
            return
        if self._recent.pop(id, None) is None:
            listed = self._subscribers[0].under(root)
            listed[listed == id] = REMOVED
            self._gone += 1
        self._changed = True
        self._clauses.forget(self._graph.release(root))

    def match(self, papers: Sequence[PaperText]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row of the paper and id of the subscription, for each pair that matches once, in no order."""
        self._refresh()
        rows, ids = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start in range(0, len(papers), BATCH_SIZE):
            for some_rows, some_ids in self._batch(papers[start : start + BATCH_SIZE]):
                rows.append(some_rows + start)
                ids.append(some_ids)
        return np.concatenate(rows), np.concatenate(ids)

    def _root(self, query: Query) -> int:
        literal = self._literal(query, "", False)
        # An expression that subscriptions have is no exclusion, of which only clauses are capable.
        return self._graph.pair(AND, literal, 2 * TRUE) if literal & 1 else literal >> 1

    def _literal(self, query: Query, field: str, negated: bool) -> int:
        """Negations go down to the clauses, fields too: what is left are clauses joined by AND and OR."""
        match query:
            case Not(operand):
                return self._literal(operand, field, not negated)
            case Field(name, operand):
                return self._literal(operand, name, negated)
            case And(operands) | Or(operands):
                literals = {self._literal(operand, field, negated) for operand in operands}
                return self._all(literals) if isinstance(query, And) is not negated else self._any(sorted(literals))
        return 2 * self._clauses.slot(query, field) + negated

    def _all(self, literals: Iterable[int]) -> int:
        """Rarest first, exclusions last: each further operand is only looked at where all before it hold.

        Of clauses as rare the later: one that queries came to ask for late is likely the rarer in papers too.
        """
        seen = self._graph.seen
        ordered = sorted(literals, key=lambda literal: (literal & 1, seen[literal >> 1], -literal))
        return reduce(lambda left, right: 2 * self._graph.pair(AND, left, right), ordered) if ordered else 2 * TRUE

    def _any(self, literals: Sequence[int]) -> int:
        """In halves, so that many alternatives are few levels."""
        if len(literals) < 2:
            return literals[0] if literals else 2 * TRUE + 1
        half = len(literals) // 2
        return 2 * self._graph.pair(OR, self._any(literals[:half]), self._any(literals[half:]))

    def _refresh(self) -> None:
        """Brings the indexes up to date; in order anew when much changed or much more is known of frequencies."""
        waiting = len(self._recent) + len(self._graph.fresh) + self._gone
        if waiting > max(MIN_CHANGES, len(self) // 8) or self._papers > 2 * self._papers_when_settled + BATCH_SIZE:
            self._settle()
        elif self._changed:
            self._above[1] = self._listed(np.unique(np.array(self._graph.fresh, np.int32)))
            self._subscribers[1] = _by_root(self._recent)
        self._changed = False
        self._make_room()

    def _settle(self) -> None:
        self._above = [self._listed(np.arange(self._graph.size, dtype=np.int32)), Postings.empty()]
        self._subscribers = [_by_root(self._roots), Postings.empty()]
        self._graph.fresh.clear()
        self._recent.clear()
        self._gone, self._papers_when_settled, self._changed = 0, self._papers, False

    def _make_room(self) -> None:
        if len(self._place) < self._graph.size:
            size = self._graph.size * 5 // 4
            self._holds = np.tile(np.array([0, ~np.uint64(0)], np.uint64), size)
            self._place = np.empty(size, np.int32)

    def _listed(self, slots: Ints) -> Postings:
        """The expressions among the slots under their anchors, operands of which one must hold for them to hold.

        Of `AND` the rarer operand that is no exclusion, of `OR` both; what can hold without either, under `TRUE`.
        """
        kind, seen = _view(self._graph.kind)[slots], _view(self._graph.seen)
        left, right = _view(self._graph.left)[slots], _view(self._graph.right)[slots]
        excluded_left, excluded_right, either = left & 1 == 1, right & 1 == 1, kind == OR
        on_right = excluded_left | (~excluded_right & (seen[right >> 1] < seen[left >> 1]))
        anchor = np.where(~either & on_right, right, left) >> 1
        anchor[np.where(either, excluded_left | excluded_right, excluded_left & excluded_right)] = TRUE
        expression, second = kind >= AND, either & (anchor != TRUE)
        anchors = np.concatenate([anchor[expression], right[second] >> 1])
        return Postings(anchors, np.concatenate([slots[expression], slots[second]]))

    def _batch(self, papers: Sequence[PaperText]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Rows and ids from each index."""
        every = np.uint64((1 << len(papers)) - 1)
        clauses, masks = self._clauses.holding(papers)
        self._holds[2 * clauses], self._holds[2 * clauses + 1] = masks, ~masks
        slots = np.concatenate([clauses, *self._expressions_holding(clauses, every)])
        masks = self._holds[2 * slots]
        self._holds[2 * slots], self._holds[2 * slots + 1] = 0, ~np.uint64(0)
        _view(self._graph.seen)[slots] += np.bitwise_count(masks)
        self._papers += len(papers)
        found = []
        for subscribers in self._subscribers:
            asked = subscribers.listing(slots)
            row, which = set_bits(masks[asked])
            ids, counts = subscribers.of(slots[asked][which])
            kept = ids != REMOVED if self._gone else slice(None)
            found.append((np.repeat(row, counts)[kept], ids[kept]))
        return found

    def _expressions_holding(self, clauses: Ints, every: np.uint64) -> list[Ints]:
        """The same of expressions, level by level: what is listed under a slot that holds is worked out once."""
        left, right, kind = _view(self._graph.left), _view(self._graph.right), _view(self._graph.kind)
        level, found, waiting = _view(self._graph.level), [], self._under(clauses)
        while len(waiting):
            levels = level[waiting]
            lowest = levels.min()
            now, waiting = waiting[levels == lowest], waiting[levels != lowest]
            # Level 0 is a slot that has become a clause since it was listed.
            if lowest > 0:
                one, other = self._holds[left[now]], self._holds[right[now]]
                masks = np.where(kind[now] == OR, one | other, one & other) & every
                new = np.flatnonzero((masks != 0) & (self._holds[2 * now] == 0))
                now, masks = now[new], masks[new]
                self._holds[2 * now] = masks
                # An expression under two slots is here twice: the last one written is kept.
                order = np.arange(len(now), dtype=np.int32)
                self._place[now] = order
                now = now[self._place[now] == order]
                found.append(now)
                waiting = np.concatenate([waiting, self._under(now)])
        return found

    def _under(self, slots: Ints) -> Ints:
        return np.concatenate([ranges.of(slots[ranges.listing(slots)])[0] for ranges in self._above])


def _by_root(roots: dict[int, int]) -> Postings:
    slots = np.fromiter(roots.values(), np.int32, len(roots))
    return Postings(slots, np.fromiter(roots.keys(), np.int64, len(roots)))


def _view(column: "array[int]") -> Ints:
    """The column itself, to be let go before the graph grows again."""
    view: Ints = np.frombuffer(column, np.dtype(column.typecode))
    return view
