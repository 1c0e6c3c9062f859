from datetime import UTC, datetime

import pytest

from services.domain.http.caching import MAX_WAIT, max_age, retry_after, validator

NOW = datetime(2026, 5, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 3600 ", 3600.0),
        ("Sat, 30 May 2026 12:01:00 GMT", 60.0),
        ("Saturday, 30-May-26 12:01:00 GMT", 60.0),
        ("Sat, 30 May 2026 11:00:00 GMT", None),
        ("9" * 400, MAX_WAIT),
        ("Sat, 30 May 2099 12:01:00 GMT", MAX_WAIT),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("٧", None),
        ("nan", None),
        ("Sat, 99 Foo 2026", None),
    ],
)
def test_retry_after_is_a_number_or_a_date_and_garbage_is_ignored(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("max-age=60", 60.0),
        ("public, Max-Age=60, must-revalidate", 60.0),
        ("no-cache", None),
        ("max-age=", None),
        ("max-age=-1", None),
        ("s-maxage=9", None),
        ("max-age=" + "9" * 300, MAX_WAIT),
    ],
)
def test_max_age_is_read_from_cache_control(header: str, seconds: float | None) -> None:
    assert max_age(header) == seconds


@pytest.mark.parametrize(
    ("value", "kept"),
    [('W/"a"', True), ("", False), (None, False), ("a\r\nb", False), ("é", False), ("a" * 501, False)],
)
def test_a_validator_that_cannot_be_sent_back_is_dropped(value: str | None, kept: bool) -> None:
    assert (validator(value) == value and value is not None) is kept
