import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.interests.calibration import (
    FLOOR,
    HALF_LIFE_DAYS,
    Delivered,
    Vector,
    Volume,
    correction,
    cosine_weights,
    embedding_text,
    nearest_liked,
    parse_volume,
    score,
    threshold_from_quantiles,
    threshold_from_scores,
)
from services.errors import ConfigError

QUANTILES = ((0.2, 0.2), (0.1, 0.25), (0.01, 0.4), (0.001, 0.55))
NONE = np.zeros((0, 8), np.float32)
seeds = st.integers(0, 2**32 - 1)
volumes = st.builds(Volume, st.integers(1, 60), st.sampled_from(["day", "week", "month"]))


def units(seed: int, count: int) -> Vector:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


# ── compiling ─────────────────────────────────────────────────────────────────────────────────────────────────


@given(seeds, st.integers(0, 5), st.integers(0, 5), st.booleans())
def test_the_weights_have_length_one(seed: int, likes: int, dislikes: int, with_text: bool) -> None:
    rows = units(seed, likes + dislikes + 1)
    text = rows[-1] if with_text or not likes else None
    weights = cosine_weights(text, rows[:likes], rows[likes : likes + dislikes])
    assert weights.dtype == np.float32
    assert np.linalg.norm(weights) == pytest.approx(1, abs=1e-5)


def test_a_text_alone_is_its_own_vector() -> None:
    text = units(1, 1)[0]
    assert cosine_weights(text, NONE, NONE) == pytest.approx(text, abs=1e-6)


@given(seeds)
def test_a_liked_paper_pulls_the_interest_towards_itself(seed: int) -> None:
    text, liked = units(seed, 2)
    before, after = cosine_weights(text, NONE, NONE), cosine_weights(text, liked[None], NONE)
    assert after @ liked >= before @ liked - 1e-6
    assert after @ text > -1e-6


@given(seeds)
def test_a_disliked_paper_pushes_the_interest_away(seed: int) -> None:
    text, liked, disliked = units(seed, 3)
    before = cosine_weights(text, liked[None], NONE)
    after = cosine_weights(text, liked[None], disliked[None])
    assert after @ disliked <= before @ disliked + 1e-6


def test_a_dislike_weighs_less_than_a_like() -> None:
    liked, disliked = np.eye(8, dtype=np.float32)[:2]
    weights = cosine_weights(None, liked[None], disliked[None])
    assert weights @ liked > -(weights @ disliked) > 0


def test_what_cancels_out_still_gives_an_interest() -> None:
    text, same = units(3, 1)[0], units(3, 1)
    assert cosine_weights(text, -same, NONE) == pytest.approx(text, abs=1e-6)
    assert cosine_weights(None, np.concatenate([same, -same]), NONE) == pytest.approx(text, abs=1e-6)
    assert np.linalg.norm(cosine_weights(text, NONE, same)) == pytest.approx(1, abs=1e-5)


def test_dislikes_alone_are_no_interest() -> None:
    with pytest.raises(ConfigError, match="needs a text or a paper you like"):
        cosine_weights(None, NONE, units(0, 2))


def test_scores_are_cosines_row_by_row() -> None:
    rows = units(5, 4)
    assert score(rows[2], rows)[2] == pytest.approx(1, abs=1e-6)
    assert score(rows[2], NONE).shape == (0,)


def test_the_nearest_liked_paper_is_named_with_its_cosine() -> None:
    rows = units(6, 5)
    row, cosine = nearest_liked(rows, rows[3])
    assert row == 3
    assert cosine == pytest.approx(1, abs=1e-6)


# ── volume ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "canonical", "per_day"),
    [
        ("5/week", "5/week", 5 / 7),
        ("1/day", "1/day", 1),
        (" 3 / Day ", "3/day", 3),
        ("5 a week", "5/week", 5 / 7),
        ("2 per month", "2/month", 2 / 30),
        ("007/week", "7/week", 1),
        ("1000/day", "1000/day", 1000),
    ],
)
def test_a_volume_is_read(text: str, canonical: str, per_day: float) -> None:
    volume = parse_volume(text)
    assert str(volume) == canonical
    assert volume.per_day == pytest.approx(per_day)
    assert parse_volume(str(volume)) == volume


@pytest.mark.parametrize(
    "text", ["", "5", "five/week", "-3/day", "1.5/day", "5/year", "5/week/day", "٣/day", "9" * 5000]
)
def test_nonsense_is_no_volume(text: str) -> None:
    with pytest.raises(ConfigError, match="is not like 5/week") as caught:
        parse_volume(text)
    assert len(str(caught.value)) < 200


def test_a_volume_of_nothing_or_of_everything_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="pause the subscription"):
        parse_volume("0/day")
    with pytest.raises(ConfigError, match="more than 1000 a day; for everything use a query"):
        parse_volume("10000/day")


# ── thresholds ────────────────────────────────────────────────────────────────────────────────────────────────


