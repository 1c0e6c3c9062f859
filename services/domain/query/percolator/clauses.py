"""The clauses of standing queries, each distinct one once, and which of them hold in a paper."""

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
    is_initial,
)
from services.domain.query.evaluate import matches
from services.domain.query.paper_text import FieldText, PaperText, is_named, plain_category
from services.domain.query.percolator.expressions import ABSTRACT, PHRASE, TITLE, TRUE, ExpressionGraph, phrase_keys
from services.domain.query.percolator.postings import Ints, Masks, Postings
from services.domain.text.tokens import fold

_ROOTS = {"title": TITLE, "abstract": ABSTRACT}

MAX_CACHED = 1 << 16
"""Words, categories and sources of papers whose meaning is kept."""


class _Check(NamedTuple):
    """A clause that positions or characters decide, asked of the paper when all that it needs is there."""

    query: Query
    needs: tuple[int, ...]


class ClauseIndex:
    """Phrases stand as a tree of words, walked once along a paper; other clauses under words of their own."""

    def __init__(self, graph: ExpressionGraph) -> None:
        self._graph = graph
        self._slots: dict[Hashable, int] = {}
        """By stem, by beginning with `*`, else by kind or field and what is asked."""
        self._keys: dict[int, Hashable] = {}
        self._lengths: Counter[int] = Counter()
        """Of the beginnings."""
        self._authors: defaultdict[str, dict[int, Author]] = defaultdict(dict)
        """By each whole name."""
        self._checks: defaultdict[int, dict[int, _Check]] = defaultdict(dict)
        """By the rarest slot they need."""
        self._needs: dict[int, tuple[int, ...]] = {}
        self._known: dict[tuple[str, str], tuple[int, ...]] = {}
        """What was found of those met so far."""

    def slot(self, clause: Clause, field: str) -> int:
        """The clause's number, a new one where it was never asked; in a field other than title and abstract in both."""
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
                return self._named(("cat", plain_category(text)))
            case Source(text=text):
                return self._named(("source", fold(text)))

    def forget(self, slots: list[int]) -> None:
        """Drops clauses that the graph has released, and what only they needed."""
        self._known.clear()
        for slot in slots:
            asked = self._keys.pop(slot)
            del self._slots[asked]
            if isinstance(asked, str) and asked.endswith("*"):
                self._lengths -= Counter((len(asked) - 1,))
            elif slot in self._needs:
                self._forget_check(slot)
            elif isinstance(asked, tuple) and asked[0] == "author":
                for name in {*asked[1:]} & self._authors.keys():
                    _drop(self._authors, name, slot)

    def holding(self, papers: Sequence[PaperText]) -> tuple[Ints, Masks]:
        """The slots that hold in any of at most 64 papers, each once, and of which papers: a bit for each."""
        rows = [np.arange(len(papers))]
        slots: list[Ints] = [np.full(len(papers), TRUE)]
        for row, slot in self._said(papers):
            rows.append(row)
            slots.append(slot)
        named = [(row, slot) for row, paper in enumerate(papers) for slot in self._about(paper)]
        if named:
            row, slot = np.array(named).T
            rows.append(row)
            slots.append(slot)
        return self._with_checks(papers, *_by_slot(np.concatenate(slots), np.concatenate(rows)))

    def _said(self, papers: Sequence[PaperText]) -> Iterator[tuple[Ints, Ints]]:
        """(paper, slot) of every word that is asked for, then of every phrase of two words, of three and so on."""
        fields = [field for paper in papers for field in (paper.title, paper.abstract)]
        # Before each field is a gap, so that no phrase goes from one to the next.
        field_of = np.repeat(np.arange(len(fields)), [1 + len(field.tokens) for field in fields])
        at, words = self._words(fields)
        said = Postings(at, words)
        yield field_of[at] >> 1, words
        ends, phrases = at, words
        if self._graph.users(TITLE) + self._graph.users(ABSTRACT) > 2:
            begins = np.unique(at)
            ends = np.concatenate([ends, begins - 1])
            phrases = np.concatenate([phrases, np.where(field_of[begins] & 1, ABSTRACT, TITLE)])
        longer = self._graph.slots.get
        while len(ends):
            followed = said.listing(ends + 1)
            ends = ends[followed] + 1
            words, counts = said.of(ends)
            keys = phrase_keys(np.repeat(phrases[followed], counts), words)
            phrases = np.array([longer(key, TRUE) for key in keys.tolist()], np.int64)
            asked = np.flatnonzero(phrases != TRUE)
            ends, phrases = np.repeat(ends, counts)[asked], phrases[asked]
            yield field_of[ends] >> 1, phrases

    def _words(self, fields: Sequence[FieldText]) -> tuple[Ints, Ints]:
        """(place, slot) of the words that are asked for by stem or beginning; places count through all fields."""
        slot, words = self._slots.get, list[int]()
        for field in fields:
            words.append(TRUE)
            if self._slots.keys().isdisjoint(field.stems.keys()):
                words += [TRUE] * len(field.tokens)
            else:
                words += [slot(token.stem, TRUE) for token in field.tokens]
        slots = np.array(words, np.int64)
        at = np.flatnonzero(slots != TRUE)
        begun = np.array([*self._begun(fields)] if self._lengths else [], np.int64).reshape(-1, 2)
        return np.concatenate([at, begun[:, 0]]), np.concatenate([slots[at], begun[:, 1]])

    def _begun(self, fields: Sequence[FieldText]) -> Iterator[tuple[int, int]]:
        """(place, slot) of the words that begin as is asked for; each different word is looked at once."""
        different = set[str]().union(*(field.folded for field in fields))
        meant = {word: slots for word in different if (slots := self._asked("word", word))}
        first = 1
        for field in fields:
            for word in meant.keys() & field.folded.keys():
                yield from ((first + place, slot) for place in field.folded[word] for slot in meant[word])
            first += 1 + len(field.tokens)

    def _about(self, paper: PaperText) -> Iterator[int]:
        """What is asked of the paper's authors, categories and sources and holds."""
        for names in paper.names if self._authors else ():
            for name in self._authors.keys() & {*names}:
                yield from (slot for slot, author in self._authors[name].items() if is_named(author, names))
        for category in paper.categories:
            yield from self._asked("cat", category)
        for source in paper.sources:
            yield from self._asked("source", source)

    def _asked(self, kind: str, text: str) -> tuple[int, ...]:
        """The slots under which a word's beginnings, a category or a source of a paper are asked for."""
        slots = self._known.get((kind, text))
        if slots is None:
            asked: Iterable[Hashable]
            match kind:
                case "word":
                    asked = [f"{text[:length]}*" for length in self._lengths if length <= len(text)]
                case "cat":
                    asked = {(kind, pattern) for pattern in _patterns(text)}
                case _:
                    asked = [(kind, fold(text))]
            if len(self._known) >= MAX_CACHED:
                self._known.clear()
            slots = self._known[kind, text] = tuple(self._slots[one] for one in asked if one in self._slots)
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
        more = np.fromiter(checked.keys(), np.int64, len(checked))
        return np.concatenate([slots, more]), np.concatenate([masks, np.array([*checked.values()], np.uint64)])

    def _phrase(self, words: Sequence[Word], field: str) -> int:
        phrase = _ROOTS.get(field)
        for word in words:
            single = self._word(word)
            phrase = single if phrase is None else self._graph.pair(PHRASE, 2 * phrase, 2 * single)
        assert phrase is not None
        return phrase

    def _word(self, word: Word) -> int:
        if not word.prefix:
            return self._named(word.text)
        asked = f"{word.text}*"
        self._lengths[len(word.text)] += asked not in self._slots
        return self._named(asked)

    def _named(self, asked: Hashable) -> int:
        slot = self._slots.get(asked)
        if slot is None:
            slot = self._slots[asked] = self._graph.clause()
            self._keys[slot] = asked
            self._known.clear()
        return slot

    def _author(self, author: Author) -> int:
        slot = self._named(("author", *author.names))
        for name in author.names:
            if not is_initial(name):
                self._authors[name][slot] = author
        return slot

    def _checked(self, clause: Near | Exact, field: str, asked: Hashable) -> int:
        slot = self._named(asked)
        if slot not in self._needs:
            parts = [(word,) for word in clause.words] if isinstance(clause, Near) else [clause.words]
            needs = tuple(self._phrase(words, field) for words in parts)
            for need in needs:
                self._graph.hold(need)
            # The rarest first: it is the one the clause waits under.
            needs = self._needs[slot] = tuple(sorted(needs, key=self._graph.seen.__getitem__))
            self._checks[needs[0]][slot] = _Check(Field(field, clause) if field else clause, needs)
        return slot

    def _forget_check(self, slot: int) -> None:
        needs = self._needs.pop(slot)
        _drop(self._checks, needs[0], slot)
        for need in needs:
            self.forget(self._graph.release(need))


def _drop(listed: dict[str, dict[int, Author]] | dict[int, dict[int, _Check]], place: object, slot: int) -> None:
    under = listed[place]  # type: ignore[index]
    del under[slot]
    if not under:
        del listed[place]  # type: ignore[arg-type]


def _by_slot(slots: Ints, rows: Ints) -> tuple[Ints, Masks]:
    """Each slot once, with its rows as bits."""
    order = np.argsort(slots)
    slots, bits = slots[order], np.left_shift(np.uint64(1), rows[order].astype(np.uint64))
    first = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    return slots[first], np.bitwise_or.reduceat(bits, first)


def _patterns(category: str) -> list[str]:
    """All that can be asked of a category so that it is the one, below it, or begins so; see `is_below`."""
    have = plain_category(category)
    above = [have[:at] for at, character in enumerate(have) if character == "."]
    return [have, *above, *(f"{have[:end]}*" for end in range(len(have) + 1))]
