"""The quality of the ranking compared with the rankings of peers, on topics maintained by curators.

`--data DIR` takes `topics.json`, `examples.jsonl.gz` and `stream-*.jsonl.gz`. The first third of the stream is the
archive, from which interests are learned; the rest is ranked. `five` draws five examples, eight times.
"""

import argparse
import gzip
import hashlib
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ranking_peers import Asked, Peer, Words, peers  # noqa: E402
from services.domain.interests.calibration import embedding_text  # noqa: E402
from services.domain.interests.learning import Archive, Interest, Sample, learn  # noqa: E402
from services.domain.interests.terms import CATEGORY_PREFIX, TermTable, bm25_weights, count_terms, stems, terms_of_words  # noqa: E402
from services.embedders.minilm import plugin  # noqa: E402

DEFAULT = ROOT / "tests" / "data" / "relevance-small"
SETTINGS = ("text", "five", "five+text", "all", "all+text")
DRAWS = 8
Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Papers:
    """Papers in the form that every ranking takes."""

    names: list[str]
    vectors: Vector
    counts: list[Counter[str]]
    terms: list[dict[str, float]]
    table: TermTable

    def rows(self, picked: Sequence[int]) -> Sample:
        return Sample(self.vectors[list(picked)], [self.terms[row] for row in picked])

    def words(self) -> Words:
        return Words(self.counts, self.terms, self.vectors)


@dataclass(frozen=True)
class Topic:
    text: Sample
    counts: Counter[str]
    examples: list[int]
    relevant: NDArray[np.bool_]


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def embedded(texts: Sequence[str]) -> Vector:
    """The vectors of the texts, cached in the temporary directory for the next run."""
    model = plugin("")
    digest = hashlib.sha256("\0".join([model.name, *texts]).encode()).hexdigest()[:24]
    kept = Path(tempfile.gettempdir()) / "paperwire-benchmarks" / f"{digest}.npy"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, model.embed(texts))
    return np.asarray(np.load(kept), np.float32)


def papers(rows: Sequence[dict[str, Any]]) -> Papers:
    vectors = embedded([embedding_text(row["title"], row["summary"]) for row in rows])
    counts = [count_terms([stems(row["title"]), stems(row["summary"])]) for row in rows]
    terms = [
        bm25_weights(words) | {CATEGORY_PREFIX + one: 1.0 for one in row["categories"]}
        for words, row in zip(counts, rows, strict=True)
    ]
    return Papers([row["id"] for row in rows], vectors, counts, terms, TermTable.of(terms))


def load(data: Path) -> tuple[Papers, Papers, Papers, list[Topic]]:
    """Archive, ranked papers, examples and topics."""
    stream = [row for path in sorted(data.glob("stream-*.jsonl.gz")) for row in read(path)]
    cut = len(stream) // 3
    archive, ranked, examples = papers(stream[:cut]), papers(stream[cut:]), papers(read(data / "examples.jsonl.gz"))
    described = json.loads((data / "topics.json").read_text(encoding="utf-8"))
    vectors = embedded([topic["description"] for topic in described])
    row_of = {name: row for row, name in enumerate(examples.names)}
    topics = [
        Topic(
            Sample(vector[None], [terms_of_words(topic["description"])]),
            count_terms([stems(topic["description"])]),
            [row_of[name] for name in topic["examples"] if name in row_of],
            np.isin(ranked.names, topic["relevant"]),
        )
        for topic, vector in zip(described, vectors, strict=True)
    ]
    return archive, ranked, examples, [topic for topic in topics if topic.relevant.any()]


def ours(archive: Papers, ranked: Papers) -> Peer:
    known = Archive(archive.vectors, archive.table)

    def rank(asked: Asked) -> Vector:
        interest: Interest = learn(asked.text, asked.liked, archive.vectors[:0], known)
        return interest.scores(ranked.vectors, ranked.table)

    return rank


def cases(topic: Topic, examples: Papers, setting: str) -> Iterator[Asked]:
    """What a ranking is given: the text, if it is in the setting, and the examples."""
    text = topic.text if "text" in setting else None
    draws = [topic.examples] if setting != "text" else [[]]
    if setting.startswith("five"):
        count = min(5, len(topic.examples))
        draws = [list(np.random.default_rng(n).choice(topic.examples, count, replace=False)) for n in range(DRAWS)]
    for picked in draws:
        described = [topic.counts] if text is not None else []
        yield Asked(text, examples.rows(picked), [*described, *(examples.counts[row] for row in picked)])


def measured(scores: Vector, relevant: NDArray[np.bool_]) -> tuple[float, float]:
    """Average precision, and the share of the relevant among the first 100."""
    hits = relevant[np.argsort(-scores, kind="stable")]
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean()), float(found[:100][-1] / found[-1])


def quality(rank: Peer, topics: Sequence[Topic], examples: Papers, setting: str) -> dict[str, float]:
    each = [
        np.mean([measured(rank(asked), topic.relevant) for asked in cases(topic, examples, setting)], axis=0)
        for topic in topics
    ]
    ap, recall = np.mean(each, axis=0)
    return {"ap": round(float(ap), 4), "recall_100": round(float(recall), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT)
    archive, ranked, examples, topics = load(parser.parse_args().data)
    rank = ours(archive, ranked)
    others = peers(archive.words(), ranked.words())
    for setting in SETTINGS:
        found = {
            name: quality(peer, topics, examples, setting) for name, (peer, fits) in others.items() if fits(setting)
        }
        own, best = quality(rank, topics, examples, setting), max(one["ap"] for one in found.values())
        line = {"name": "relevance", "setting": setting, "topics": len(topics), "papers": len(ranked.names)}
        print(json.dumps(line | {"ours": own, "peers": found, "ratio": round(own["ap"] / best, 3)}), flush=True)


if __name__ == "__main__":
    main()
