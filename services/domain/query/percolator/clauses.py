"""The clauses of stored queries, each distinct one once, and which of them hold in a paper."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import reduce
from operator import and_
from typing import NamedTuple

import numpy as np

from services.domain.query.ast import (
    Author,
    Category,
    Clause,
    Exact,
    Field,
    Near,
    Phrase,
    Query,
    Source,
    Word,
)
from services.domain.query.evaluate import matches
from services.domain.query.paper_text import FieldText, PaperText, is_named, plain_category
from services.domain.query.percolator.expressions import ABSTRACT, PHRASE, TITLE, TRUE, ExpressionGraph, phrase_keys
from services.domain.query.percolator.postings import Ints, Masks, Postings
from services.domain.text.tokens import fold

_FIELD_SLOTS = {"title": TITLE, "abstract": ABSTRACT}

MAX_CACHED = 1 << 16
"""Words, categories and sources of papers whose slots are cached."""


class _Check(NamedTuple):
    """A clause that depends on positions or characters. It is evaluated when all slots in `needs` hold in the paper."""

    query: Query
    needs: tuple[int, ...]


class ClauseIndex:
    """Finds the clauses that hold in papers.

    Phrases form a trie of words, which is walked once along a paper. Other clauses are indexed by words that they need.
    """

    def __init__(self, graph: ExpressionGraph) -> None:
        self._graph = graph
        self._slots: dict[Hashable, int] = {}
        """By stem, by prefix with `*`, else by a tuple of kind or field and text."""
        self._keys: dict[int, Hashable] = {}
        self._prefix_lengths: Counter[int] = Counter()
        self._authors: defaultdict[str, dict[int, Author]] = defaultdict(dict)
        """By each key that a matching name may have, then by slot."""
        self._checks: defaultdict[int, dict[int, _Check]] = defaultdict(dict)
        """By the rarest slot that they need, then by their own slot."""
        self._needs: dict[int, tuple[int, ...]] = {}
        self._cached: dict[tuple[str, str], tuple[int, ...]] = {}
        """The slots of words, categories and sources of earlier papers."""

    def slot(self, clause: Clause, field: str) -> int:
        """The slot of the clause, a new one if no query has it. `field` is `title`, `abstract`, or empty for both."""
        match clause:
            case Phrase(words=words):
                return self._phrase(words, field)
            case Near(words=words, within=within):
                return self._checked(clause, field, (field, within, *sorted(words)))
            case Exact(text=text):
                return self._checked(clause, field, (field, text))
            case Author():
                return self._author(clause)
            case Category(text=text):
                return self._slot_of(("cat", plain_category(text)))
            case Source(text=text):
                return self._slot_of(("source", fold(text)))

    def forget(self, slots: list[int]) -> None:
        """Removes clauses that the graph has released, and the slots that only these clauses needed."""
        self._cached.clear()
        for slot in slots:
            key = self._keys.pop(slot)
            del self._slots[key]
            if isinstance(key, str) and key.endswith("*"):
                self._prefix_lengths -= Counter((len(key) - 1,))
            elif slot in self._needs:
                self._forget_check(slot)
            elif isinstance(key, tuple) and key[0] == "author":
                for name_key in key[1].query_keys:
                    _drop(self._authors, name_key, slot)

    def holding(self, papers: Sequence[PaperText]) -> tuple[Ints, Masks]:
        """The slots of clauses that hold in any of at most 64 papers, and masks of the papers in which they hold."""
        rows = [np.arange(len(papers))]
        slots: list[Ints] = [np.full(len(papers), TRUE)]
        for row, slot in self._words_and_phrases(papers):
            rows.append(row)
            slots.append(slot)
        metadata = [(row, slot) for row, paper in enumerate(papers) for slot in self._metadata(paper)]
        if metadata:
            row, slot = np.array(metadata).T
            rows.append(row)
            slots.append(slot)
        return self._with_checks(papers, *_by_slot(np.concatenate(slots), np.concatenate(rows)))

    def _words_and_phrases(self, papers: Sequence[PaperText]) -> Iterator[tuple[Ints, Ints]]:
        """(paper, slot) of every indexed word, then of every indexed phrase of two words, of three and so on."""
        placed = [(row, field) for row, paper in enumerate(papers) for field in paper.fields()]
        fields = [field for _, field in placed]
        # A gap before each field keeps phrases from spanning two fields.
        lengths = [1 + len(field.tokens) for field in fields]
        row_of = np.repeat([row for row, _ in placed], lengths)
        is_abstract = np.repeat([field.name == "abstract" for field in fields], lengths)
        at, words = self._words(fields)
        words_at = Postings(at, words)
        yield row_of[at], words
        ends, phrases = at, words
        if self._graph.references(TITLE) + self._graph.references(ABSTRACT) > 2:
            starts = np.unique(at)
            ends = np.concatenate([ends, starts - 1])
            phrases = np.concatenate([phrases, np.where(is_abstract[starts], ABSTRACT, TITLE)])
        find_slot = self._graph.slots.get
        while len(ends):
            followed = words_at.nonempty(ends + 1)
            ends = ends[followed] + 1
            words, counts = words_at.values_of(ends)
            keys = phrase_keys(np.repeat(phrases[followed], counts), words)
            phrases = np.array([find_slot(key, TRUE) for key in keys.tolist()], np.int64)
            indexed = np.flatnonzero(phrases != TRUE)
            ends, phrases = np.repeat(ends, counts)[indexed], phrases[indexed]
            yield row_of[ends], phrases

    def _words(self, fields: Sequence[FieldText]) -> tuple[Ints, Ints]:
        """(place, slot) of the words that are indexed by stem or prefix. Places are numbered through all fields."""
        find_slot, words = self._slots.get, list[int]()
        for field in fields:
            words.append(TRUE)
            if self._slots.keys().isdisjoint(field.stems.keys()):
                words += [TRUE] * len(field.tokens)
            else:
                words += [find_slot(token.stem, TRUE) for token in field.tokens]
        slots = np.array(words, np.int64)
        at = np.flatnonzero(slots != TRUE)
        prefixes = np.array([*self._prefixes(fields)] if self._prefix_lengths else [], np.int64).reshape(-1, 2)
        return np.concatenate([at, prefixes[:, 0]]), np.concatenate([slots[at], prefixes[:, 1]])

    def _prefixes(self, fields: Sequence[FieldText]) -> Iterator[tuple[int, int]]:
        """(place, slot) of the words with an indexed prefix. Each different word is looked up once."""
        distinct_words = set[str]().union(*(field.folded for field in fields))
        slots_of = {word: slots for word in distinct_words if (slots := self._indexed("word", word))}
        first = 1
        for field in fields:
            for word in slots_of.keys() & field.folded.keys():
                yield from ((first + place, slot) for place in field.folded[word] for slot in slots_of[word])
            first += 1 + len(field.tokens)

    def _metadata(self, paper: PaperText) -> Iterator[int]:
        """The slots of clauses on authors, categories and sources that hold in the paper."""
        for name in paper.names if self._authors else ():
            for key in self._authors.keys() & name.keys:
                yield from (slot for slot, author in self._authors[key].items() if is_named(author, name))
        for category in paper.categories:
            yield from self._indexed("cat", category)
        for source in paper.sources:
            yield from self._indexed("source", source)

    def _indexed(self, kind: str, text: str) -> tuple[int, ...]:
        """The slots of a word's prefixes, or of a paper's category or source, as far as they are indexed."""
        slots = self._cached.get((kind, text))
        if slots is None:
            keys: Iterable[Hashable]
            match kind:
                case "word":
                    keys = [f"{text[:length]}*" for length in self._prefix_lengths if length <= len(text)]
                case "cat":
                    keys = {(kind, pattern) for pattern in _patterns(text)}
                case _:
                    keys = [(kind, fold(text))]
            if len(self._cached) >= MAX_CACHED:
                self._cached.clear()
            slots = self._cached[kind, text] = tuple(self._slots[key] for key in keys if key in self._slots)
        return slots

    def _with_checks(self, papers: Sequence[PaperText], slots: Ints, masks: Masks) -> tuple[Ints, Masks]:
        if not self._checks:
            return slots, masks
        holds = dict(zip(slots.tolist(), masks.tolist(), strict=True))
        checked = {}
        for trigger in self._checks.keys() & holds.keys():
            for slot, check in self._checks[trigger].items():
                candidates = reduce(and_, (holds.get(need, 0) for need in check.needs))
                rows = [
                    row for row, paper in enumerate(papers) if candidates >> row & 1 and matches(check.query, paper)
                ]
                if rows:
                    checked[slot] = sum(1 << row for row in rows)
        checked_slots = np.fromiter(checked.keys(), np.int64, len(checked))
        return np.concatenate([slots, checked_slots]), np.concatenate([masks, np.array([*checked.values()], np.uint64)])

    def _phrase(self, words: Sequence[Word], field: str) -> int:
        phrase = _FIELD_SLOTS.get(field)
        for word in words:
            single = self._word(word)
            phrase = single if phrase is None else self._graph.pair(PHRASE, 2 * phrase, 2 * single)
        assert phrase is not None
        return phrase

    def _word(self, word: Word) -> int:
        if not word.prefix:
            return self._slot_of(word.text)
        prefix = f"{word.text}*"
        self._prefix_lengths[len(word.text)] += prefix not in self._slots
        return self._slot_of(prefix)

    def _slot_of(self, key: Hashable) -> int:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._graph.add_clause()
            self._keys[slot] = key
            self._cached.clear()
        return slot

    def _author(self, author: Author) -> int:
        slot = self._slot_of(("author", author.name))
        for key in author.name.query_keys:
            self._authors[key][slot] = author
        return slot

    def _checked(self, clause: Near | Exact, field: str, key: Hashable) -> int:
        slot = self._slot_of(key)
        if slot not in self._needs:
            parts = [(word,) for word in clause.words] if isinstance(clause, Near) else [clause.words]
            needs = tuple(self._phrase(words, field) for words in parts)
            for need in needs:
                self._graph.retain(need)
            # The rarest comes first: the check is indexed by it.
            needs = self._needs[slot] = tuple(sorted(needs, key=self._graph.frequency.__getitem__))
            self._checks[needs[0]][slot] = _Check(Field(field, clause) if field else clause, needs)
        return slot

    def _forget_check(self, slot: int) -> None:
        needs = self._needs.pop(slot)
        _drop(self._checks, needs[0], slot)
        for need in needs:
            self.forget(self._graph.release(need))


def _drop(index: dict[str, dict[int, Author]] | dict[int, dict[int, _Check]], key: object, slot: int) -> None:
    slots = index[key]  # type: ignore[index]
    del slots[slot]
    if not slots:
        del index[key]  # type: ignore[arg-type]


def _by_slot(slots: Ints, rows: Ints) -> tuple[Ints, Masks]:
    """Each slot once, with its rows as bits of a mask."""
    order = np.argsort(slots)
    slots, bits = slots[order], np.left_shift(np.uint64(1), rows[order].astype(np.uint64))
    first = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    return slots[first], np.bitwise_or.reduceat(bits, first)


def _patterns(category: str) -> list[str]:
    """Every text of a `cat:` clause that holds for the category, as `is_below` defines."""
    plain = plain_category(category)
    parents = [plain[:at] for at, character in enumerate(plain) if character == "."]
    return [plain, *parents, *(f"{plain[:end]}*" for end in range(len(plain) + 1))]
