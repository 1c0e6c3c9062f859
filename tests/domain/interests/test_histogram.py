"""The histogram of scores, and the volumes of the slider under it."""

import numpy as np
import pytest

from services.domain.interests.calibration import Volume
from services.domain.interests.histogram import BINS, VOLUMES, histogram

SCORES = np.linspace(0.9, 0.1, 801).astype(np.float32)


def falling(volume: Volume) -> float:
    """A threshold that falls with the volume, down to a floor of 0.2."""
    return max(0.2, 0.9 - volume.per_day / 10)


def test_the_line_and_the_volumes_lie_within_the_histogram() -> None:
    shown = histogram(SCORES, falling(Volume(5, "week")), Volume(5, "week"), falling)
    assert shown is not None
    assert len(shown.counts) == BINS
    assert shown.low < shown.steps[-1].threshold < shown.steps[0].threshold < shown.high
    assert sum(shown.counts) == int((shown.low <= SCORES).sum())
    assert 0 < shown.place(shown.line) < 1
    assert (shown.place(-9), shown.place(9)) == (0.0, 1.0)


def test_larger_volumes_that_the_floor_makes_equal_are_left_out() -> None:
    shown = histogram(SCORES, 0.2, Volume(10, "day"), falling)
    assert shown is not None
    at_floor = [str(step.volume) for step in shown.steps if step.threshold == pytest.approx(0.2)]
    assert at_floor == ["10/day"]


def test_another_volume_than_those_of_the_slider_is_among_them() -> None:
    shown = histogram(SCORES, falling(Volume(4, "week")), Volume(4, "week"), falling)
    assert shown is not None
    volumes = [step.volume.per_day for step in shown.steps]
    assert Volume(4, "week").per_day in volumes
    assert volumes == sorted(volumes)
    assert len(VOLUMES) == 14


def test_volumes_whose_threshold_is_unknown_are_left_out() -> None:
    shown = histogram(SCORES, 0.5, Volume(5, "week"), lambda _: None)
    assert shown is not None
    assert [str(step.volume) for step in shown.steps] == ["5/week"]


def test_without_a_paper_there_is_no_histogram() -> None:
    assert histogram(np.zeros(0, np.float32), 0.5, Volume(5, "week"), falling) is None
    assert histogram(np.array([0.1], np.float32), 0.5, Volume(5, "week"), lambda _: None) is None
