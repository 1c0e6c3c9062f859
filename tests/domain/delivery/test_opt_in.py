from datetime import UTC, datetime, timedelta

import pytest

from services.domain.delivery.opt_in import may_request

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def minutes(*ago: float) -> list[datetime]:
    return [NOW - timedelta(minutes=one) for one in ago]


@pytest.mark.parametrize(
    ("address", "ip", "may"),
    [
        ([], [], True),
        ([59], [], False),
        ([61], [], True),
        ([61, 130], [], True),
        ([61, 130, 600], [], False),
        ([61, 130, 1441], [], True),
        ([], [1] * 9, True),
        ([], [1] * 10, False),
        ([], [61] * 100, True),
    ],
)
def test_one_request_an_hour_and_three_a_day_for_an_address_and_ten_an_hour_from_an_ip(
    address: list[float], ip: list[float], may: bool
) -> None:
    assert may_request(minutes(*address), minutes(*ip), NOW) is may
