"""The percolator: an index of stored queries against which papers are run. Its answers equal `evaluate.matches`.

A batch has as many papers as a machine word has bits. One bit for each paper says where a clause holds, so a query
costs the same for one paper and for 64. Only queries whose rarest clause holds in some paper are evaluated.
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
"""Papers in one batch: one bit for each."""
MIN_CHANGES = 4096
"""The large index is rebuilt after this many changes, or an eighth of the queries if that is more."""
REMOVED = np.iinfo(np.int64).min


class Percolator:
    """Queries by subscription id. They can be added, replaced and removed in place.

    Queries added since the last rebuild are in a second, small index beside the large one.
    """

    def __init__(self) -> None:
        self._graph = ExpressionGraph()
        self._clauses = ClauseIndex(self._graph)
        self._roots: dict[int, int] = {}
        """The expression of each subscription."""
        self._recent: dict[int, int] = {}
        """The expressions of subscriptions that are not in the large index yet."""
        self._removed = 0
        self._papers = self._papers_at_rebuild = 0
        self._changed = False
        self._parents = [Postings.empty(), Postings.empty()]
        """By slot, the expressions to evaluate once it holds: in the large index and in the recent one."""
        self._subscribers = [Postings.empty(), Postings.empty()]
        self._masks = np.empty(0, np.uint64)
        """By literal, the papers of the batch in which it holds. Between two batches no clause holds in any paper."""
        self._last_place = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._roots)

    @property
    def distinct(self) -> int:
        """The number of different clauses and expressions of all queries."""
        return len(self._graph)

    def put(self, id: int, query: Query) -> None:
        """Adds a query or replaces the one of the same id."""
        root = self._root(query)
        if self._roots.get(id) == root:
            return
        self._graph.retain(root)
        self.remove(id)
        self._roots[id] = self._recent[id] = root
        self._changed = True

    def build(self, pairs: Iterable[tuple[int, Query]]) -> None:
        """Adds many queries and builds the index now instead of at the next match."""
        for id, query in pairs:
            self.put(id, query)
        self._rebuild()

    def remove(self, id: int) -> None:
        """Does nothing if there is no query of this id."""
        root = self._roots.pop(id, None)
        if root is None:
            return
        if self._recent.pop(id, None) is None:
            ids = self._subscribers[0].view(root)
            ids[ids == id] = REMOVED
            self._removed += 1
        self._changed = True
        self._clauses.forget(self._graph.release(root))

    def match(self, papers: Sequence[PaperText]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of papers and ids of subscriptions: each matching pair once, in no particular order."""
        self._refresh()
        rows, ids = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start in range(0, len(papers), BATCH_SIZE):
            for batch_rows, batch_ids in self._batch(papers[start : start + BATCH_SIZE]):
                rows.append(batch_rows + start)
                ids.append(batch_ids)
        return np.concatenate(rows), np.concatenate(ids)

    def _root(self, query: Query) -> int:
        literal = self._literal(query, "", False)
        # A root is a slot, so it cannot be negated. A negated clause becomes a conjunction with `TRUE`.
        return self._graph.pair(AND, literal, 2 * TRUE) if literal & 1 else literal >> 1

    def _literal(self, query: Query, field: str, negated: bool) -> int:
        """Moves negations and fields down to the clauses, which leaves clauses joined by AND and OR."""
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
        """The rarest operand comes first and negated ones last, since an expression is evaluated where the first holds.

        Of equally rare clauses the newest comes first: a clause that queries had late is likely rarer in papers, too.
        """
        frequency = self._graph.frequency
        ordered = sorted(literals, key=lambda literal: (literal & 1, frequency[literal >> 1], -literal))
        return reduce(lambda left, right: 2 * self._graph.pair(AND, left, right), ordered) if ordered else 2 * TRUE

    def _any(self, literals: Sequence[int]) -> int:
        """A balanced tree, so that many alternatives need few levels."""
        if len(literals) < 2:
            return literals[0] if literals else 2 * TRUE + 1
        half = len(literals) // 2
        return 2 * self._graph.pair(OR, self._any(literals[:half]), self._any(literals[half:]))

    def _refresh(self) -> None:
        """Updates the recent index, or rebuilds both: after many changes, or when twice as many papers were counted."""
        changes = len(self._recent) + len(self._graph.new_expressions) + self._removed
        if changes > max(MIN_CHANGES, len(self) // 8) or self._papers > 2 * self._papers_at_rebuild + BATCH_SIZE:
            self._rebuild()
        elif self._changed:
            self._parents[1] = self._by_anchor(np.unique(np.array(self._graph.new_expressions, np.int32)))
            self._subscribers[1] = _by_root(self._recent)
        self._changed = False
        self._grow()

    def _rebuild(self) -> None:
        self._parents = [self._by_anchor(np.arange(self._graph.size, dtype=np.int32)), Postings.empty()]
        self._subscribers = [_by_root(self._roots), Postings.empty()]
        self._graph.new_expressions.clear()
        self._recent.clear()
        self._removed, self._papers_at_rebuild, self._changed = 0, self._papers, False

    def _grow(self) -> None:
        if len(self._last_place) < self._graph.size:
            size = self._graph.size * 5 // 4
            self._masks = np.tile(np.array([0, ~np.uint64(0)], np.uint64), size)
            self._last_place = np.empty(size, np.int32)

    def _by_anchor(self, slots: Ints) -> Postings:
        """The expressions among the slots by their anchor: an operand that must hold for the expression to hold.

        The anchor of `AND` is its rarer operand that is not negated. `OR` has two anchors. An expression that can hold
        while no operand holds has the anchor `TRUE`.
        """
        kind, frequency = _view(self._graph.kind)[slots], _view(self._graph.frequency)
        left, right = _view(self._graph.left)[slots], _view(self._graph.right)[slots]
        left_negated, right_negated, is_or = left & 1 == 1, right & 1 == 1, kind == OR
        on_right = left_negated | (~right_negated & (frequency[right >> 1] < frequency[left >> 1]))
        anchor = np.where(~is_or & on_right, right, left) >> 1
        anchor[np.where(is_or, left_negated | right_negated, left_negated & right_negated)] = TRUE
        is_expression, has_second = kind >= AND, is_or & (anchor != TRUE)
        anchors = np.concatenate([anchor[is_expression], right[has_second] >> 1])
        return Postings(anchors, np.concatenate([slots[is_expression], slots[has_second]]))

    def _batch(self, papers: Sequence[PaperText]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """(rows, ids) of the matching pairs, from each index."""
        all_papers = np.uint64((1 << len(papers)) - 1)
        clauses, masks = self._clauses.holding(papers)
        self._masks[2 * clauses], self._masks[2 * clauses + 1] = masks, ~masks
        slots = np.concatenate([clauses, *self._expressions_holding(clauses, all_papers)])
        masks = self._masks[2 * slots]
        self._masks[2 * slots], self._masks[2 * slots + 1] = 0, ~np.uint64(0)
        _view(self._graph.frequency)[slots] += np.bitwise_count(masks)
        self._papers += len(papers)
        pairs = []
        for subscribers in self._subscribers:
            subscribed = subscribers.nonempty(slots)
            row, which = set_bits(masks[subscribed])
            ids, counts = subscribers.values_of(slots[subscribed][which])
            kept = ids != REMOVED if self._removed else slice(None)
            pairs.append((np.repeat(row, counts)[kept], ids[kept]))
        return pairs

    def _expressions_holding(self, clauses: Ints, all_papers: np.uint64) -> list[Ints]:
        """The expressions that hold in any paper of the batch. They are evaluated level by level, each once."""
        left, right, kind = _view(self._graph.left), _view(self._graph.right), _view(self._graph.kind)
        level, holding, pending = _view(self._graph.level), [], self._parents_of(clauses)
        while len(pending):
            levels = level[pending]
            lowest = levels.min()
            slots, pending = pending[levels == lowest], pending[levels != lowest]
            # A slot of level 0 was reused for a clause after it was listed.
            if lowest > 0:
                left_masks, right_masks = self._masks[left[slots]], self._masks[right[slots]]
                masks = np.where(kind[slots] == OR, left_masks | right_masks, left_masks & right_masks) & all_papers
                new = np.flatnonzero((masks != 0) & (self._masks[2 * slots] == 0))
                slots, masks = slots[new], masks[new]
                self._masks[2 * slots] = masks
                # An expression with two anchors can be here twice. The place that was written last is kept.
                order = np.arange(len(slots), dtype=np.int32)
                self._last_place[slots] = order
                slots = slots[self._last_place[slots] == order]
                holding.append(slots)
                pending = np.concatenate([pending, self._parents_of(slots)])
        return holding

    def _parents_of(self, slots: Ints) -> Ints:
        return np.concatenate([parents.values_of(slots[parents.nonempty(slots)])[0] for parents in self._parents])


def _by_root(roots: dict[int, int]) -> Postings:
    slots = np.fromiter(roots.values(), np.int32, len(roots))
    return Postings(slots, np.fromiter(roots.keys(), np.int64, len(roots)))


def _view(column: "array[int]") -> Ints:
    """A view of the column. It must not be alive when the graph grows, since a viewed array cannot be resized."""
    view: Ints = np.frombuffer(column, np.dtype(column.typecode))
    return view
