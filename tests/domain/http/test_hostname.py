"""Host names follow IDNA 2008."""

import pytest

from services.domain.http.hostname import ascii_host
from services.domain.http.ssrf import AllowList


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("straße.example", "xn--strae-oqa.example"),
        ("κλαρα-σωλις.ευ", "xn----ylba7abgd9bnh0e.xn--qxa6a"),
        ("faß.example", "xn--fa-hia.example"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("ex。straße.example", "ex.xn--strae-oqa.example"),
        ("xn--strae-oqa.example", "xn--strae-oqa.example"),
        ("My_Host", "my_host"),
        ("r3---sn-abc.example.", "r3---sn-abc.example."),
        ("::1", "::1"),
    ],
)
def test_a_host_is_the_name_that_its_owner_registered(host: str, name: str) -> None:
    assert ascii_host(host) == name


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "a\u200cb.example", "☃.example", "ß" * 70])
def test_what_is_no_host_name_is_rejected(host: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        ascii_host(host)


def test_an_allowed_host_is_met_by_its_ascii_form() -> None:
    allowed = AllowList.parse(["straße.example:8080"])
    assert allowed.has_name("xn--strae-oqa.example", 8080)
    assert not allowed.has_name("strasse.example", 8080)
