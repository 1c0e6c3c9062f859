"""What every embedder promises."""

import importlib.util
import pkgutil
from collections.abc import Iterator

import numpy as np
import pytest

import services.embedders
from services import plugins
from services.ports import Embedder
from tests.embedders.test_fastembed import register_packaged
from tests.support.embedding_server import EmbeddingServer

SETTINGS = {"fastembed": "fastembed:packaged", "minilm": "minilm", "openai": ""}
"""Kind to a setting that works without the outside world; the local server's says which port it has."""

MIXED = [
    "Attention.",
    "",
    "We study how chains of thought can be made shorter without losing accuracy. " * 200,
    "   \n\t ",
    "注意力机制与大型语言模型的高效推理",
    "nul \x00 bell \x07 escape \x1b[31m and the half of a pair \ud83d",
    "word" * 30_000,
    "$\\mathcal{L}_{\\theta} = \\sum_i \\frac{x_i}{y_i}$",
    "🧬🔬",
]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        yield server


@pytest.fixture(params=sorted(SETTINGS))
def embedder(request: pytest.FixtureRequest, server: EmbeddingServer) -> Embedder:
    if request.param == "fastembed":
        if importlib.util.find_spec("fastembed") is None:
            pytest.skip("the extra paperwire[fastembed] is not installed")
        register_packaged()
    return plugins.embedder(SETTINGS[request.param] or server.setting)


def test_every_embedder_takes_part() -> None:
    found = {m.name for m in pkgutil.iter_modules(services.embedders.__path__) if not m.name.startswith("_")}
    assert found == set(SETTINGS)


def test_a_vector_for_each_text_of_length_one(embedder: Embedder) -> None:
    vectors = embedder.embed(MIXED)
    assert vectors.shape == (len(MIXED), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(MIXED)), abs=1e-5)


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimensions)


def test_the_same_texts_give_the_same_vectors(embedder: Embedder) -> None:
    assert np.array_equal(embedder.embed(MIXED), embedder.embed(MIXED))


def test_order_and_company_do_not_matter(embedder: Embedder) -> None:
    texts = [text * n for n, text in enumerate(MIXED * 5, start=1)]
    together = embedder.embed(texts)
    for position in (0, 3, 7, 13, 22, 44):
        assert together[position] == pytest.approx(embedder.embed([texts[position]])[0], abs=1e-4)


def test_a_name_and_quantiles_to_start_from(embedder: Embedder) -> None:
    shares, cosines = zip(*embedder.score_quantiles, strict=True)
    assert embedder.name
    assert len(shares) >= 2
    assert all(0 < share < 1 for share in shares)
    assert list(shares) == sorted(shares, reverse=True)
    assert list(cosines) == sorted(cosines)
    assert -1 <= embedder.floor < cosines[-1]
