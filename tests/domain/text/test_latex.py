import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.text.latex import readable, searchable
from tests.support.cpu_time import cpu_seconds


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"$\alpha$-stable \emph{L\'evy} noise", "α-stable Lévy noise"),
        (r"An $O(n \log n)$ bound, not $O(n^2)$", "An O(n log n) bound, not O(n²)"),
        (r"$x_{i+1}^{2}$ in $\mathbb{R}^d$", "xᵢ₊₁² in ℝ^d"),
        (r"$L_{CE}$ and $\mathcal{L}(\theta)$", "L_CE and L(θ)"),
        (r"$p \leq 0.05$, $3\times3$, $\sqrt{d_k}$, $\frac{a}{b+c}$", "p ≤ 0.05, 3×3, √dₖ, a/(b+c)"),
        (r"\textbf{bold {and nested}} text", "bold and nested text"),
        (
            r"Schr\"odinger, G\"{o}del, \c{c}a, \v{S}koda, Erd\H{o}s, na\"{\i}ve",
            "Schrödinger, Gödel, ça, Škoda, Erdős, naïve",
        ),
        (r"90\% of {BERT} \& friends~\cite{devlin}", "90% of BERT & friends"),
        (r"outflows at z$\sim$0.1", "outflows at z ∼ 0.1"),
        (r"\href{https://example.org}{our page}", "our page"),
        (r"``quoted'' \method{} and \ours", "“quoted” method and ours"),
        ("Math? -- Pitfalls of 1--2 steps", "Math? – Pitfalls of 1–2 steps"),
        (r"CO$^+$ and H$_2$O", "CO⁺ and H₂O"),
        (r"PM$_{2.5}$, H$\alpha$, MoS$_2$, T$_{\rm eff}$", "PM₂.₅, Hα, MoS₂, T_eff"),
        (r"10 M$_\odot$, $M_{\odot}$ and $R_{\oplus}$", "10 M⊙, M⊙ and R⊕"),
        (r"$10^{-3}$, $x^{0.6}$, $M_{\star}$, $e^{-(a+b)}$, $T^{\alpha-1}$", "10⁻³, x^0.6, M_⋆, e^(-(a+b)), T^(α-1)"),
        (r"$ N_{HI}$ of $x$ and $\beta \ll 1 $ for $ n $ in $y$", "N_HI of x and β ≪ 1 for n in y"),
        (r"82{,}115 and 7.0\mbox{--}8.5", "82,115 and 7.0–8.5"),
        (r"\textcolor{red}{x} {\color{blue} y} \textcolor[rgb]{1,0,0}{fast}", "x y fast"),
        (r"\oursName\ChartBlender at 5\,\kelvin", "oursName ChartBlender at 5 K"),
        (r"$1$$\unicode{x2013}$$2$ and $a\unicode{8212}b$", "1–2 and a—b"),
        (
            r"A \nicefrac{1}{2}-approximation, $\tfrac14$, $2\frac{1}{2}$, $\frac12 3$",
            "A 1/2-approximation, 1/4, 2 1/2, 1/2 3",
        ),
        (r"3$\frac12$ of the 2$^{nd}$ and $n^{\rm th}$ of R\o mer", "3 1/2 of the 2nd and nth of Rømer"),
        (r"$\sqrt[3]{n}$, $\sqrt{2}3$ and $\binom{5}{2}$", "³√n, √2 3 and (5 choose 2)"),
        (r"\pair{1}{2}, \textbf{V}{ision}, \SI{5}{\kelvin}", "1 2, Vision, 5 K"),
        (r"\textsuperscript{13}C and \texorpdfstring{$x$}{y}", "¹³C and y"),
        (r"$\mathcal L$, $\mathbf x$ and 10$^9$~M", "L, x and 10⁹ M"),
        (r"Nguy\~{\^e}n, 1.8$^{\prime\prime}$", "Nguyễn, 1.8′′"),
        (r"{\it ab initio} \cite[see][p. 1]{x}at {https://example.org/}", "ab initio at https://example.org/"),
    ],
)
def test_latex_becomes_text(latex: str, text: str) -> None:
    assert readable(latex) == text


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10",
        r"C:\new\tool",
        r"C:\Users\new",
        r'split at "\n\n" and \r\n',
        "costs $ 5 and $ 10, or $250 million vs. $5 to $10",
        "Sets {a: 1} in JSON",
        "snake_case and 2^10",
        "a lone $",
        "a lone \\",
        "~100 papers",
    ],
)
def test_text_that_only_looks_like_latex_is_unchanged(text: str) -> None:
    assert readable(text) == text


@given(st.text(alphabet="ab \\{}$^_~'\"%1(", max_size=60))
def test_no_text_raises(text: str) -> None:
    assert len(readable(text)) <= 4 * len(text) + 20


@pytest.mark.parametrize("piece", ["{", "}", "$a", "\\a", "\\sqrt", "\\frac", "^{", "\\(", "$ ", "\\'", "$\\a"])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    assert cpu_seconds(lambda: readable("$" + piece * 20_000)) < 2


@pytest.mark.parametrize(
    ("latex", "other_forms"),
    [
        ("CO$_2$ and H$_{2}$O", "CO2 CO 2 H2O H 2 O"),
        ("MoS$_2$, PM$_{2.5}$ and $\\mathrm{CH_4}$", "MoS2 MoS 2 PM2.5 PM 2.5 CH4 CH 4"),
        ("H$\\alpha$ and $\\Lambda$CDM", "H α Λ CDM"),
        ("$^{13}$CO at T$_{\\rm eff}$", "13CO 13 CO Teff"),
        ("$\\ell_1$ norms of $k$NN graphs", "ℓ1 ell 1 k NN"),
        ("$10^{-3}$, $10^{3}$, 10$^5$ and $\\alpha$-stable $x$", ""),
        ("CO2 costs \\$5 -- L\\'evy {B}all", ""),
        ("No LaTeX at $5", ""),
    ],
)
def test_words_with_formulas_are_searched_in_every_form(latex: str, other_forms: str) -> None:
    assert searchable(latex) == (readable(latex), other_forms)
