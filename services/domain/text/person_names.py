"""Names of people as bibliographies write them, and whether two names may be one person's.

A name is read in every order that its form allows, each with a family name and given names in order:
`Yann LeCun`, `LeCun, Yann`, `Smith JA` (the Vancouver form, ICMJE Recommendations IV.A.3.g), `王伟`.
A family name is compared with a family name only, given names with given names in order.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from services.domain.text.tokens import fold

PARTICLES = frozenset(
    [
        "af", "al", "ap", "bin", "d", "da", "dal", "dalla", "das", "de", "degli", "dei", "del", "dela", "della", "den",
        "der", "des", "di", "do", "dos", "du", "el", "het", "ibn", "la", "las", "le", "lo", "los", "san", "st", "t",
        "te", "ten", "ter", "van", "vande", "vanden", "vander", "ver", "vom", "von", "y", "zu", "zum", "zur",
    ]
)  # fmt: skip
"""Words before a family name that some sources leave out and others sort by."""
SUFFIXES = frozenset(
    [
        "jr", "sr", "junior", "senior", "ii", "iii", "iv", "phd", "md", "msc", "bsc", "dr", "prof",
    ]
)  # fmt: skip
COLLECTIVES = frozenset(
    [
        "collaboration", "collaborations", "consortium", "team", "group", "groups", "project", "network", "initiative",
        "committee", "working", "survey", "experiment", "society", "university", "institute", "laboratory", "lab",
    ]
)  # fmt: skip
"""Words that only an organisation's name has."""
MAX_WORDS = 12
"""Words of a person's name; a longer one is an organisation's."""
_CAPITALS = re.compile(r"[B-DF-HJ-NP-TV-XZ]{2,3}|[A-Z][B-DF-HJ-NP-TV-XZ]{1,2}")
"""Two or three initials without points, unless a vowel may make a short name of them, as in `LI`."""
_VANCOUVER = re.compile(r"[A-Z]{1,3}(-[A-Z]{1,2})?")

_PUNCTUATION = str.maketrans("‐‑‒–−，、", "-----,,")
"""Hyphens as publishers' pages have them, and the commas of other scripts."""

Given = tuple[str, ...]
"""Given names in order, folded; the second half of a hyphenated one begins with `-`."""


class _Unit(NamedTuple):
    """A word of a name between blanks, and its folded words: `J.-P.` has two."""

    raw: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """One order of a name: the spellings of its family name, joined and folded, and its given names."""

    family: frozenset[str]
    given: Given
    reversed: bool = False
    """The family name comes first although nothing says so."""


@dataclass(frozen=True)
class PersonName:
    readings: tuple[Reading, ...]
    words: tuple[str, ...]
    """All folded words; of an organisation they are all that counts."""
    is_collective: bool = False

    @cached_property
    def keys(self) -> frozenset[str]:
        """What an index finds a paper's author by: the family name, alone and with the initial of each given name.

        An organisation has its words, each after `&`.
        """
        if self.is_collective:
            return frozenset(_collective_key(word) for word in self.words)
        return frozenset(
            key
            for reading in self.readings
            for family in reading.family
            for key in (*([] if reading.reversed and reading.given else [family]), *_initial_keys(family, reading))
        )

    @cached_property
    def query_keys(self) -> frozenset[str]:
        """An author who may be the person that this name asks for has one of these keys."""
        persons = (
            key
            for reading in self.readings
            for family in reading.family
            for key in (_initial_keys(family, reading) if reading.given else [family])
        )
        distinctive = [word for word in self.words if word not in COLLECTIVES] or self.words
        return frozenset([*persons, *(_collective_key(word) for word in distinctive[-1:])])

    @property
    def is_found_by_keys_alone(self) -> bool:
        """Whether every author who has one of the `query_keys` may be the person."""
        return len(self.words) == 1 and not self.is_collective


