"""What queries ask of a paper, normalised once, and where in it a clause holds."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from services.domain.papers.paper import Paper
from services.domain.query.ast import Author, Category, Exact, Near, Phrase, Word, is_initial
from services.domain.text.latex import words
from services.domain.text.tokens import Token, fold, tokens

Span = tuple[int, int]
"""Start and end, in characters of the field's text."""


@dataclass(frozen=True)
class FieldText:
    """Title or abstract; its words are looked for when they are asked for first."""

    name: str
    text: str

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        return tokens(self.text)

    @cached_property
    def stems(self) -> Mapping[str, Sequence[int]]:
        """The ascending positions of each stem."""
        return _positions((token.stem, token.position) for token in self.tokens)

    @cached_property
    def folded(self) -> Mapping[str, Sequence[int]]:
        """The ascending positions of each folded word."""
        return _positions((token.folded, token.position) for token in self.tokens)

    def spans(self, clause: Phrase | Near | Exact) -> Iterator[Span]:
        """Where the clause holds: whole phrases, or the words of a stretch where they are near."""
        match clause:
            case Phrase(words=words):
                return self._phrases(words)
            case Near():
                return self._near(clause)
            case Exact():
                return self._exact(clause)

    def _positions(self, word: Word) -> Sequence[int]:
        if not word.prefix:
            return self.stems.get(word.text, ())
        return sorted(at for folded, places in self.folded.items() if folded.startswith(word.text) for at in places)

    def _runs(self, words: Sequence[Word]) -> Iterator[int]:
        """The positions where the words begin to follow each other."""
        first, *others = [self._positions(word) for word in words]
        if not others or not all(others):
            return iter(() if others else first)
        rest = [frozenset(places) for places in others]
        return (at for at in first if all(at + offset in places for offset, places in enumerate(rest, start=1)))

    def _phrases(self, words: Sequence[Word]) -> Iterator[Span]:
        for at in self._runs(words):
            yield self.tokens[at].start, self.tokens[at + len(words) - 1].end

    def _exact(self, clause: Exact) -> Iterator[Span]:
        wanted = unicodedata.normalize("NFC", clause.text)
        for at in self._runs(clause.words):
            start = self.tokens[at].start - clause.lead
            end = self.tokens[at + len(clause.words) - 1].end + clause.trail
            if unicodedata.normalize("NFC", self.text[start:end]) == wanted:
                yield start, end

    def _near(self, clause: Near) -> Iterator[Span]:
        events = sorted((at, word) for word in clause.words for at in self._positions(word))
        inside: Counter[Word] = Counter()
        first = shown = 0
        for last, (at, word) in enumerate(events):
            inside[word] += 1
            while events[first][0] < at - clause.within:
                gone = events[first][1]
                inside[gone] -= 1
                first += 1
            if all(inside[word] for word in clause.words):
                yield from self._spans_at(sorted({at for at, _ in events[max(first, shown) : last + 1]}))
                shown = last + 1

    def _spans_at(self, positions: Sequence[int]) -> Iterator[Span]:
        return ((self.tokens[at].start, self.tokens[at].end) for at in positions)


def _positions(words: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found = defaultdict[str, list[int]](list)
    for word, position in words:
        found[word].append(position)
    return dict(found)


@dataclass(frozen=True, slots=True)
class PaperText:
    """A paper's words, authors, categories and sources; built once, asked by every query."""

    title: FieldText
    abstract: FieldText
    authors: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    """The folded words of each author."""
    categories: tuple[str, ...]
    sources: tuple[str, ...]

    @classmethod
    def of(cls, paper: Paper) -> PaperText:
        return cls(
            title=FieldText("title", words(paper.title)),
            abstract=FieldText("abstract", words(paper.abstract)),
            authors=paper.authors,
            names=tuple(tuple(fold(words(author)).split()) for author in paper.authors),
            categories=paper.categories,
            sources=paper.sources,
        )

    def fields(self, name: str = "") -> tuple[FieldText, ...]:
        """The texts that a clause in the field `name` is looked for in; both without a name."""
        match name:
            case "title":
                return (self.title,)
            case "abstract":
                return (self.abstract,)
        return (self.title, self.abstract)


def is_named(author: Author, names: Sequence[str]) -> bool:
    """Whether a person of these folded names may be the author, in whatever order either is written.

    At least one whole name is the same. Beyond that a name and an initial agree, and the paper may have further
    names; the query may have further initials only (`Geoffrey E. Hinton`) where two whole names are the same and
    the paper's are used up.
    """
    theirs, ours = list(names), list(author.names)
    for name in author.names:
        if name in theirs and not is_initial(name):
            theirs.remove(name)
            ours.remove(name)
    same = len(author.names) - len(ours)
    # Whole names first: they can take nothing but an initial, while an initial can take either.
    for name in sorted(ours, key=len, reverse=True):
        agreeing = [other for other in theirs if _agree(name, other)]
        if agreeing:
            theirs.remove(min(agreeing, key=len))
            ours.remove(name)
    return same > 0 and (not ours or (same > 1 and not theirs and all(map(is_initial, ours))))


def is_below(category: Category, paper_category: str) -> bool:
    """Whether the paper's category is the one asked for, below it, or begins as a pattern with `*` does."""
    wanted, have = plain_category(category.text), plain_category(paper_category)
    if wanted.endswith("*"):
        return have.startswith(wanted[:-1])
    return have == wanted or have.startswith(f"{wanted}.")


def _agree(name: str, other: str) -> bool:
    return name[0] == other[0] and (is_initial(name) or is_initial(other))


def plain_category(category: str) -> str:
    return " ".join(category.casefold().replace("_", " ").split())
