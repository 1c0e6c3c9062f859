"""Standing queries against papers: paperwire and `mokaccino`, a percolator in Rust, on the same data in one process.

Of a thousand subscriptions 400 are a phrase, 300 a phrase AND a word, 200 any of three phrases, 100 a phrase without a
word; phrases are pairs of words that three abstracts or more have, drawn like the words by how many have them. A paper
is the set of its words and pairs of words. Neither time includes tokenising. That of paperwire includes finding the
clauses in the tokens, while the peer gets finished documents. One thread each, medians of alternating rounds.
"""

import argparse
import gc
import gzip
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from services.domain.query.paper_text import FieldText, PaperText  # noqa: E402
from services.domain.query.parser import And, Not, Or, Phrase, Query  # noqa: E402
from services.domain.query.percolator.percolator import Percolator  # noqa: E402

CORPUS = ROOT.parent / "shared" / "data" / "arxiv_corpus" / "2025-05.jsonl.gz"
"""A corpus of abstracts. If it is missing, abstracts are made from the samples."""
SAMPLES = (ROOT / "tests" / "data" / "arxiv_abstracts.jsonl", ROOT / "services" / "local" / "sample_announcement.txt")
ABSTRACTS, LEARNED, MEASURED, ROUNDS, LEAST = 3000, 256, 64, 5, 3
SHAPES = np.repeat([0, 1, 2, 3], [400, 300, 200, 100])


class Drawn(NamedTuple):
    """Subscriptions as numbers of phrases and words, a row each."""

    shapes: NDArray[np.int64]
    phrases: NDArray[np.int32]
    words: NDArray[np.int32]


def abstracts() -> list[str]:
    """Of the corpus; else sentences of the samples put together anew, ten for each abstract."""
    if CORPUS.exists():
        with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
            return [json.loads(line)["summary"] for line, _ in zip(lines, range(ABSTRACTS), strict=False)]
    arxiv, listing = (path.read_text("utf-8") for path in SAMPLES)
    texts = [json.loads(line)["summary"] for line in arxiv.splitlines()]
    texts += [paragraph for paragraph in listing.split("\n\n") if len(paragraph) > 200]
    sentences = [sentence for text in texts for sentence in re.split(r"(?<=[.!?])\s+", text)]
    chance = random.Random(7)
    return [" ".join(chance.sample(sentences, 10)) for _ in range(ABSTRACTS)]


def tokenised(text: str) -> PaperText:
    title, abstract = FieldText("title", ""), FieldText("abstract", text)
    return PaperText(title=title, abstract=abstract, authors=(), categories=(), sources=())


def features(paper: PaperText) -> tuple[set[str], set[str]]:
    """Its words and its pairs of words."""
    stems = [token.stem for token in paper.abstract.tokens]
    return set(stems), {f"{one} {next}" for one, next in pairwise(stems)}


def vocabulary(papers: Sequence[PaperText]) -> tuple[list[Phrase], list[float], list[Phrase], list[float]]:
    """Pairs and words as clauses, each with its share of all occurrences."""
    surface, words, pairs = dict[str, str](), Counter[str](), Counter[str]()
    for paper in papers:
        surface |= {token.stem: token.folded for token in paper.abstract.tokens}
        some_words, some_pairs = features(paper)
        words.update(some_words)
        pairs.update(some_pairs)
    clauses: list[Any] = []
    for counted in (pairs, words):
        often = sorted(text for text, count in counted.items() if count >= LEAST)
        frequency = np.array([counted[text] for text in often], float)
        clauses += [[Phrase(" ".join(surface[stem] for stem in text.split())) for text in often]]
        clauses += [frequency / frequency.sum()]
    return tuple(clauses)


def drawn(count: int, pairs: Sequence[float], words: Sequence[float]) -> Drawn:
    chance = np.random.default_rng(7)
    phrases = chance.choice(len(pairs), (count, 3), p=pairs).astype(np.int32)
    return Drawn(np.resize(SHAPES, count), phrases, chance.choice(len(words), count, p=words).astype(np.int32))