@lru_cache(1 << 16)
def read_name(text: str) -> PersonName:
    """The name in every order that it may be meant in; no reading where there is no letter in it."""
    units = [_Unit(raw, tuple(fold(raw).split())) for raw in text.translate(_PUNCTUATION).replace(",", " , ").split()]
    words = tuple(word for unit in units for word in unit.words)
    if not words:
        return PersonName((), ())
    if len(words) > MAX_WORDS or not COLLECTIVES.isdisjoint(words):
        return PersonName((), words, is_collective=True)
    return PersonName(tuple(dict.fromkeys(_readings(units, words))), words)


def may_be(asked: PersonName, name: PersonName) -> bool:
    """Whether `name`, a paper's author, may be the person that `asked` names.

    One word is asked for as a family name. Otherwise the family names are equal, and the given names are equal or
    abbreviate each other in order. Where both write a further name out, the two must be equal.
    """
    if asked.is_collective or name.is_collective:
        return name.is_collective and bool(asked.words) and set(asked.words) <= set(name.words)
    return any(
        not one.family.isdisjoint(other.family) and _given_agree(one, other)
        for one in asked.readings
        for other in name.readings
    )


def _readings(units: Sequence[_Unit], words: tuple[str, ...]) -> Iterator[Reading]:
    if all(len(word) == 1 and word.upper() == word for word in words):  # ideographs: the family name comes first
        yield from (Reading(_spellings(words[:n]), words[n:]) for n in (1, 2) if n < max(len(words), 2))
        return
    parts = [part for part in _between_commas(units) if not SUFFIXES.issuperset(word for u in part for word in u.words)]
    if len(parts) > 1:
        yield from _stated(parts[0], [unit for part in parts[1:] for unit in part])
        return
    plain = parts[0] if parts else [unit for unit in units if unit.words]
    while len(plain) > 1 and SUFFIXES.issuperset(plain[-1].words):
        plain.pop()
    if len(plain) > 2 and any(unit.raw not in PARTICLES for unit in plain):
        while plain[-1].raw in PARTICLES:  # `Vries J de`, as MEDLINE may write it
            plain.insert(0, plain.pop())
    if len(plain) == 1:
        yield Reading(_spellings(plain[0].words), ())
        return
    yield from _family_and_initials(plain)
    yield from _natural(plain)


def _between_commas(units: Sequence[_Unit]) -> list[list[_Unit]]:
    parts: list[list[_Unit]] = [[]]
    for unit in units:
        if unit.raw == ",":
            parts.append([])
        elif unit.words:
            parts[-1].append(unit)
    return [part for part in parts if part]


def _stated(family: Sequence[_Unit], given: list[_Unit]) -> Iterator[Reading]:
    """`Family, Given`; a particle may stand at the end, as in `Beethoven, Ludwig van`."""
    while given and PARTICLES.issuperset(given[-1].words):
        given.pop()
    spellings = _spellings(_words(family))
    yield Reading(spellings, _given(given))
    if len(given) == 1 and _is_vancouver(given[0], family):
        yield Reading(spellings, _letters(given[0]))


def _family_and_initials(units: Sequence[_Unit]) -> Iterator[Reading]:
    """`Smith JA`, and `Smith J. A.`"""
    first = len(units) - 1
    if _is_vancouver(units[first], units[:first]) or _is_initials(units[first]):
        while first > 1 and _is_initials(units[first - 1]):
            first -= 1
        yield Reading(_spellings(_words(units[:first])), tuple(x for unit in units[first:] for x in _letters(unit)))


def _is_vancouver(unit: _Unit, family: Sequence[_Unit]) -> bool:
    return bool(_VANCOUVER.fullmatch(unit.raw)) and not all(part.raw.isupper() for part in family)


def _letters(unit: _Unit) -> Given:
    return tuple(letter for word in unit.words for letter in word)


