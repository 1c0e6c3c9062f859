"""Which sentence of an abstract tells most about an interest: close to what is asked for, and to what the paper is."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.domain.digests.display_text import abstract
from services.domain.digests.highlight import MAX_SENTENCES, sentences
from services.domain.papers.paper import Paper

Vector = NDArray[np.float32]
_STEPS = 127


def sentences_of(paper: Paper) -> list[str]:
    """The sentences of the abstract as people read it, as many as get vectors."""
    text = abstract(paper)
    return [text[start:end] for start, end in sentences(text)[:MAX_SENTENCES]]


def packed(vectors: Vector, whole: Vector) -> bytes:
    """The sentences' unit vectors in 8 bits a number, after their cosines with the whole paper's in 16.

    A cosine moves by about 0.003.
    """
    own = np.asarray(vectors @ whole, np.float16) if len(vectors) else np.zeros(0, np.float16)
    return own.tobytes() + np.round(np.clip(vectors, -1, 1) * _STEPS).astype(np.int8).tobytes()


def closeness(known: bytes, weights: Vector) -> Sequence[float]:
    """How much each sentence tells: its score with the interest's weights plus its cosine with the whole paper.

    Either counts in its own spread over the abstract. By the interest alone it would often be the first sentence, which
    says what everybody writes; the paper's own vector knows what this one does. Empty for vectors of another length.
    """
    count, rest = divmod(len(known), len(weights) + 2)
    if rest or not count:
        return ()
    own = np.frombuffer(known, np.float16, count).astype(np.float32)
    rows = np.frombuffer(known, np.int8, offset=2 * count).reshape(count, -1).astype(np.float32) / np.float32(_STEPS)
    told: Vector = _standard(rows @ weights) + _standard(own)
    return tuple(told.tolist())


def _standard(scores: NDArray[np.floating[Any]]) -> Vector:
    spread = float(scores.std())
    level = (scores - scores.mean()) / spread if spread > 1e-6 else np.zeros_like(scores)
    return np.asarray(level, np.float32)
