"""Access to every route, anonymous and from another account. A new route fails a test until it is listed here."""

from collections.abc import Iterable

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from tests.web.conftest import Site

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/signin"),
    ("POST", "/signin"),
    ("GET", "/unsubscribe/{token}"),
    ("POST", "/unsubscribe/{token}"),
    ("GET", "/confirm/{token}"),
    ("POST", "/confirm/{token}"),
    ("POST", "/bounces"),
    ("GET", "/feeds/{token}"),
}
"""Routes without sign-in. A token in the path is the authorisation."""
OWN = {
    ("GET", "/subscriptions"),
    ("POST", "/subscriptions"),
    ("POST", "/subscriptions/preview"),
    ("GET", "/matches"),
    ("GET", "/papers/{name:path}"),
    ("GET", "/channels"),
    ("POST", "/channels"),
    ("GET", "/silences"),
    ("POST", "/silences"),
    ("GET", "/deliveries"),
    ("GET", "/sources"),
    ("GET", "/sources/{source_id}"),
    ("GET", "/account"),
    ("POST", "/account"),
    ("POST", "/signout"),
}
"""Routes that show or change the signed-in account."""
FOREIGN = {
    ("GET", "/subscriptions/{subscription_id}"),
    ("POST", "/subscriptions/{subscription_id}"),
    ("POST", "/subscriptions/{subscription_id}/pause"),
    ("POST", "/subscriptions/{subscription_id}/resume"),
    ("POST", "/subscriptions/{subscription_id}/feed"),
    ("GET", "/subscriptions/{subscription_id}/delete"),
    ("POST", "/subscriptions/{subscription_id}/delete"),
    ("POST", "/channels/{channel_id}/hours"),
    ("POST", "/channels/{channel_id}/enable"),
    ("POST", "/channels/{channel_id}/secret"),
    ("POST", "/channels/{channel_id}/subscribe-again"),
    ("POST", "/channels/{channel_id}/ask"),
    ("POST", "/channels/{channel_id}/test"),
    ("GET", "/channels/{channel_id}/remove"),
    ("POST", "/channels/{channel_id}/remove"),
    ("POST", "/silences/{silence_id}/end"),
    ("GET", "/deliveries/{delivery_id}"),
    ("POST", "/deliveries/{delivery_id}/retry"),
    ("GET", "/deliveries/{delivery_id}/message"),
}
"""Routes for the owner of a row; other accounts get 404."""
OPERATORS = {
    ("POST", "/sources"),
    ("POST", "/sources/{source_id}/poll"),
    ("GET", "/sources/{source_id}/remove"),
    ("POST", "/sources/{source_id}/remove"),
    ("POST", "/quarantine/{paper_id}/release"),
    ("GET", "/outbox"),
    ("GET", "/outbox/{name}"),
    ("GET", "/outbox/{name}/html"),
    ("GET", "/templates"),
    ("GET", "/templates/{sample}/html"),
}
"""Routes for operators; other accounts get 404."""
REDIRECT = {("GET", "/")}
VALID = {"name": "x", "query": "stolen", "cadence": "daily", "at": "09:00", "weekday": "tue", "until": ""}


@pytest.fixture
def adas(site: Site) -> dict[str, str]:
    """The ids of Ada's rows."""
    channel = site.channel(site.ada, "email:ada@example.org")
    subscription = site.subscription(site.ada, channel)
    site.sql(
        "INSERT INTO delivery (account_id, channel_id, kind, idem_key, message_id, state, rendered) "
        f"VALUES ({site.ada}, {channel}, 'digest', 'k', '<m@x>', 'dead', 'Subject: x')"
    )
    site.sql("INSERT INTO source (kind, location, polled) VALUES ('arxiv', 'cs.LG', true)")
    paper = site.paper("Set aside")
    site.sql(f"INSERT INTO quarantine (paper_id, shard, error) VALUES ({paper}, 0, 'lost')")
    site.sql(f"INSERT INTO silence (account_id, until) VALUES ({site.ada}, now() + interval '1 day')")
    outbox = site.settings.data_dir / "outbox"
    outbox.mkdir(parents=True)
    (outbox / "mail-1.eml").write_text("Subject: Hers\r\n\r\nsecret text\r\n")
    ids = {
        "subscription_id": subscription,
        "channel_id": channel,
        "delivery_id": 1,
        "source_id": 1,
        "silence_id": 1,
        "paper_id": paper,
        "sample": "digest",
    }
    return {**{name: str(value) for name, value in ids.items()}, "name": "mail-1.eml", "sample": "digest"}


