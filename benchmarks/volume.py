"""The number of papers delivered compared with the volume asked for, day by day through the stream.

Interests (each topic's text, five and all examples, five and text; single papers) are learned on the first third; then
each day is calibrated on the days before it only, with what was delivered so far. `--data` is that of relevance.py;
`ours` is the share of interests within the tolerance, `peer` the share asked for. Interests whose threshold
was at the floor on more than half of the days are counted separately.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.relevance import DEFAULT, Papers, Topic, load, read  # noqa: E402
from services.domain.interests.calibration import Delivered, Volume, threshold_from_scores  # noqa: E402
from services.domain.interests.learning import FLOOR, Archive, Interest, Sample, learn  # noqa: E402
from services.domain.interests.terms import TermTable  # noqa: E402

Vector = NDArray[np.float32]
WANTED = ((Volume(3, "day"), 0.3), (Volume(1, "day"), 0.3), (Volume(5, "week"), 0.4))
SHARE = 0.8
SINGLE = 40


def interests(archive: Papers, examples: Papers, topics: list[Topic]) -> Iterator[Interest]:
    random = np.random.default_rng(3)
    known, none = Archive(archive.vectors, archive.table), archive.vectors[:0]

    def of(text: Sample | None, liked: Sample) -> Interest:
        return learn(text, liked, none, known)

    for topic in topics:
        draws = [list(random.choice(topic.examples, min(5, len(topic.examples)), replace=False)) for _ in range(4)]
        yield of(topic.text, examples.rows([]))
        yield of(None, examples.rows(topic.examples))
        yield from (of(None, examples.rows(draw)) for draw in draws)
        yield from (of(topic.text, examples.rows(draw)) for draw in draws)
    for row in random.choice(len(archive.names), SINGLE, replace=False):
        yield of(None, archive.rows([int(row)]))


def walk(scores: Vector, days: NDArray[np.int64], start: int, volume: Volume) -> tuple[float, bool]:
    """The delivered papers divided by the volume, and whether the floor set the threshold on most days."""
    delivered, held, end = 0, 0, int(days.max()) + 1
    for today in range(start, end):
        past = days < today
        so_far = Delivered(delivered, today - start)
        threshold = threshold_from_scores(scores[past], today - 1 - days[past], today, volume, so_far, FLOOR)
        held += threshold <= FLOOR
        delivered += int((scores[days == today] >= threshold).sum())
    return delivered / (volume.per_day * (end - start)), held > (end - start) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT)
    data = parser.parse_args().data
    archive, ranked, examples, topics = load(data)
    seen = [date.fromisoformat(row["first_seen"]) for path in sorted(data.glob("stream-*")) for row in read(path)]
    days = np.array([(day - seen[0]).days for day in seen])
    start = int(days[len(archive.names)])
    vectors = np.concatenate([archive.vectors, ranked.vectors])
    terms = TermTable.of([*archive.terms, *ranked.terms])
    scores = [interest.scores(vectors, terms) for interest in interests(archive, examples, topics)]
    for volume, tolerance in WANTED:
        walked = [walk(one, days, start, volume) for one in scores]
        ratios = np.array([ratio for ratio, held in walked if not held])
        spread = [round(float(one), 2) for one in np.quantile(ratios, (0.1, 0.5, 0.9))] if len(ratios) else []
        share = float((np.abs(ratios - 1) <= tolerance).mean()) if len(ratios) else 0.0
        line = {
            "name": "volume", "wanted": str(volume), "tolerance": tolerance, "days": int(days.max()) + 1 - start,
            "ours": round(share, 3), "peer": SHARE, "ratio": round(share / SHARE, 3), "interests": len(ratios),
            "held_by_floor": len(walked) - len(ratios),
            "delivered_over_wanted": spread,
        }  # fmt: skip
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
