"""LaTeX in titles and abstracts as readable text. It is an approximation without a renderer.

pylatexenc 2.11 was tried on 4,587 arXiv texts with LaTeX (docs/experiments/latex.md). It drops the names of unknown
commands in 70 of them (ours: 0) and the `$` of amounts in 17 (0), and takes about twenty times as long.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from services.domain.text.latex_tables import (
    ACCENTS,
    DOUBLE_STRUCK,
    DROPPED,
    FONTS,
    FRACTIONS,
    LETTERS,
    LOWERED,
    ORDINAL_ENDINGS,
    RAISED,
    RELATIONS,
    SECOND_ARGUMENT,
    SILENT,
    SPACES,
    SYMBOLS,
)
from services.domain.text.tokens import fold

DEEPEST = 20
"""Levels of nesting; deeper braces stay as they are."""

_OPEN, _CLOSE, _DOLLAR = "\ue000", "\ue001", "\ue002"
_SCRIPT, _PLAIN, _END, _EDGE = "\ue003", "\ue004", "\ue005", "\ue006"
"""Around a sub- or superscript as it is shown, then as plain text; and where a formula begins or ends."""
_RESERVED = re.compile(f"[{_OPEN}-{_EDGE}]")
_MARKS = re.compile(f"{_PLAIN}[^{_END}]*{_END}|[{_SCRIPT}{_EDGE}]")
_SCRIPTS = re.compile(f"{_SCRIPT}[^{_PLAIN}]*{_PLAIN}([^{_END}]*){_END}")
_EXPONENTS = re.compile(f"(?<=[0-9])[{_EDGE}]?{_SCRIPTS.pattern}")
_MARKED_WORD = re.compile(f"(?:[^\\W_]|{_EDGE}|{_SCRIPTS.pattern})+")
# As in pandoc, an opening dollar precedes a non-space and a closing dollar follows one. "$5 and $10" is money: a
# formula that starts with a digit is not closed before a digit. `z$\sim$0.1` and `z$ > $1` are math: a symbol may
# touch anything. A formula may have blanks at its ends if it has a mark of one, such as `\\`, and is short.
_MATH = re.compile(
    r"\$\$(?P<display>[^$]+)\$\$|\$(?P<symbol>(?:[^$\w\\]|\\[a-z]+)+)\$"
    r"|\$(?P<number>\d[^$]*)(?<!\s)\$(?!\d)|\$(?P<inline>[^$\s\d][^$]*)(?<!\s)\$"
    r"|\$(?P<spaced>(?=[^$]{0,80}\$)[^$]*[\\^_=<>{][^$]*)\$|\$(?P<letter>\s*\w{1,2}\s*)\$(?!\d)"
)
_TIE = re.compile(r"(?:(?<=[^\W\d])|(?<=[$}]))~(?=[^\W\d]|[\\{\[$])")
_TOKEN = re.compile(r"\\[A-Za-z]+\*?\s*|\\.|[{}^_\ue000\ue001]|[^\\{}^_\ue000\ue001]+|\\", re.DOTALL)
_MARKUP = ("\\", "$", "{", "``", "--")
_DASH = re.compile(r"(?<=\w)--(?=\w)|(?<=\s)--(?=\s)")
_OPTION = re.compile(r"\s*\[([^\[\]]*)\]")
_DECIMALS = re.compile(r"\d+(?:[.,]\d+)+")
_SIMPLE_LOWERED = re.compile(r"[+\-−±]?[^\W_]+(?:[.,/*′†:-][^\W_]*)*")
_SIMPLE_RAISED = re.compile(r"[+\-−±∓]?[^\W_]+(?:[.,][^\W_]+)*[*′†%]*")
"""Scripts that need no parentheses after their mark."""
_PRIMES = frozenset("'′ ")
_DATA_LIKE = re.compile(r"[,:;\"=]")


def readable(text: str) -> str:
    """`$\\alpha$-stable \\emph{L\\'evy} noise` → `α-stable Lévy noise`; text without LaTeX is returned unchanged."""
    if not any(mark in text for mark in _MARKUP):
        return text
    return _finished(_MARKS.sub("", _marked(text)))


def searchable(text: str) -> tuple[str, str]:
    """The text as it is shown, and other ways to write the words that formulas are part of.

    `CO$_2$` is shown as CO₂; its other forms are `CO2` and `CO 2`.
    """
    if not any(mark in text for mark in _MARKUP):
        return text, ""
    marked = _marked(text)
    chunks = [chunk for chunk in marked.split() if _SCRIPT in chunk or _EDGE in chunk.strip(_EDGE)]
    words = (word[0].strip(_EDGE) for chunk in chunks for word in _MARKED_WORD.finditer(chunk))
    forms = dict.fromkeys(form for word in words for form in _forms(word))
    return _finished(_MARKS.sub("", marked)), " ".join(forms)


def _marked(text: str) -> str:
    """The text without LaTeX, with marks around scripts and at the ends of formulas."""
    text = _RESERVED.sub("", text).replace("\\$", _DOLLAR)
    text = _MATH.sub(lambda found: f"{_OPEN}{found[found.lastgroup or 0]}{_CLOSE}", _TIE.sub(" ", text))
    return _Reader(text.replace("\\(", _OPEN).replace("\\)", _CLOSE)).read()


def _finished(plain: str) -> str:
    plain = plain.replace("``", "“").replace("''", "”").replace("---", "—").replace(_DOLLAR, "$")
    return unicodedata.normalize("NFC", re.sub(r"[ \t\n]+", " ", _DASH.sub("–", plain)).strip())


@lru_cache(1 << 12)
def _forms(marked: str) -> tuple[str, ...]:
    """The word in plain letters, and with a blank before and after each script and formula, where these differ."""
    shown = _MARKS.sub("", marked)
    if len(shown) == len(marked) or not any(map(str.isalpha, shown)):
        return ()
    plain = _SCRIPTS.sub(r"\1", _EXPONENTS.sub(r" \1 ", marked)).replace(_EDGE, "")
    separate = " ".join(_SCRIPTS.sub(r" \1 ", marked).replace(_EDGE, " ").replace("ℓ", "ell").split())
    return (*([plain] if plain != shown else []), *([separate] if fold(separate) != fold(shown) else []))


class _Reader:
    """One pass over the tokens; `_math` is true between math delimiters."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = _TOKEN.findall(text)
        self._at = 0
        self._depth = 0
        self._math = False

    def read(self) -> str:
        """The text up to the end, or up to the brace that closes this group."""
        parts: list[str] = []
        while (token := self._next()) and not (token == "}" and self._depth):
            parts.append(self._piece(token, parts))
        return "".join(parts)

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1] if self._at <= len(self._tokens) else ""

    def _at_group(self) -> bool:
        return self._depth < DEEPEST and self._at < len(self._tokens) and self._tokens[self._at] == "{"

    def _piece(self, token: str, before: list[str]) -> str:
        if token in (_OPEN, _CLOSE):
            self._math = token == _OPEN
            return _EDGE
        if token == "{" and self._depth < DEEPEST:
            inner = self._deeper(self.read)
            is_text = self._math or len(inner) < 2 or inner.startswith("http") or not _DATA_LIKE.search(inner)
            return inner if is_text else f"{{{inner}}}"
        if token in "^_" and self._math:
            return self._script(token)
        if token[0] == "\\":
            return self._command(token, before)
        return token.replace("~", " ") if self._math else token

    def _deeper(self, step: Callable[[], str]) -> str:
        self._depth += 1
        text = step()
        self._depth -= 1
        return text

    def _argument(self) -> str:
        """The next group or command, or the next single letter."""
        if self._at_group():
            self._next()
            return self._deeper(self.read)
        token = self._next()
        if token[:1] == "\\" and self._depth < DEEPEST:
            return self._deeper(lambda: self._command(token, []))
        if token in ("}", _OPEN, _CLOSE):
            self._at -= 1
            return ""
        letters = token.lstrip()
        if len(letters) > 1:
            self._at -= 1
            self._tokens[self._at] = letters[1:]
        return letters[:1]

    def _plain_argument(self) -> str:
        return _MARKS.sub("", self._argument()).replace("~", " ").strip()

    def _option(self) -> str:
        """The text between brackets after a command, as in `\\sqrt[3]{n}`; empty if there is none."""
        found = _OPTION.match(self._tokens[self._at]) if self._at < len(self._tokens) else None
        if not found:
            return ""
        self._tokens[self._at] = self._tokens[self._at][found.end() :]
        self._at += not self._tokens[self._at]
        return found[1].strip()

    def _script(self, mark: str) -> str:
        inner = self._plain_argument()
        return f"{_SCRIPT}{_small(inner, mark)}{_PLAIN}{inner}{_END}" if inner else ""

    def _command(self, token: str, before: list[str]) -> str:
        name = token[1:].rstrip().removesuffix("*")
        if name in ACCENTS and (self._math or len(name) == 1):
            base = _MARKS.sub("", self._argument()).replace("ı", "i")
            # A second accent stands after the first, as in Nguyễn.
            end = 1 + next((at for at, c in enumerate(base[1:]) if not unicodedata.combining(c)), len(base) - 1)
            return base[:end] + ACCENTS[name] + base[end:] if base[:1].isalpha() else token + base
        if not name.isalpha():
            return SPACES.get(token[1:2], token[1:] or "\\")
        if name in RELATIONS:
            return f" {RELATIONS[name]} "
        if name in SYMBOLS:
            ends_word = token[-1].isspace() and (self._math or name not in LETTERS)
            return SYMBOLS[name] + (" " if ends_word else "")
        padded = f" {name} "
        if padded in SILENT or (padded in FONTS and not self._at_group() and self._math):
            return ""
        if padded in DROPPED or padded in SECOND_ARGUMENT:
            while self._option():
                pass
            self._argument()
            return self._argument() if padded in SECOND_ARGUMENT else ""
        if read := self._with_arguments(name):
            return self._apart(read, before)
        return self._named(name, token, before)

    def _apart(self, read: str, before: list[str]) -> str:
        """With a blank where a digit of `read` and another one beside it would look like one number."""
        following = self._tokens[self._at][:1] if self._at < len(self._tokens) else ""
        left = " " if _last(before).isdigit() and read[0].isdigit() else ""
        return left + read + (" " if read[-1].isdigit() and following.isdigit() else "")

    def _with_arguments(self, name: str) -> str:
        padded = f" {name} "
        if name == "sqrt":
            root = self._option()
            degree = _small(root, "^").removeprefix("^") if root else ""
            return f"{degree}√{_grouped(self._plain_argument())}"
        if padded in FRACTIONS:
            self._option()
            return f"{_grouped(self._plain_argument())}/{_grouped(self._plain_argument())}"
        if padded in " binom tbinom dbinom ":
            return f"({self._plain_argument()} choose {self._plain_argument()})"
        if padded in " SI qty ":
            return f"{self._argument()} {self._argument()}"
        if padded in " overset stackrel underset ":
            upper, base = self._plain_argument(), self._plain_argument()
            return f"{base}{_small(upper, '_' if name == 'underset' else '^')}" if upper else base
        if name in ("textsuperscript", "textsubscript"):
            return self._script("^" if name == "textsuperscript" else "_")
        if name == "unicode":
            return _character(self._plain_argument())
        return self._plain_argument().translate(DOUBLE_STRUCK) if name == "mathbb" else ""

    def _named(self, name: str, token: str, before: list[str]) -> str:
        """\\emph{x} is x, an unknown \\method{} is probably the name of a method, \\log is log, and C:\\new stays."""
        if self._at_group():
            return self._apart(self._arguments() or name, before)
        previous = _last(before)
        is_path = previous == ":" or name in ("n", "t") or (before and before[-1][:1] == "\\")
        if not self._math and is_path:
            return token
        space = " " if token[-1].isspace() else ""
        return f"{' ' if previous.isalnum() else ''}{name}{space}"

    def _arguments(self) -> str:
        """All groups that follow."""
        read = self._argument()
        while self._at_group():
            following = self._argument()
            read += (" " if read[-1:].isdigit() and following[:1].isdigit() else "") + following
        return read


