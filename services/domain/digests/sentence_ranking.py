"""Which sentence of an abstract is most relevant: close to the interest, and to the paper as a whole."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.domain.digests.highlight import MAX_SENTENCES, sentences
from services.domain.papers.display_text import abstract
from services.domain.papers.paper import Paper

Vector = NDArray[np.float32]
_STEPS = 127


def sentences_of(paper: Paper) -> list[str]:
    """The sentences of the abstract as people read it, at most as many as get vectors."""
    text = abstract(paper)
    return [text[start:end] for start, end in sentences(text)[:MAX_SENTENCES]]


def pack(vectors: Vector, paper_vector: Vector) -> bytes:
    """The cosines of the sentences with the paper in float16, followed by the unit vectors of the sentences in int8.

    Rounding changes a cosine by about 0.003.
    """
    cosines = np.asarray(vectors @ paper_vector, np.float16) if len(vectors) else np.zeros(0, np.float16)
    return cosines.tobytes() + np.round(np.clip(vectors, -1, 1) * _STEPS).astype(np.int8).tobytes()


def score_sentences(packed: bytes, weights: Vector) -> Sequence[float]:
    """The relevance of each sentence: its score with the interest's weights plus its cosine with the paper.

    Both are standardized over the abstract. The interest alone often prefers the first sentence, which states common
    knowledge; the cosine with the paper prefers what is particular to it. Empty for vectors of another length.
    """
    count, rest = divmod(len(packed), len(weights) + 2)
    if rest or not count:
        return ()
    cosines = np.frombuffer(packed, np.float16, count).astype(np.float32)
    rows = np.frombuffer(packed, np.int8, offset=2 * count).reshape(count, -1).astype(np.float32) / np.float32(_STEPS)
    scores: Vector = _standardized(rows @ weights) + _standardized(cosines)
    return tuple(scores.tolist())


def _standardized(scores: NDArray[np.floating[Any]]) -> Vector:
    spread = float(scores.std())
    level = (scores - scores.mean()) / spread if spread > 1e-6 else np.zeros_like(scores)
    return np.asarray(level, np.float32)
