import numpy as np
import pytest
from numpy.typing import NDArray

from services import plugins
from services.domain.interests import calibration, model_reference
from services.errors import EmbedderError


@pytest.fixture(scope="module")
def measured() -> NDArray[np.float32]:
    return plugins.embedder("minilm").embed(model_reference.TEXTS)


def moved(vectors: NDArray[np.float32], by: float) -> NDArray[np.float32]:
    """As of a model in which all texts share a direction."""
    common = np.random.default_rng(3).normal(size=vectors.shape[1])
    rows = vectors + by * common / np.linalg.norm(common)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def test_of_the_model_that_was_measured_it_says_what_was_measured(measured: NDArray[np.float32]) -> None:
    assert model_reference.unrelated_cosines(measured) == pytest.approx(model_reference.MINILM_UNRELATED, abs=0.005)
    shipped = dict(plugins.embedder("minilm").score_quantiles)
    for share, cosine in model_reference.score_quantiles(measured):
        assert cosine == pytest.approx(shipped[share], abs=0.02)
    assert model_reference.score_floor(measured) == pytest.approx(calibration.FLOOR, abs=0.02)


@pytest.mark.parametrize("by", [0.5, 1.0, 1.7])
def test_a_model_that_lies_elsewhere_lets_the_same_pairs_through(measured: NDArray[np.float32], by: float) -> None:
    texts = len(model_reference.INTERESTS)
    other = moved(measured, by)
    for share, cosine in model_reference.score_quantiles(measured)[::3]:
        there = dict(model_reference.score_quantiles(other))[share]
        before = np.mean(measured[:texts] @ measured[texts:].T >= cosine)
        assert np.mean(other[:texts] @ other[texts:].T >= there) == pytest.approx(before, abs=0.02)


def test_a_model_that_tells_nothing_apart_is_refused() -> None:
    with pytest.raises(EmbedderError, match="check which model is served"):
        model_reference.score_floor(np.ones((len(model_reference.TEXTS), 3), np.float32) / np.sqrt(3, dtype=np.float32))