def _natural(units: Sequence[_Unit]) -> Iterator[Reading]:
    """`Given Family`: the family name is the last word with its particles, or the last two; or, of two, the first."""
    last = len(units) - 1
    first = last
    while first > 1 and PARTICLES.issuperset(units[first - 1].words):
        first -= 1
    ends_in_name = not _is_initials(units[last])
    if ends_in_name or last == 1:
        yield Reading(_spellings(_words(units[first:])), _given(units[:first]))
        if first < last and units[first].raw[0].isupper():  # Van is a given name in Vietnam.
            yield Reading(_spellings(units[last].words), _given(units[:last]))
    if first > 1 and ends_in_name and not _is_initials(units[first - 1]):
        yield Reading(_spellings(_words(units[first - 1 :])), _given(units[: first - 1]))
    if last == 1:
        yield Reading(_spellings(units[0].words), _given(units[1:]), reversed=True)


def _spellings(family: tuple[str, ...]) -> frozenset[str]:
    """Joined, and joined without particles: `Le Cun` is LeCun, `de Souza` is Souza."""
    if len(family) == 1:
        return frozenset(family)
    plain = (*(word for word in family[:-1] if word not in PARTICLES), family[-1])
    return frozenset({"".join(family), "".join(plain)})


def _words(units: Sequence[_Unit]) -> tuple[str, ...]:
    return tuple(word for unit in units for word in unit.words)


def _given(units: Sequence[_Unit]) -> Given:
    given: list[str] = []
    for raw, words in units:
        if len(words) == 1 and _CAPITALS.fullmatch(raw):
            given += raw.lower()
        elif "-" in raw:
            given += [words[0], *("-" + word for word in words[1:])]
        else:
            given += words
    return tuple(word for word in given if word not in SUFFIXES)


def _initial_keys(family: str, reading: Reading) -> list[str]:
    return [f"{family},{word.lstrip('-')[0]}" for word in reading.given]


def _collective_key(word: str) -> str:
    return f"&{word}"


def _given_agree(asked: Reading, name: Reading) -> bool:
    if asked.reversed or name.reversed:
        # Where nothing says which word is the family name, only equal names count.
        return _join(asked.given) == _join(name.given) and not any(map(is_initial, asked.given))
    return not asked.given or _agree(asked.given, name.given)


def _agree(asked: Given, name: Given, *, whole: bool = False, written_out: bool = False) -> bool:
    """`whole`: some name that both write out was equal; `written_out`: the last one that was compared was."""
    if not asked:
        # Wei is not Wei-Wei.
        return not (written_out and name and name[0].startswith("-"))
    if not name:
        # Who asks may know further initials of somebody whose name is written out.
        return whole and all(map(is_initial, asked))
    one, other = asked[0].lstrip("-"), name[0].lstrip("-")
    if is_initial(one) or is_initial(other):
        if one[0] == other[0] and _agree(asked[1:], name[1:], whole=whole):
            return True
        # An initial that only one side has: H. Vincent Poor is known as Vincent Poor.
        left, right = (asked[1:], name) if is_initial(one) else (asked, name[1:])
        return bool(left and right) and left[0] == right[0] and not is_initial(left[0]) and _agree(left, right)
    return any(
        joined == other_joined and _agree(asked[taken:], name[used:], whole=True, written_out=True)
        for taken, joined in _joined(asked)
        for used, other_joined in _joined(name)
    )


def _joined(given: Given) -> Iterator[tuple[int, str]]:
    """The first one, two or three names as one: Xiao Ming is Xiaoming."""
    for count in range(1, min(3, len(given)) + 1):
        if is_initial(given[count - 1]):
            return
        yield count, _join(given[:count])


def _join(given: Given) -> str:
    return "".join(given).replace("-", "")


def is_initial(word: str) -> bool:
    """Whether the name is one letter of a script with upper and lower case. In other scripts it is a full name."""
    letter = word.lstrip("-")
    return len(letter) == 1 and letter.upper() != letter


def _is_initials(unit: _Unit) -> bool:
    return all(map(is_initial, unit.words))
