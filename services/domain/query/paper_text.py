"""The parts of a paper that queries read, normalised once, and the places where a clause holds."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from services.domain.papers.paper import Paper
from services.domain.query.ast import Author, Category, Exact, Near, Phrase, Word
from services.domain.text.latex import readable, searchable
from services.domain.text.person_names import PersonName, may_be, read_name
from services.domain.text.tokens import Token, tokens

Span = tuple[int, int]
"""Start and end, in characters of the field's text."""


@dataclass(frozen=True)
class FieldText:
    """Title or abstract. Its words are computed when they are first read."""

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
        """Where the clause holds: each whole phrase, or each word of a window that contains all words."""
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
        return sorted(
            at for folded, positions in self.folded.items() if folded.startswith(word.text) for at in positions
        )

    def _runs(self, words: Sequence[Word]) -> Iterator[int]:
        """The positions of the first word where the others follow directly."""
        first, *others = [self._positions(word) for word in words]
        if not others or not all(others):
            return iter(() if others else first)
        following = [frozenset(positions) for positions in others]
        return (at for at in first if all(at + offset in there for offset, there in enumerate(following, start=1)))

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
        occurrences = sorted((at, word) for word in clause.words for at in self._positions(word))
        in_window: Counter[Word] = Counter()
        first = yielded = 0
        for last, (at, word) in enumerate(occurrences):
            in_window[word] += 1
            while occurrences[first][0] < at - clause.within:
                in_window[occurrences[first][1]] -= 1
                first += 1
            if all(in_window[word] for word in clause.words):
                positions = sorted({at for at, _ in occurrences[max(first, yielded) : last + 1]})
                yield from ((self.tokens[at].start, self.tokens[at].end) for at in positions)
                yielded = last + 1


def _positions(words: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    positions = defaultdict[str, list[int]](list)
    for word, position in words:
        positions[word].append(position)
    return dict(positions)


@dataclass(frozen=True)
class PaperText:
    """A paper's words, authors, categories and sources, built once for all queries."""

    title: FieldText
    abstract: FieldText
    authors: tuple[str, ...]
    categories: tuple[str, ...]
    sources: tuple[str, ...]
    other_forms: tuple[FieldText, ...] = ()
    """Other ways to write words with formulas, such as `CO2` and `CO 2`, where title or abstract have any."""

    @classmethod
    def of(cls, paper: Paper) -> PaperText:
        title, title_forms = searchable(paper.title)
        abstract, abstract_forms = searchable(paper.abstract)
        forms = (("title", title_forms), ("abstract", abstract_forms))
        return cls(
            title=FieldText("title", title),
            abstract=FieldText("abstract", abstract),
            authors=tuple(map(readable, paper.authors)),
            categories=paper.categories,
            sources=paper.sources,
            other_forms=tuple(FieldText(name, text) for name, text in forms if text),
        )

    @cached_property
    def names(self) -> tuple[PersonName, ...]:
        """The authors' names, read when a query first asks for an author: reading one takes about 30 microseconds."""
        return tuple(map(read_name, self.authors))

    def fields(self, name: str = "") -> tuple[FieldText, ...]:
        """The texts in which a clause of the field `name` is evaluated; all without a name."""
        match name:
            case "title":
                texts: tuple[FieldText, ...] = (self.title,)
            case "abstract":
                texts = (self.abstract,)
            case _:
                return (self.title, self.abstract, *self.other_forms)
        return (*texts, *(form for form in self.other_forms if form.name == name)) if self.other_forms else texts


def is_named(author: Author, name: PersonName) -> bool:
    """Whether a paper's author of this name may be the person that the clause asks for."""
    return may_be(author.name, name)


def is_below(category: Category, paper_category: str) -> bool:
    """Whether the paper's category equals the clause's, is below it, or begins with its text before `*`."""
    wanted, actual = plain_category(category.text), plain_category(paper_category)
    if wanted.endswith("*"):
        return actual.startswith(wanted[:-1])
    return actual == wanted or actual.startswith(f"{wanted}.")


def plain_category(category: str) -> str:
    return " ".join(category.casefold().replace("_", " ").split())