def queries(asked: Drawn, pairs: Sequence[Phrase], words: Sequence[Phrase]) -> Iterator[tuple[int, Query]]:
    for id, (shape, phrases, word) in enumerate(zip(*asked, strict=True)):
        phrase = pairs[phrases[0]]
        match shape:
            case 0:
                yield id, phrase
            case 1:
                yield id, And((phrase, words[word]))
            case 2:
                yield id, Or(tuple(pairs[number] for number in phrases))
            case _:
                yield id, And((phrase, Not(words[word])))


def peer(asked: Drawn, pairs: Sequence[Phrase], words: Sequence[Phrase]) -> Any:
    """The same queries in `mokaccino`, where each clause is a value of one field."""
    mokaccino = import_module("mokaccino.mokaccino")

    def translated(query: Query) -> Any:
        match query:
            case And(operands):
                return mokaccino.Query.from_and([translated(operand) for operand in operands])
            case Or(operands):
                return mokaccino.Query.from_or([translated(operand) for operand in operands])
            case Not(operand):
                return mokaccino.Query.from_not(translated(operand))
            case Phrase(words=asked):
                return mokaccino.Query.from_kv("f", " ".join(word.text for word in asked))
        raise TypeError(query)

    percolator = mokaccino.Percolator()
    for id, query in queries(asked, pairs, words):
        percolator.add_query_id(translated(query), id)
    return percolator


def documents(papers: Sequence[PaperText]) -> list[Any]:
    new = import_module("mokaccino.mokaccino").Document
    made = []
    for paper in papers:
        document = new()
        for value in set().union(*features(paper)):
            document.add_value("f", value)
        made.append(document)
    return made


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def milliseconds(work: Callable[[], object], papers: Sequence[PaperText]) -> float:
    """A paper."""
    return 1000 * seconds(work) / len(papers)


def occupied() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def measured(count: int, papers: Sequence[PaperText], clauses: Any) -> dict[str, Any]:
    pairs, pair_shares, words, word_shares = clauses
    asked = drawn(count, pair_shares, word_shares)
    learned, given = papers[:LEARNED], papers[LEARNED : LEARNED + MEASURED]
    before = occupied()
    ours = Percolator()
    build = seconds(lambda: ours.build(queries(asked, pairs, words)))
    # The frequency of the clauses is learned from papers that are not measured.
    ours.match(learned)
    ours.match(given[:1])
    memory = occupied() - before
    rows, ids = ours.match(given)
    line = {
        "name": "percolator",
        "subscriptions": count,
        "matching": round(len(rows) / count / len(given), 4),
        "bytes_per_subscription": round(memory / count),
        "build_seconds": round(build, 2),
    }
    if find_spec("mokaccino") is None:
        took = median(milliseconds(lambda: ours.match(given), given) for _ in range(ROUNDS))
        return line | {"ours": round(took, 3), "peer": None, "ratio": None, "same_answers": None}
    other, finished = peer(asked, pairs, words), documents(given)
    rounds = [
        (
            milliseconds(lambda: ours.match(given), given),
            milliseconds(lambda: [other.percolate_list(document) for document in finished], given),
            milliseconds(lambda: ours.match(given[:1]), given[:1]),
        )
        for _ in range(ROUNDS)
    ]
    our_time, mokaccino, alone = map(median, zip(*rounds, strict=True))
    answers = [sorted(other.percolate_list(document)) for document in finished]
    return line | {
        "ours": round(our_time, 3),
        "peer": round(mokaccino, 3),
        "ratio": round(mokaccino / our_time, 2),
        "same_answers": same(rows, ids, answers),
        "one_paper_alone": round(alone, 3),
    }


def same(rows: NDArray[np.int64], ids: NDArray[np.int64], answers: Sequence[Sequence[int]]) -> bool:
    order = np.lexsort((ids, rows))
    counts = [len(answer) for answer in answers]
    return np.array_equal(ids[order], np.concatenate(answers)) and np.array_equal(
        rows[order], np.repeat(np.arange(len(answers)), counts)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], help="numbers of subscriptions")
    sizes = parser.parse_args().sizes
    if find_spec("mokaccino") is None:
        print("no mokaccino for this Python or platform: measured without the peer", file=sys.stderr)
    papers = [tokenised(text) for text in abstracts()]
    clauses = vocabulary(papers)
    for count in sizes:
        print(json.dumps(measured(count, papers, clauses)), flush=True)


if __name__ == "__main__":
    main()
