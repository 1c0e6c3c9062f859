import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.text.latex import readable, words
from services.domain.text.tokens import tokens


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
    ],
)
def test_latex_becomes_text(latex: str, text: str) -> None:
    assert readable(latex) == text


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10",
        r"C:\new\tool",
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
    started = time.process_time()
    readable("$" + piece * 20_000)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("On Poincar\\'e and Erd\\H{o}s", "On Poincaré and Erdős"),
        ("Variational {B}ayes with \\emph{deep} nets", "Variational Bayes with deep nets"),
        ("Costs of \\$5 to \\$10 each", "Costs of  5 to  10 each"),
        ("No LaTeX at $5 and -- dashes", "No LaTeX at $5 and -- dashes"),
    ],
)
def test_words_split_by_latex_are_joined(text: str, joined: str) -> None:
    assert words(text) == joined


def test_the_words_of_formulas_stay_separate() -> None:
    assert [token.folded for token in tokens(words("Sparse $\\ell_1$ and L\\'evy $\\alpha$-stable"))] == [
        *("sparse", "ell", "1", "and", "levy", "alpha", "stable")
    ]
