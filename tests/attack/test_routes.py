"""Every route against every kind of visitor who may not use it. A new route fails until ACCESS states who may."""

from collections.abc import Callable, Iterator
from urllib.parse import urljoin, urlsplit

import pytest
from httpx2 import Response

from services.store.accounts import accounts, credentials, sessions
from services.web.auth import COOKIE
from tests.attack.access import (
    ACCESS,
    MARK,
    VALID,
    Access,
    Route,
    access_of,
    address_of,
    every_route,
    routes_of,
    rows_of_ada,
    signed_tokens,
    state_of,
)
from tests.web.conftest import BASE, Browser, Site

PRIVATE = (Access.SIGNED_IN, Access.OWNER, Access.OPERATOR)
CHECKED_FORMS = (Access.PUBLIC, *PRIVATE)
"""The kinds of access whose forms need the origin and the token of this site."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
def adas(site: Site) -> dict[str, str]:
    """The ids of Ada's rows, by the parameter of the path."""
    return rows_of_ada(site)


def answers(browser: Browser, routes: list[Route], ids: dict[str, str]) -> Iterator[tuple[Route, Response]]:
    for route in routes:
        address = address_of(route, ids)
        yield route, browser.get(address) if route[0] == "GET" else browser.post(address, VALID)


def assert_refused(
    site: Site, browser: Browser, routes: list[Route], ids: dict[str, str], is_refusal: Callable[[Response], bool]
) -> None:
    """Each answer is a refusal that shows nothing of Ada, and no row changes."""
    before = state_of(site)
    assert routes
    for route, answer in answers(browser, routes, ids):
        assert is_refusal(answer), f"{route}: {answer.status_code}"
        assert MARK.lower() not in f"{answer.text}{answer.headers}".lower(), f"{route} shows a row of another account"
    assert state_of(site) == before


def is_sent_to_signin(answer: Response) -> bool:
    return answer.status_code == 303 and answer.headers["location"].startswith("/signin")


def is_not_found(answer: Response) -> bool:
    return answer.status_code == 404


def is_not_allowed(answer: Response) -> bool:
    return answer.status_code == 403


def test_access_states_exactly_the_routes_of_the_application(site: Site) -> None:
    routes = every_route(site.app.routes)
    for route in routes:
        access_of(route)
    assert set(ACCESS) == routes, "ACCESS states routes that are gone"


def test_an_anonymous_visitor_is_sent_to_the_sign_in(site: Site, adas: dict[str, str]) -> None:
    assert_refused(site, site.browser(), routes_of(site, *PRIVATE), adas, is_sent_to_signin)


def forged(cookie: str) -> str:
    payload, rest = cookie.split(".", 1)
    return f"{payload[:-1]}{'A' if payload[-1] != 'A' else 'B'}.{rest}"


def unsigned(cookie: str) -> str:
    return cookie.rpartition(".")[0]


@pytest.mark.parametrize("change", [forged, unsigned, str.swapcase, lambda cookie: cookie * 20])
def test_a_forged_cookie_opens_nothing(site: Site, adas: dict[str, str], change: Callable[[str], str]) -> None:
    ada = site.browser(site.ada)
    cookie = change(str(ada.client.cookies[COOKIE]))
    ada.client.cookies.clear()
    ada.client.headers["Cookie"] = f"{COOKIE}={cookie}"
    reads = [route for route in routes_of(site, *PRIVATE) if route[0] == "GET"]
    writes = [route for route in routes_of(site, *PRIVATE) if route[0] == "POST"]
    assert_refused(site, ada, reads, adas, is_sent_to_signin)
    # The token of a form belongs to the session too; either check may come first.
    assert_refused(site, ada, writes, adas, lambda answer: is_sent_to_signin(answer) or is_not_allowed(answer))


def test_the_cookie_of_an_ended_session_opens_nothing(site: Site, adas: dict[str, str]) -> None:
    ada = site.browser(site.ada)
    with site.db.transaction() as tx:
        sessions.end_all(tx, site.ada)
    assert_refused(site, ada, routes_of(site, *PRIVATE), adas, is_sent_to_signin)


