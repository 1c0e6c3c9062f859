"""Commands of LaTeX by what becomes of them, and the small characters of Unicode for scripts."""


def _table(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_GREEK = _table("""
    alpha α beta β gamma γ delta δ epsilon ε zeta ζ eta η theta θ iota ι kappa κ lambda λ mu μ nu ν xi ξ omicron ο pi π
    rho ρ varsigma ς sigma σ tau τ upsilon υ phi φ chi χ psi ψ omega ω varepsilon ε vartheta ϑ varphi φ varrho ϱ""")
SYMBOLS = {name.capitalize(): letter.upper() for name, letter in _GREEK.items()} | {"quad": " ", "qquad": " "} | _GREEK
SYMBOLS |= _table("""
    ell ℓ hbar ħ imath ı times × cdot · pm ± mp ∓ ast * star ⋆ circ ∘ bullet • infty ∞ partial ∂ nabla ∇ sum ∑ prod ∏
    int ∫ prime ′ forall ∀ exists ∃ neg ¬ emptyset ∅ varnothing ∅ dagger † top ⊤ perp ⊥ ldots … dots … cdots ⋯ langle ⟨
    rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉ Vert ‖ vert | mid | odot ⊙ deg ° degree ° oplus ⊕ otimes ⊗ wedge ∧ vee ∨
    cap ∩ cup ∪ setminus ∖ Re ℜ Im ℑ o ø O Ø l ł L Ł ss ß ae æ AE Æ oe œ OE Œ aa å AA Å i ı S § copyright ©
    textdegree ° textendash – textemdash — textbackslash \\ lbrace { rbrace } LaTeX LaTeX TeX TeX textless <
    textgreater > textbar | textasciitilde ~ textasciicircum ^ textunderscore _ textquotesingle ' textregistered ®
    texttrademark ™ textmu µ texttimes × euro € pounds £ over / lvert | rvert | lVert ‖ rVert ‖ dotsc … dotsb …
    kelvin K celsius °C meter m metre m second s hertz Hz gram g joule J watt W volt V electronvolt eV kilo k mega M
    giga G milli m micro µ nano n angstrom Å percent %""")
SYMBOLS |= dict.fromkeys(("par", "newline", "linebreak", "hfill", "item"), " ")
LETTERS = frozenset(["o", "O", "l", "L", "ss", "ae", "AE", "oe", "OE", "aa", "AA", "i"])
"""Commands that are letters of words: the blank after one belongs to the command, as in `R\\o mer`."""
ORDINAL_ENDINGS = frozenset(["st", "nd", "rd", "th"])
RELATIONS = _table("""
    leq ≤ le ≤ leqslant ≤ geq ≥ ge ≥ geqslant ≥ neq ≠ ne ≠ approx ≈ sim ∼ simeq ≃ equiv ≡ cong ≅ propto ∝ ll ≪ gg ≫
    to → rightarrow → longrightarrow → leftarrow ← gets ← mapsto ↦ leftrightarrow ↔ Rightarrow ⇒ implies ⇒ iff ⇔
    Leftrightarrow ⇔ in ∈ notin ∉ subset ⊂ subseteq ⊆ supset ⊃ supseteq ⊇ lesssim ≲ gtrsim ≳ uparrow ↑ downarrow ↓""")
SILENT = """ left right big Big bigl bigr Bigl Bigr displaystyle textstyle limits nolimits em it bf rm sc tt sf sl
    xspace protect noindent centering small large normalsize boldmath bigg Bigg scriptstyle middle null relax """
FONTS = """ mathbf mathrm mathcal mathit mathsf mathtt mathfrak mathscr mathop mathord mathrel boldsymbol bm pmb text
    textrm textbf textit texttt textsf textsc emph operatorname mbox hbox """
"""Commands that say only how the next letter or group looks."""
DROPPED = " cite citep citet ref eqref footnote label vspace hspace begin end color pagecolor includegraphics "
"""Commands whose argument is of no use to a reader."""
SECOND_ARGUMENT = " href textcolor colorbox texorpdfstring raisebox resizebox scalebox foreignlanguage "
"""Commands whose first argument is a colour, an address or the like, and whose second one is read."""
FRACTIONS = " frac dfrac tfrac cfrac nicefrac sfrac flatfrac xfrac "
SPACES = {" ": " ", ",": " ", ";": " ", ":": " ", "!": "", "\\": " ", "/": "", "-": "", "@": "", "\n": " "}
ACCENTS = _table("""
    ' \u0301 ` \u0300 ^ \u0302 " \u0308 ~ \u0303 = \u0304 . \u0307 c \u0327 v \u030c u \u0306 H \u030b k \u0328
    r \u030a d \u0323 hat \u0302 bar \u0304 tilde \u0303 dot \u0307 ddot \u0308 check \u030c vec \u20d7 acute \u0301
    overline \u0304 widehat \u0302 widetilde \u0303""")
DOUBLE_STRUCK = {ord(letter): 0x1D538 + ord(letter) - ord("A") for letter in "ABDEFGIJKLMOSTUVWXY"}
DOUBLE_STRUCK |= {ord(letter): ord(struck) for letter, struck in zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True)}
RAISED = dict(zip("0123456789+-−=()nixTk∘′⊤*⋆†", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱˣᵀᵏ°′ᵀ*⋆†", strict=True))
LOWERED = dict(zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
LOWERED |= {"⊙": "⊙", "⊕": "⊕"}
