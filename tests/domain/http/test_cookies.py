"""Cookies are sent back to the host, the paths and the scheme that they were set for."""

from datetime import UTC, datetime

import pytest

from services.domain.http.cookies import MAX_COOKIES, CookieJar

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("set_cookie", "url", "sent"),
    [
        ("a=1", "https://idp.example.org/transit", "a=1"),
        ("a=1", "https://www.example.org/", ""),
        ("a=1; Domain=.example.org; Path=/", "https://www.example.org/feed", "a=1"),
        ("a=1; Domain=example.org; Path=/", "https://example.org.evil.com/", ""),
        ("a=1; Domain=other.org; Path=/", "https://other.org/", ""),
        ("a=1; Domain=org; Path=/", "https://other.org/", ""),
        ("a=1; Path=/x", "https://idp.example.org/x/y", "a=1"),
        ("a=1; Path=/x", "https://idp.example.org/xy", ""),
        ("a=1; Path=/; Secure", "http://idp.example.org/", ""),
        ("a=1; Path=/; Max-Age=0", "https://idp.example.org/", ""),
        ("a=1; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "https://idp.example.org/", ""),
        (
            "a=1; Path=/; Expires=Thu, 01 Jan 2099 00:00:00 GMT; HttpOnly; SameSite=Lax",
            "https://idp.example.org/",
            "a=1",
        ),
        ("a=b=c; Path=/", "https://idp.example.org/", "a=b=c"),
        ("no pair", "https://idp.example.org/", ""),
        ("a=\r\nX: y", "https://idp.example.org/", ""),
    ],
)
def test_a_cookie_is_sent_where_it_belongs(set_cookie: str, url: str, sent: str) -> None:
    jar = CookieJar()
    jar.store("https://idp.example.org/authorize", [set_cookie], NOW)
    assert jar.header(url) == sent


def test_later_cookies_replace_and_longer_paths_come_first() -> None:
    jar = CookieJar()
    jar.store("https://a.example.org/x/y", ["a=1; Path=/", "b=2", "a=3; Path=/"], NOW)
    assert jar.header("https://a.example.org/x/z") == "b=2; a=3"
    jar.store("https://a.example.org/x/y", ["b=; Max-Age=-1"], NOW)
    assert jar.header("https://a.example.org/x/z") == "a=3"


def test_a_cookie_for_one_address_is_not_for_others() -> None:
    jar = CookieJar()
    jar.store("http://127.0.0.1/", ["a=1; Domain=0.0.1"], NOW)
    assert jar.header("http://127.0.0.1/") == ""


def test_the_number_of_cookies_is_limited() -> None:
    jar = CookieJar()
    jar.store("https://a.example.org/", [f"c{number}=1" for number in range(200)], NOW)
    assert jar.header("https://a.example.org/").count("=") == MAX_COOKIES