def _last(before: list[str]) -> str:
    """The last character of the text before."""
    return next((shown[-1] for part in reversed(before) if (shown := _MARKS.sub("", part))), "")


def _small(inner: str, mark: str) -> str:
    """A script in small characters; where Unicode lacks one, after `^` or `_`."""
    small = RAISED if mark == "^" else LOWERED
    if mark == "^" and inner in ORDINAL_ENDINGS:
        return inner
    if mark == "^" and _PRIMES.issuperset(inner):
        return inner.replace(" ", "").replace("'", "′")
    if all(character in small for character in inner):
        return "".join(small[character] for character in inner)
    if mark == "_" and _DECIMALS.fullmatch(inner):
        return "".join(small.get(character, character) for character in inner)
    simple = len(inner) == 1 or (_SIMPLE_RAISED if mark == "^" else _SIMPLE_LOWERED).fullmatch(inner)
    return f"{mark}{inner}" if simple else f"{mark}({inner})"


def _character(code: str) -> str:
    """The character of a code point: `x2013`, or decimal."""
    try:
        return chr(int(code.lstrip("x"), 16 if code.startswith("x") else 10))
    except (ValueError, OverflowError):
        return code


def _grouped(text: str) -> str:
    return text if text.isalnum() or len(text) == 1 else f"({text})"
