"""LaTeX in titles and abstracts as readable text. It is an approximation without a renderer.

pylatexenc 2.11 was tried on 4,587 arXiv texts with LaTeX (docs/experiments/latex.md). It drops the names of unknown
commands in 70 of them (ours: 0) and the `$` of amounts in 17 (0), and takes 6.2 ms a text (0.24 ms); ours leaves a `$`
or a brace in 72 (pylatexenc: 0).
"""

import re
import unicodedata
from collections.abc import Callable

DEEPEST = 20
"""Levels of nesting; deeper braces stay as they are."""


def _table(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_GREEK = _table("""
    alpha α beta β gamma γ delta δ epsilon ε zeta ζ eta η theta θ iota ι kappa κ lambda λ mu μ nu ν xi ξ omicron ο pi π
    rho ρ varsigma ς sigma σ tau τ upsilon υ phi φ chi χ psi ψ omega ω varepsilon ε vartheta ϑ varphi φ varrho ϱ""")
_SYMBOLS = {name.capitalize(): letter.upper() for name, letter in _GREEK.items()} | {"quad": " ", "qquad": " "} | _GREEK
_SYMBOLS |= _table("""
    ell ℓ hbar ħ imath ı times × cdot · pm ± mp ∓ ast * star ⋆ circ ∘ bullet • infty ∞ partial ∂ nabla ∇ sum ∑ prod ∏
    int ∫ prime ′ forall ∀ exists ∃ neg ¬ emptyset ∅ varnothing ∅ dagger † top ⊤ perp ⊥ ldots … dots … cdots ⋯ langle ⟨
    rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉ Vert ‖ vert | mid | odot ⊙ deg ° degree ° oplus ⊕ otimes ⊗ wedge ∧ vee ∨
    cap ∩ cup ∪ setminus ∖ Re ℜ Im ℑ o ø O Ø l ł L Ł ss ß ae æ AE Æ oe œ OE Œ aa å AA Å i ı S § copyright ©
    textdegree ° textendash – textemdash — textbackslash \\ lbrace { rbrace } LaTeX LaTeX TeX TeX""")
_RELATIONS = _table("""
    leq ≤ le ≤ leqslant ≤ geq ≥ ge ≥ geqslant ≥ neq ≠ ne ≠ approx ≈ sim ∼ simeq ≃ equiv ≡ cong ≅ propto ∝ ll ≪ gg ≫
    to → rightarrow → longrightarrow → leftarrow ← gets ← mapsto ↦ leftrightarrow ↔ Rightarrow ⇒ implies ⇒ iff ⇔
    Leftrightarrow ⇔ in ∈ notin ∉ subset ⊂ subseteq ⊆ supset ⊃ supseteq ⊇ lesssim ≲ gtrsim ≳ uparrow ↑ downarrow ↓""")
_SILENT = """ left right big Big bigl bigr Bigl Bigr displaystyle textstyle limits nolimits em it bf rm sc tt sf sl
    xspace protect noindent centering small large normalsize boldmath """
_DROPPED = " cite citep citet ref eqref footnote label vspace hspace begin end "
"""Commands whose argument is of no use to a reader."""
_SPACES = {" ": " ", ",": " ", ";": " ", ":": " ", "!": "", "\\": " ", "/": "", "-": "", "@": "", "\n": " "}
_ACCENTS = _table("""
    ' \u0301 ` \u0300 ^ \u0302 " \u0308 ~ \u0303 = \u0304 . \u0307 c \u0327 v \u030c u \u0306 H \u030b k \u0328
    r \u030a d \u0323 hat \u0302 bar \u0304 tilde \u0303 dot \u0307 ddot \u0308 check \u030c vec \u20d7 acute \u0301
    overline \u0304 widehat \u0302 widetilde \u0303""")
_DOUBLE_STRUCK = {ord(letter): 0x1D538 + ord(letter) - ord("A") for letter in "ABDEFGIJKLMOSTUVWXY"}
_DOUBLE_STRUCK |= {ord(letter): ord(struck) for letter, struck in zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True)}
_RAISED = dict(zip("0123456789+-−=()nixTk∘′⊤*", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱˣᵀᵏ°′ᵀ*", strict=True))
_LOWERED = dict(zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))

_OPEN, _CLOSE, _DOLLAR = "\ue000", "\ue001", "\ue002"
_RESERVED = re.compile(f"[{_OPEN}-{_DOLLAR}]")
# As in pandoc, an opening dollar precedes a non-space and a closing dollar follows one. "$5 and $10" is money: a
# formula that starts with a digit is not closed before a digit. `z$\sim$0.1` and `z$ > $1` are math: a symbol may
# touch anything.
_MATH = re.compile(
    r"\$\$(?P<display>[^$]+)\$\$|\$(?P<symbol>(?:[^$\w\\]|\\[a-z]+)+)\$"
    r"|\$(?P<number>\d[^$]*)(?<!\s)\$(?!\d)|\$(?P<inline>[^$\s\d][^$]*)(?<!\s)\$"
)
_TIE = re.compile(r"(?<=[^\W\d])~(?=[^\W\d]|[\\{\[$])")
_TOKEN = re.compile(r"\\[A-Za-z]+\*?\s*|\\.|[{}^_\ue000\ue001]|[^\\{}^_\ue000\ue001]+|\\", re.DOTALL)
_DASH = re.compile(r"(?<=\w)--(?=\w)|(?<=\s)--(?=\s)")
_DATA_LIKE = re.compile(r"[,:;\"=]")


def readable(text: str) -> str:
    """`$\\alpha$-stable \\emph{L\\'evy} noise` → `α-stable Lévy noise`; text without LaTeX is returned unchanged."""
    if not any(mark in text for mark in ("\\", "$", "{", "``", "--")):
        return text
    text = _RESERVED.sub("", text).replace("\\$", _DOLLAR)
    text = _MATH.sub(lambda found: f"{_OPEN}{found[found.lastgroup or 0]}{_CLOSE}", _TIE.sub(" ", text))
    plain = _Reader(text.replace("\\(", _OPEN).replace("\\)", _CLOSE)).read()
    plain = plain.replace("``", "“").replace("''", "”").replace("---", "—").replace(_DOLLAR, "$")
    return unicodedata.normalize("NFC", re.sub(r"[ \t\n]+", " ", _DASH.sub("–", plain)).strip())


def words(text: str) -> str:
    """The text with complete words, for matching: `Poincar\\'e {B}all` → `Poincaré Ball`.

    Formulas stay as they are: the words in `$\\alpha_1$` are complete, and α₁ would be one word.
    """
    if "\\" not in text and "{" not in text:
        return text
    text, parts, end = text.replace("\\$", " "), [], 0
    for formula in _MATH.finditer(text):
        parts += [readable(text[end : formula.start()]), formula[0]]
        end = formula.end()
    return " ".join([*parts, readable(text[end:])])


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
            return ""
        if token == "{" and self._depth < DEEPEST:
            inner = self._deeper(self.read)
            return inner if self._math or not _DATA_LIKE.search(inner) else f"{{{inner}}}"
        if token in "^_" and self._math:
            return self._script(token)
        return self._command(token, before) if token[0] == "\\" else token

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

    def _script(self, mark: str) -> str:
        inner = self._argument().strip()
        small = _RAISED if mark == "^" else _LOWERED
        if all(letter in small for letter in inner):
            return "".join(small[letter] for letter in inner)
        return f"{mark}{inner}" if inner.isalnum() else f"{mark}({inner})"

    def _command(self, token: str, before: list[str]) -> str:
        name = token[1:].rstrip().removesuffix("*")
        if name in _ACCENTS and (self._math or len(name) == 1):
            base = self._argument().replace("ı", "i")
            return base[:1] + _ACCENTS[name] + base[1:] if base[:1].isalpha() else token + base
        if not name.isalpha():
            return _SPACES.get(token[1:2], token[1:] or "\\")
        if name in _RELATIONS:
            return f" {_RELATIONS[name]} "
        if name in _SYMBOLS:
            return _SYMBOLS[name] + (" " if token[-1].isspace() else "")
        if f" {name} " in _SILENT:
            return ""
        if f" {name} " in _DROPPED:
            self._argument()
            return ""
        return self._with_arguments(name) or self._named(name, token, before)

    def _with_arguments(self, name: str) -> str:
        if name == "sqrt":
            return f"√{_grouped(self._argument())}"
        if name in ("frac", "dfrac", "tfrac"):
            return f"{_grouped(self._argument())}/{_grouped(self._argument())}"
        if name == "href":
            self._argument()
            return self._argument()
        return self._argument().translate(_DOUBLE_STRUCK) if name == "mathbb" else ""

    def _named(self, name: str, token: str, before: list[str]) -> str:
        """\\emph{x} is x, an unknown \\method{} is probably the name of a method, \\log is log, and C:\\new stays."""
        if self._at_group():
            return self._argument() or name
        previous = before[-1][-1:] if before else ""
        if not self._math:
            return token if previous.isalpha() or previous == ":" else token[1:]
        return f"{' ' if previous.isalnum() else ''}{name}{' ' if token[-1].isspace() else ''}"


def _grouped(text: str) -> str:
    text = text.strip()
    return text if text.isalnum() else f"({text})"
