"""Score quantiles and floor of an embedding model that was not measured, derived from those of all-MiniLM-L6-v2.

Models differ in the mean cosine of unrelated texts (0.1 in one, 0.75 in another) and in its standard deviation. Both
are measured on sixteen interests and sixteen abstracts that do not belong together. The shape of the tail is taken
from all-MiniLM-L6-v2.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.errors import EmbedderError

Vector = NDArray[np.float32]

INTERESTS = (
    "language models that plan and use tools",
    "diffusion models for video generation",
    "graph neural networks for molecules",
    "robot manipulation learned from demonstrations",
    "privacy of federated learning",
    "retrieval-augmented question answering",
    "adversarial robustness of image classifiers",
    "speech recognition for languages with little data",
    "scaling laws of pretraining",
    "causal inference from observational data",
    "reinforcement learning from human feedback",
    "protein structure prediction",
    "time series forecasting with transformers",
    "segmentation of medical images",
    "program synthesis and code generation",
    "convergence of stochastic gradient descent",
)
ABSTRACTS = (
    "We present an agent that decomposes a task into steps and calls external APIs, and evaluate it on web navigation.",
    "A latent video model with temporal attention generates consistent clips from a text prompt at lower cost.",
    "We predict the energies of small molecules with an equivariant message passing network trained on DFT data.",
    "A policy trained on teleoperated demonstrations grasps unseen objects and recovers from failed attempts.",
    "Clients train locally and share clipped, noised updates; we prove a tighter bound on the privacy that is lost.",
    "We index passages with dense vectors and show that the reader hallucinates less when evidence is re-ranked.",
    "Small perturbations mislead convolutional networks; we certify predictions by randomised smoothing.",
    "An acoustic model pretrained on many languages is adapted with ten hours of transcribed audio.",
    "We fit power laws to the loss of transformers over parameters and tokens and derive a compute-optimal ratio.",
    "Under unmeasured confounding we bound treatment effects with an instrument and a sensitivity analysis.",
    "A reward model learned from pairwise preferences steers a dialogue system; we study how it is over-optimised.",
    "From a sequence alone our network infers the distances between residues and folds the chain of amino acids.",
    "We forecast electricity demand over long horizons by attention over patches of each series.",
    "A U-shaped network delineates tumours in magnetic resonance scans and says where it is unsure.",
    "Given a specification and tests, a model writes functions, runs them, and repairs what fails.",
    "For smooth non-convex objectives we show that momentum with decreasing steps reaches stationary points.",
)
TEXTS = INTERESTS + ABSTRACTS

MINILM_UNRELATED = (0.1155, 0.0996)
"""Mean and standard deviation of the cosines of unrelated TEXTS in all-MiniLM-L6-v2, as prepared."""
MINILM_QUANTILES = (
    *((0.2, 0.33), (0.1, 0.39), (0.05, 0.44), (0.02, 0.50), (0.01, 0.54)),
    *((0.005, 0.58), (0.002, 0.64), (0.001, 0.68)),
)
"""(share of papers, cosine) of typical interests in all-MiniLM-L6-v2, from `SCORE_QUANTILES` of embedders/minilm."""
MINILM_FLOOR = 0.3
"""The floor of all-MiniLM-L6-v2, see `calibration.FLOOR`."""


def score_quantiles(vectors: Vector) -> Sequence[tuple[float, float]]:
    """(share of papers, cosine) of a typical interest in the model that gave these unit `vectors` of TEXTS.

    Raises EmbedderError if the model gives unrelated texts the same vector.
    """
    mean, spread = unrelated_cosines(vectors)
    return tuple((share, min(1.0, mean + spread * _standardised(cosine))) for share, cosine in MINILM_QUANTILES)


def score_floor(vectors: Vector) -> float:
    """The least threshold of a cosine in the model that gave these unit `vectors` of TEXTS."""
    mean, spread = unrelated_cosines(vectors)
    return min(1.0, mean + spread * _standardised(MINILM_FLOOR))


def unrelated_cosines(vectors: Vector) -> tuple[float, float]:
    """Mean and standard deviation of the cosines between interests and the abstracts of other interests."""
    cosines = vectors[: len(INTERESTS)] @ vectors[len(INTERESTS) :].T
    others = cosines[~np.eye(len(INTERESTS), dtype=bool)]
    mean, spread = float(others.mean()), float(others.std())
    if spread < 1e-4:
        raise EmbedderError(
            "the embedding model returns nearly identical vectors for different texts; check which model is served"
        )
    return mean, spread


def _standardised(cosine: float) -> float:
    return (cosine - MINILM_UNRELATED[0]) / MINILM_UNRELATED[1]