def test_another_account_gets_404_for_rows_that_are_not_its_own(site: Site, adas: dict[str, str]) -> None:
    routes = routes_of(site, Access.OWNER, Access.OPERATOR)
    assert_refused(site, site.browser(site.ben), routes, adas, is_not_found)


def test_an_operator_gets_404_for_rows_of_other_accounts(site: Site, adas: dict[str, str]) -> None:
    with site.db.transaction() as tx:
        carol = accounts.add(tx, "carol@example.org", "UTC", operator=True)
    assert_refused(site, site.browser(carol), routes_of(site, Access.OWNER), adas, is_not_found)


def test_pages_of_an_account_show_nothing_of_another_one(site: Site, adas: dict[str, str]) -> None:
    reads = [route for route in routes_of(site, Access.SIGNED_IN, Access.PUBLIC) if route[0] == "GET"]
    assert_refused(site, site.browser(site.ben), reads, adas, lambda answer: answer.status_code in (200, 303))


@pytest.mark.parametrize(
    "path",
    [
        "/matches?subscription={subscription_id}",
        "/papers/{paper_id}?subscription={subscription_id}",
        "/matches?before=1&subscription={subscription_id}",
    ],
)
def test_a_subscription_of_another_account_gives_404(site: Site, adas: dict[str, str], path: str) -> None:
    assert site.browser(site.ben).get(path.format(**adas)).status_code == 404
    assert site.browser(site.ada).get(path.format(**adas)).status_code == 200


@pytest.mark.parametrize(
    ("path", "field", "row"),
    [
        ("/subscriptions", "channels", "channel_id"),
        ("/silences", "subscription", "subscription_id"),
        ("/subscriptions/preview", "editing", "subscription_id"),
        ("/subscriptions/try", "editing", "subscription_id"),
    ],
)
def test_a_row_of_another_account_cannot_be_named_in_a_form(
    site: Site, adas: dict[str, str], path: str, field: str, row: str
) -> None:
    ben = site.browser(site.ben)
    before = state_of(site)
    fields = {"query": "x", "until": "2999-01-01", "confirmed": "yes", field: adas[row]}
    answer = ben.post(path, fields)
    assert answer.status_code in (404, 422)
    assert MARK not in answer.text
    assert state_of(site) == before


def test_a_signed_link_opens_only_its_own_page(site: Site, adas: dict[str, str]) -> None:
    tokens = signed_tokens(site, adas)
    routes = routes_of(site, Access.LINK)
    assert {route[1].split("/")[1] for route in routes} == set(tokens), "state the token of the new link in access.py"
    for route in routes:
        kind = route[1].split("/")[1]
        wrong = [token for other, token in tokens.items() if other != kind]
        number, _, rest = tokens[kind].partition("-")
        another = str(int(number) + 1) if number.isdigit() else f"a{number[1:]}"
        wrong += [tokens[kind][:-1], tokens[kind] + "0", f"{another}-{rest}"]
        wrong += ["0", "-", "99999999999999999999-x", "1-\u00e9", "%00", "1-%ED%A0%80", "1" * 5_000, "²-x"]
        before = state_of(site)
        for token in wrong:
            for _, answer in answers(site.browser(), [route], {**adas, "token": token}):
                assert answer.status_code == 404, (route, token)
        assert state_of(site) == before


def test_a_signed_link_needs_no_session(site: Site, adas: dict[str, str]) -> None:
    """Without this test, a route that always answers 404 would pass the one above."""
    tokens = signed_tokens(site, adas)
    for route in routes_of(site, Access.LINK):
        token = tokens[route[1].split("/")[1]]
        for _, answer in answers(site.browser(), [route], {**adas, "token": token}):
            assert answer.status_code == 200, route


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Origin": BASE + ".evil.example"}],
    ids=str,
)
def test_a_form_of_another_site_is_refused(site: Site, adas: dict[str, str], headers: dict[str, str]) -> None:
    ada = site.browser(site.ada)
    before = state_of(site)
    for route in forms(site):
        assert ada.post(address_of(route, adas), VALID, **headers).status_code == 403, route
    assert state_of(site) == before


