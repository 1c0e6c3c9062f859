"""The histogram of an archive's scores with an interest, and the volumes among which a person chooses on it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.domain.interests.calibration import Volume

VOLUMES = (
    *(Volume(count, "month") for count in (1, 2)),
    *(Volume(count, "week") for count in (1, 2, 3, 5, 7, 10)),
    *(Volume(count, "day") for count in (2, 3, 5, 10, 20, 50)),
)
"""The volumes of the slider."""
BINS = 40


@dataclass(frozen=True, slots=True)
class Step:
    """A volume of the slider, and the threshold that yields it."""

    volume: Volume
    threshold: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many papers have which score, from `low` to `high` in equal steps."""

    low: float
    high: float
    counts: tuple[int, ...]
    line: float
    """The threshold."""
    steps: tuple[Step, ...]
    """By falling threshold."""

    def place(self, score: float) -> float:
        """Where a score lies between `low` and `high`, from 0 to 1."""
        return min(1.0, max(0.0, (score - self.low) / (self.high - self.low)))


def histogram(
    scores: NDArray[np.float32], threshold: float, volume: Volume, threshold_of: Callable[[Volume], float | None]
) -> Histogram | None:
    """The upper end of the scores: from the lowest threshold of the slider to the best paper. None without a score."""
    steps = _steps(threshold, volume, threshold_of)
    lowest = steps[-1].threshold
    shown = scores[scores >= lowest]
    if not len(shown):
        return None
    highest = max(float(shown.max()), threshold)
    margin = max(0.02, 0.04 * (highest - lowest))
    low, high = lowest - margin, highest + margin
    counts, _ = np.histogram(scores[scores >= low], bins=BINS, range=(low, high))
    return Histogram(low, high, tuple(counts.tolist()), threshold, steps)


def _steps(threshold: float, volume: Volume, threshold_of: Callable[[Volume], float | None]) -> tuple[Step, ...]:
    """The volumes with different thresholds, the wanted one among them. Larger volumes at the floor are left out."""
    wanted = Step(volume, threshold)
    steps = [wanted]
    for each in VOLUMES:
        other = threshold_of(each)
        if other is not None and each.per_day != volume.per_day:
            steps.append(Step(each, other))
    kept: list[Step] = []
    for step in sorted(steps, key=lambda step: step.volume.per_day):
        if step is wanted:
            kept = [other for other in kept if other.threshold > step.threshold]
        if step is wanted or not kept or step.threshold < kept[-1].threshold:
            kept.append(step)
    return tuple(kept)
