import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.text.tokens import fold, stem, tokens
from tests.support.cpu_time import cpu_seconds

SCRIPTS = st.text(
    st.sampled_from("aZ9 -/.'’$\\+#\n\u0301éßİøΑς½²ﬁ™Ⅳ深か\u3099ｶﾞ한ก็हिन\u00ad\u200b\ufe0f😀\x00\ud800"), max_size=30
)


def stems(text: str) -> list[str]:
    return [token.stem for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Text-to-Image / Vision", "text to image vision"),
        ("  Schrödinger, Łukasz & Bjørn  ", "schrodinger lukasz bjorn"),
        ("Poincaré, Erdős, Ångström, Straße", "poincare erdos angstrom strasse"),
        ("O'Brien’s d'Alembert students'", "obrien dalembert students"),
        ("C++ and C#, PointNet++ g++", "c++ and c# pointnet g++"),
        ("GPT-4o, Qwen2.5 3.5%", "gpt 4o qwen2 5 3 5"),
        ("β-VAE and α, TGF-β1", "beta vae and alpha tgf β1"),
        ("ﬁne 10² ½ №5 LLM™ ℃", "fine 10 2 1 2 no 5 llm tm c"),
        ("CO₂, ¹³CO, H₂SO₄, x², 10⁻³ and 10³m", "co2 13co h2so4 x2 10 3 and 10 3m"),
        ("un\u00adlike a\u200bb ＦＵＬＬ", "unlike a b full"),
        ("深度学习 ディープ 한국어", "深 度 学 习 デ ィ ー プ 한국어"),
        ("שָׁלוֹם مُحَمَّد", "שלום محمد"),
        ("$\\mathcal{O}(n^2)$", "mathcal o n 2"),
        ("… — ++ 😀", ""),
        ("", ""),
    ],
)
def test_spellings_fold_to_words(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_words_are_stemmed_after_folding() -> None:
    assert stems("Diffusion MODELS modelling modèles") == ["diffus", "model", "model", "model"]
    assert stems("LLM's LLMs") == ["llm", "llm"]
    assert stem("agents") == stem("agent")


def test_acronyms_lose_the_s_of_their_plural() -> None:
    assert stems("LLMs VLMs GNNs PDEs GPUs QSOs GANs VAEs") == ["llm", "vlm", "gnn", "pde", "gpu", "qso", "gan", "vae"]
    assert stems("CSS SDSS is vs loss") == ["css", "sdss", "is", "vs", "loss"]


def test_offsets_of_tokens_refer_to_the_original_text() -> None:
    text = "½ the  Schro\u0308dinger's text-to-image"
    parsed = tokens(text)
    assert [token.position for token in parsed] == list(range(7))
    assert [text[token.start : token.end] for token in parsed] == [token.surface for token in parsed]
    assert parsed[3].surface == "Schro\u0308dinger's"
    assert parsed[3].folded == "schrodinger"
    assert [(token.folded, token.start, token.end) for token in parsed[:2]] == [("1", 0, 1), ("2", 0, 1)]


def test_vowel_signs_of_a_script_are_kept() -> None:
    assert fold("हिन्दी") == "हिन्दी"
    assert fold("か\u3099") == fold("が") != fold("か")


@settings(max_examples=100, deadline=None)
@given(SCRIPTS | st.text(max_size=30))
def test_folding_is_stable_and_the_same_for_equivalent_text(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, text)) == folded


@settings(max_examples=100, deadline=None)
@given(SCRIPTS | st.text(max_size=30))
def test_tokens_are_in_order_and_not_empty(text: str) -> None:
    parsed = tokens(text)
    assert [token.position for token in parsed] == list(range(len(parsed)))
    assert all(token.folded and token.stem and " " not in token.folded for token in parsed)
    assert all(text[token.start : token.end] == token.surface for token in parsed)
    spans = [(token.start, token.end) for token in parsed]
    assert all(a == b or a[1] <= b[0] for a, b in pairwise(spans))


@pytest.mark.parametrize("piece", ["a", "'", "a'", "+", "a+", "½", "\u0301", "a\u0301 ", "深", "x-", "word "])
def test_long_texts_take_linear_time(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    assert cpu_seconds(lambda: tokens(text)) < 1