@pytest.mark.parametrize("token", ["", "0" * 64, "\u00e9", "another"])
def test_a_form_without_the_token_of_its_session_is_refused(site: Site, adas: dict[str, str], token: str) -> None:
    ada, ben = site.browser(site.ada), site.browser(site.ben)
    before = state_of(site)
    fields = {**VALID, "token": ben.token if token == "another" else token}
    for route in forms(site):
        assert ada.post(address_of(route, adas), fields).status_code == 403, route
    assert state_of(site) == before


def forms(site: Site) -> list[Route]:
    return [route for route in routes_of(site, *CHECKED_FORMS) if route[0] == "POST"]


def test_no_other_method_does_anything(site: Site, adas: dict[str, str]) -> None:
    ada, routes = site.browser(site.ada), every_route(site.app.routes)
    before = state_of(site)
    for _, path in routes:
        for method in METHODS:
            if (method, path) in routes:
                continue
            answer = ada.client.request(method, address_of((method, path), adas), headers={"Origin": BASE})
            # Another route may have the same form of path: /subscriptions/preview is no number of a subscription.
            assert answer.status_code in (404, 405), (method, path)
            assert ("does not exist" in answer.text) == (answer.status_code == 404), (method, path)
    assert state_of(site) == before


def test_head_answers_as_get_and_changes_nothing(site: Site, adas: dict[str, str]) -> None:
    ada, routes = site.browser(site.ada), every_route(site.app.routes)
    before = state_of(site)
    for route in routes:
        address = address_of(route, adas)
        head = ada.client.head(address)
        assert head.content == b"", route
        expected = (ada.get(address).status_code,) if ("GET", route[1]) in routes else (404, 405)
        assert head.status_code in expected, route
    assert state_of(site) == before


ENDING = ("delete", "remove", "end", "release", "signout", "revoke", "/sessions/end")
"""The ends of the paths of routes that end a row; the last one ends all rows of its kind."""


def test_the_owner_gets_an_answer(site: Site, adas: dict[str, str]) -> None:
    """Without this test, a route that always answers 404 would pass the tests above."""
    routes = routes_of(site, Access.OWNER, Access.OPERATOR, Access.SIGNED_IN)
    # What ends a row comes last. Each ends another row.
    for route in sorted(routes, key=lambda route: (route[1].endswith(ENDING), route[1].endswith(ENDING[-1]), route)):
        for _, answer in answers(site.browser(site.ada), [route], adas):
            # VALID does not fit every form, so the check of a form may refuse it with 422.
            assert answer.status_code in (200, 303, 422), (route, answer.status_code)


def test_no_answer_may_be_kept_or_guessed(site: Site, adas: dict[str, str]) -> None:
    for route, answer in answers(site.browser(site.ada), routes_of(site, *PRIVATE), adas):
        assert answer.headers["cache-control"] == "no-store", route
        assert answer.headers["x-content-type-options"] == "nosniff", route
        assert "server" not in answer.headers
        assert "x-powered-by" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/subscriptions/0", "/subscriptions/x", "/deliveries/99999999999999999999", "/nowhere"]
)
def test_an_invalid_path_is_a_404_page(site: Site, path: str) -> None:
    answer = site.browser(site.ada).get(path)
    assert answer.status_code == 404
    assert "Not found" in answer.text


TARGETS = (
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\r\nSet-Cookie: a=b",
    "/\x00",
    " //evil.example",
    "javascript:alert(1)",
    "/%0d%0aSet-Cookie:a=b",
    "/.//evil.example",
    "/a/../..//evil.example",
    "/./\\evil.example",
)


def test_signing_in_leads_to_a_page_of_this_server(site: Site) -> None:
    for target in TARGETS:
        visitor = site.browser()
        visitor.client.get("/signin", params={"next": target})
        with site.db.transaction() as tx:
            key = credentials.create_signin_link(tx, site.ben)
        answer = visitor.post("/signin", {"key": key})
        assert answer.status_code == 303
        assert urlsplit(urljoin(BASE, answer.headers["location"])).netloc == urlsplit(BASE).netloc, target
        assert "a=b" not in answer.headers.get("set-cookie", "")