def every_route(routes: Iterable[BaseRoute]) -> set[tuple[str, str]]:
    found = {(method, route.path) for route in routes if isinstance(route, APIRoute) for method in route.methods or ()}
    for route in routes:
        inner = getattr(getattr(route, "original_router", None), "routes", None)
        found |= every_route(inner) if inner else set()
    return found


def state_of(site: Site) -> list[tuple[object, ...]]:
    tables = (
        "subscription",
        "channel",
        "delivery",
        "source",
        "account",
        "subscription_channel",
        "silence",
        "quarantine",
    )
    return [row for table in tables for row in site.sql(f"SELECT * FROM {table} ORDER BY 1")]


def test_every_route_is_listed_here(site: Site) -> None:
    listed = OPEN | OWN | FOREIGN | OPERATORS | REDIRECT
    assert every_route(site.app.routes) == listed


@pytest.mark.parametrize(("method", "path"), sorted(OWN | FOREIGN | OPERATORS))
def test_anonymous_visitors_are_sent_to_the_sign_in(site: Site, adas: dict[str, str], method: str, path: str) -> None:
    before, nobody = state_of(site), site.browser()
    address = path.replace(":path", "").format(**adas)
    answer = nobody.get(address) if method == "GET" else nobody.post(address, VALID)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/signin")
    assert state_of(site) == before


@pytest.mark.parametrize(("method", "path"), sorted(FOREIGN | OPERATORS))
def test_another_account_gets_404(site: Site, adas: dict[str, str], method: str, path: str) -> None:
    before, other = state_of(site), site.browser(site.ben)
    address = path.format(**adas)
    answer = other.get(address) if method == "GET" else other.post(address, VALID)
    assert answer.status_code == 404
    assert state_of(site) == before


@pytest.mark.parametrize(("method", "path"), sorted(FOREIGN | OPERATORS))
def test_the_owner_gets_an_answer(site: Site, adas: dict[str, str], method: str, path: str) -> None:
    """Without this test, a route that always answers 404 would pass the tests above."""
    owner = site.browser(site.ada)
    address = path.format(**adas)
    fields = {**VALID, "kind": "feed", "location": "https://example.org/feed"}
    answer = owner.get(address) if method == "GET" else owner.post(address, fields)
    # An e-mail channel has no signing secret; the 422 shows that the channel was found.
    assert answer.status_code in ((422,) if path.endswith("/secret") else (200, 303))


@pytest.mark.parametrize("path", ["/subscriptions", "/matches", "/channels", "/deliveries", "/sources", "/account"])
def test_pages_show_nothing_of_another_account(site: Site, adas: dict[str, str], path: str) -> None:
    paper = site.paper("Ada's paper")
    site.match(site.ada, int(adas["subscription_id"]), paper)
    page = site.browser(site.ben).get(path)
    assert page.status_code == 200
    assert "ada@example.org" not in page.text
    assert "Ada's paper" not in page.text.replace("&#39;", "'")


@pytest.mark.parametrize(
    "path", ["/matches?subscription={subscription_id}", "/papers/1?subscription={subscription_id}"]
)
def test_a_subscription_of_another_account_gives_404(site: Site, adas: dict[str, str], path: str) -> None:
    site.paper("A paper")
    assert site.browser(site.ben).get(path.format(**adas)).status_code == 404
    assert site.browser(site.ada).get(path.format(**adas)).status_code == 200


def test_a_channel_of_another_account_cannot_be_used(site: Site, adas: dict[str, str]) -> None:
    before = state_of(site)
    answer = site.browser(site.ben).post("/subscriptions", {"query": "x", "channels": adas["channel_id"]})
    assert answer.status_code == 404
    assert state_of(site) == before


@pytest.mark.parametrize(
    "path", ["/subscriptions/0", "/subscriptions/x", "/deliveries/99999999999999999999", "/nowhere"]
)
def test_an_invalid_path_is_a_404_page(site: Site, path: str) -> None:
    answer = site.browser(site.ada).get(path)
    assert answer.status_code == 404
    assert "Not found" in answer.text