@given(seeds, volumes, st.integers(1, 90))
def test_the_calibrated_threshold_lets_the_volume_through(seed: int, volume: Volume, days: int) -> None:
    scores = np.random.default_rng(seed).uniform(-1, 1, 3000).astype(np.float32)
    threshold = threshold_from_scores(scores, np.zeros(3000, np.float32), 1, Volume(volume.count, "day"), floor=-1.0)
    assert int((scores >= threshold).sum()) == min(len(scores), volume.count)
    ages = np.repeat(np.arange(days), -(-3000 // days))[:3000].astype(np.float32)
    threshold = threshold_from_scores(scores, ages, days, volume, floor=-1.0)
    weight = np.exp2(-ages / HALF_LIFE_DAYS)
    wanted = volume.per_day * np.exp2(-np.arange(days) / HALF_LIFE_DAYS).sum()
    passing = weight[scores >= threshold].sum()
    assert passing >= min(wanted, weight.sum()) - 1e-6 or threshold == -1.0
    assert passing - wanted < 1 or threshold == -1.0


@given(seeds, volumes, volumes, st.integers(1, 90))
def test_who_wants_more_gets_a_lower_threshold(seed: int, a: Volume, b: Volume, days: int) -> None:
    scores = np.random.default_rng(seed).uniform(-1, 1, 500).astype(np.float32)
    less, more = sorted((a, b), key=lambda volume: volume.per_day)
    ages = np.arange(500, dtype=np.float32) % days
    assert threshold_from_scores(scores, ages, days, less) >= threshold_from_scores(scores, ages, days, more)
    assert threshold_from_quantiles(QUANTILES, less, 400) >= threshold_from_quantiles(QUANTILES, more, 400)


@given(seeds, volumes)
def test_no_threshold_is_below_the_floor(seed: int, volume: Volume) -> None:
    scores = np.random.default_rng(seed).uniform(-1, 0.2, 50).astype(np.float32)
    assert threshold_from_scores(scores, np.zeros(50, np.float32), 14, volume) >= FLOOR
    assert threshold_from_quantiles(QUANTILES, volume, 0.5) >= FLOOR


def test_an_archive_smaller_than_the_volume_leaves_the_floor() -> None:
    two, none = np.array([0.9, 0.8], np.float32), np.zeros(0, np.float32)
    assert threshold_from_scores(two, two * 0, 14, Volume(1, "day")) == FLOOR
    assert threshold_from_scores(none, none, 14, Volume(1, "day")) == FLOOR


def test_recent_days_weigh_more() -> None:
    scores, ages = np.linspace(1, 0.5, 400, dtype=np.float32), np.zeros(400, np.float32)
    busy_then, busy_now = ages.copy(), ages.copy()
    busy_then[:200], busy_now[200:] = 27, 27
    volume = Volume(1, "day")
    assert threshold_from_scores(scores, busy_then, 28, volume) < threshold_from_scores(scores, busy_now, 28, volume)


def test_what_was_delivered_corrects_the_volume() -> None:
    scores, ages, volume = np.linspace(1, 0.5, 900, dtype=np.float32), np.arange(900) % 30, Volume(1, "day")
    steady = threshold_from_scores(scores, ages.astype(np.float32), 30, volume, Delivered(14, 14))
    too_few = threshold_from_scores(scores, ages.astype(np.float32), 30, volume, Delivered(4, 14))
    too_many = threshold_from_scores(scores, ages.astype(np.float32), 30, volume, Delivered(40, 14))
    assert too_few < steady == threshold_from_scores(scores, ages.astype(np.float32), 30, volume) < too_many
    assert correction(volume, Delivered(0, 100)) == 2
    assert correction(volume, Delivered(1000, 1)) == 0.5
    assert correction(volume, Delivered(0, 0)) == 1


def test_quantiles_are_interpolated_in_the_logarithm_of_the_share() -> None:
    assert threshold_from_quantiles(QUANTILES, Volume(10, "day"), 1000) == pytest.approx(0.4)
    assert threshold_from_quantiles(QUANTILES, Volume(10, "day"), 1000 * 10**0.5) == pytest.approx(0.475)


def test_a_volume_rarer_than_all_quantiles_goes_on_along_the_tail() -> None:
    assert threshold_from_quantiles(QUANTILES, Volume(1, "day"), 10_000) == pytest.approx(0.7)
    assert threshold_from_quantiles(QUANTILES, Volume(1, "month"), 1e9) == 1.0


def test_scores_of_its_own_move_an_interest_along_the_reference() -> None:
    # A tenth of its papers lies above 0.35, where the reference has 0.25.
    scores = np.array([0.0] * 90 + [0.35] * 11, np.float32)
    volume = Volume(10, "day")
    assert threshold_from_quantiles(QUANTILES, volume, 1000, scores) == pytest.approx(0.5, abs=1e-6)
    assert threshold_from_quantiles(QUANTILES, volume, 1000, scores[-20:]) == pytest.approx(0.4)


def test_before_anything_was_announced_a_usual_day_is_assumed() -> None:
    assert threshold_from_quantiles(QUANTILES, Volume(5, "day"), 0) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("title", "abstract", "text"),
    [("A title", "Its abstract.", "A title. Its abstract."), ("Why?", "", "Why?"), ("A title.", " B", "A title. B")],
)
def test_title_and_abstract_are_embedded_together(title: str, abstract: str, text: str) -> None:
    assert embedding_text(title, abstract) == text
