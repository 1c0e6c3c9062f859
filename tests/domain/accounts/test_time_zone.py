import pytest

from services.domain.accounts.profile import names_place, normalize_email, parse_timezone
from services.errors import ConfigError


@pytest.mark.parametrize(
    "name", ["EST", "MST", "HST", "CET", "EST5EDT", "PST", "est", "GMT+5", "Etc/GMT+5", "UTC+2", "+01:00"]
)
def test_an_abbreviation_or_an_offset_is_refused_with_a_question_for_a_place(name: str) -> None:
    with pytest.raises(ConfigError, match="which place"):
        parse_timezone(name)


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "GMT", "Europe/Berlin", "America/Argentina/Ushuaia", "Japan"])
def test_a_place_is_a_time_zone(name: str) -> None:
    assert parse_timezone(name) == name


def test_no_abbreviation_is_offered() -> None:
    assert not names_place("EST5EDT")
    assert names_place("America/New_York")


def test_a_quoted_local_part_is_an_address_of_an_account() -> None:
    assert normalize_email(' "Ada B"@Example.org') == '"ada b"@example.org'
    with pytest.raises(ConfigError):
        normalize_email('"ada"b"@example.org')


def test_a_domain_of_an_address_has_one_form() -> None:
    assert normalize_email("Anna@Straße.example") == normalize_email("anna@xn--strae-oqa.example")
    assert normalize_email("root@localhost") == "root@localhost"


@pytest.mark.parametrize("email", ["a@[127.0.0.1]", "a@127.0.0.1", "a@[IPv6:::1]", "a@x..example", "a@" + "x" * 64])
def test_an_address_of_a_machine_and_a_name_of_no_domain_are_refused(email: str) -> None:
    with pytest.raises(ConfigError, match="is not an e-mail address"):
        normalize_email(email)
