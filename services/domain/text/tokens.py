"""Tokens: how texts and queries are normalised and split into words, so that two spellings are one word."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

import Stemmer

CACHED_WORDS = 1 << 16
MAX_CACHED_WORD = 64
"""Characters. Longer words are not cached, to save memory, and not stemmed, since no word of a language is as long."""

# Snowball's stemmer stores the word it works on, so only one thread may use it at a time.
_stemmer = Stemmer.Stemmer("english", 0)
_stemmer_lock = Lock()

# Letters that Unicode does not decompose although many people type them without the stroke.
_PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau upsilon phi chi "
    "psi omega"
)
_GREEK = dict(zip("αβγδεζηθικλμνξοπρστυφχψω", _GREEK_NAMES.split(), strict=True))
_APOSTROPHES = "'’ʼ＇"
_ZERO_WIDTH_SPACE = "\u200b"
# Code points of scripts that are written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han with its rarer planes.
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0x20000, 0x3FFFF),
)
_VARIATION_SELECTORS = re.compile("[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]")

# Snowball does not remove the s of `llms`, `gnns` and `pdes`, since no vowel precedes it.
_PLURAL_ACRONYM = re.compile(r"[b-df-hj-np-tv-xz]{2,}[aeiou]?(?<!s)s")

# A pattern of shapes (see `_shape`): a letter with ++ or # (C++, F#), a word, a character that is a word, a symbol.
# A small digit belongs to a word, as in H₂O, but not to a number: 10³ is not 103.
_WORD = re.compile(r"A(?:\+\+|#)|[Aads](?:[Aadm]|(?<!d)s)*(?:'[Aad](?:[Aadm]|(?<!d)s)*)*|cm*|x")


class Token(NamedTuple):
    """One word of a text. `start` and `end` are character offsets in the original text."""

    position: int
    stem: str
    folded: str
    """Without case, accents, apostrophes and possessive 's; a single Greek letter becomes its name, such as `beta`."""
    surface: str
    start: int
    end: int


def tokens(text: str) -> tuple[Token, ...]:
    """The words of a text in order, in linear time.

    A word consists of letters, digits, marks and inner apostrophes; in scripts without spaces each character is a word.
    A symbol that stands for several words (`½`) gives several tokens with the same offsets.
    """
    return tuple(_tokens(text))


def fold(text: str) -> str:
    """The words of a text without case, accents and punctuation, separated by one space."""
    return " ".join(folded for folded, *_ in _pieces(text))


def stem(word: str) -> str:
    """The English stem of a folded word. Acronyms lose a plural s."""
    return _stem(word) if len(word) <= MAX_CACHED_WORD else word


def _tokens(text: str) -> Iterator[Token]:
    for position, (folded, surface, start, end) in enumerate(_pieces(text)):
        yield Token(position, stem(folded), folded, surface, start, end)


def _pieces(text: str) -> Iterator[tuple[str, str, int, int]]:
    """Folded word, surface, start and end."""
    for match in _WORD.finditer(text.translate(_shapes)):
        start, end = match.span()
        surface = text[start:end]
        for folded in _words(surface) if end - start <= MAX_CACHED_WORD else _folded_words(surface):
            yield folded, surface, start, end


@lru_cache(CACHED_WORDS)
def _stem(word: str) -> str:
    if _PLURAL_ACRONYM.fullmatch(word):
        return word[:-1]
    with _stemmer_lock:
        return str(_stemmer.stemWord(word))


@lru_cache(CACHED_WORDS)
def _words(surface: str) -> tuple[str, ...]:
    return _folded_words(surface)


def _folded_words(surface: str) -> tuple[str, ...]:
    """The folded words of one match of `_WORD`: one, or several for a symbol that stands for several."""
    if len(surface) == 1 and _shape(surface) == "x":
        return tuple(fold(_folded_character(surface)).split())
    word = surface.lower() if surface.isascii() else "".join(map(_folded_character, surface))
    for apostrophe in _APOSTROPHES[1:]:
        word = word.replace(apostrophe, "'")
    word = unicodedata.normalize("NFC", word.removesuffix("'s").replace("'", ""))
    return (_GREEK.get(word, word),)


@lru_cache(CACHED_WORDS)
def _folded_character(character: str) -> str:
    """One character decomposed, without case and accents; empty for a character that only joins or decorates others."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(c for c in folded if not _decorates(c)).translate(_PLAIN_LETTERS)


def _decorates(character: str) -> bool:
    """Whether it is an accent, a stroke, a Hebrew or Arabic point, an enclosure or a format character.

    Vowel signs of a script do not count.
    """
    combining = unicodedata.combining(character)
    return (
        combining == 1
        or 10 <= combining <= 35
        or combining >= 200
        or unicodedata.category(character) in ("Cf", "Me")
        or bool(_VARIATION_SELECTORS.match(character))
    )


def _shape(character: str) -> str:
    """A character in `_WORD`: a letter a (ASCII A), digit d, sub- or superscript digit s, mark m, one-character word c,
    symbol x, or itself.
    """
    if character in _APOSTROPHES:
        return "'"
    if character in "+#":
        return character
    if character == _ZERO_WIDTH_SPACE:
        return " "
    category = unicodedata.category(character)
    folded = _folded_character(character)
    if category[0] == "M" or category == "Cf":
        return "m"
    if not any(c.isalnum() for c in folded):
        return "m" if folded and all(unicodedata.combining(c) for c in folded) else " "
    if category[0] in "SPZ" or not all(c.isalnum() or unicodedata.category(c)[0] == "M" for c in folded):
        return "x"
    if any(low <= ord(folded[0]) <= high for low, high in _UNSPACED):
        return "c" if len(unicodedata.normalize("NFC", folded)) == 1 else "x"
    if folded[0].isdigit():
        return "s" if unicodedata.decomposition(character).startswith(("<sub>", "<super>")) else "d"
    return "A" if character.isascii() else "a"


class _Shapes(dict[int, str]):
    """By code point, its shape, for `str.translate`. One character becomes one, so that offsets stay the same."""

    def __missing__(self, code: int) -> str:
        shape = _shape(chr(code))
        if len(self) < CACHED_WORDS:
            self[code] = shape
        return shape


_shapes = _Shapes()
