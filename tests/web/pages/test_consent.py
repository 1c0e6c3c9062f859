"""The links in mails: GET shows a button, POST acts, and neither needs nor makes a session."""

from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from services.flow import opt_in_links
from services.store.db.database import Database
from tests.web.conftest import BASE, Browser, Site, text_of

ONE_CLICK = "List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
PARTS = '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'


@pytest.fixture
def mailer(site: Site) -> TestClient:
    """The server of a mail program: it sends no cookie and no Origin, and follows no redirect."""
    return TestClient(site.app, base_url=BASE, follow_redirects=False)


@pytest.fixture
def channel(site: Site) -> int:
    one = site.channel(site.ada, "email:ada@example.org")
    site.subscription(site.ada, one)
    return one


@pytest.fixture
def link(site: Site, channel: int) -> str:
    return link_of(site, channel)


def link_of(site: Site, channel_id: int) -> str:
    ((label,),) = site.sql(f"SELECT label FROM channel WHERE id = {channel_id}")
    secrets = site.app.state.context.secrets
    return f"/unsubscribe/{opt_in_links.unsubscribe_token(secrets, channel_id, label)}"


def unsubscribed(site: Site) -> list[int]:
    return [one for (one,) in site.sql("SELECT id FROM channel WHERE unsubscribed_at IS NOT NULL")]


@pytest.mark.parametrize(
    ("body", "headers"), [(ONE_CLICK, FORM), (PARTS, MULTIPART), ("", {}), ("x" * 200_000, {"Origin": "https://x"})]
)
def test_one_click_needs_no_cookie_no_origin_and_no_redirect(
    site: Site, mailer: TestClient, channel: int, link: str, body: str, headers: dict[str, str]
) -> None:
    for _ in range(2):
        answer = mailer.post(link, content=body, headers=headers)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
    assert unsubscribed(site) == [channel]


def test_opening_the_link_changes_nothing(site: Site, mailer: TestClient, link: str) -> None:
    for method in ("GET", "HEAD"):
        answer = mailer.request(method, link)
        assert answer.status_code in (200, 405)
        assert "set-cookie" not in answer.headers
    assert '<form method="post"' in mailer.get(link).text
    assert mailer.get(link).headers["referrer-policy"] == "no-referrer"
    assert unsubscribed(site) == []


def test_the_page_reports_the_result(mailer: TestClient, link: str) -> None:
    assert "Unsubscribe ada@example.org?" in text_of(mailer.get(link))
    assert "Nothing more is sent to ada@example.org" in text_of(mailer.post(link))
    assert "Nothing more is sent to ada@example.org" in text_of(mailer.get(link))


def test_a_link_concerns_one_channel_and_makes_no_session(
    site: Site, mailer: TestClient, channel: int, link: str
) -> None:
    other = site.channel(site.ada, "email:other@example.org")
    mailer.post(link)
    assert unsubscribed(site) == [channel]
    assert other not in unsubscribed(site)
    answer = mailer.get("/channels")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/signin")


@pytest.mark.parametrize("spoil", [
    lambda link, _: link[:-1] + ("A" if link[-1] != "A" else "B"),
    lambda link, other: f"/unsubscribe/{other}-" + link.partition("-")[2],
    lambda link, _: link.partition("-")[0],
    lambda link, _: link + "x",
    lambda link, _: "/unsubscribe/99999999999999999999-x",
    lambda link, _: "/unsubscribe/é-\u0663",
])  # fmt: skip
def test_a_forged_link_does_nothing(site: Site, mailer: TestClient, link: str, spoil: object) -> None:
    other = site.channel(site.ben, "email:ben@example.org")
    assert callable(spoil)
    for answer in (mailer.get(spoil(link, other)), mailer.post(spoil(link, other))):
        assert answer.status_code == 404
        assert "not valid here" in text_of(answer)
    assert unsubscribed(site) == []


def test_a_link_is_not_valid_after_the_address_changed(site: Site, mailer: TestClient, ada: Browser, link: str) -> None:
    same = {"timezone": "Europe/Berlin"}
    assert ada.post("/account", {**same, "email": "ada@new.example"}).status_code == 303
    assert mailer.post(link).status_code == 404
    assert unsubscribed(site) == []


def test_the_link_of_a_removed_channel_shows_that_it_is_unsubscribed(
    site: Site, mailer: TestClient, channel: int, link: str
) -> None:
    site.sql(f"UPDATE channel SET deleted_at = now() WHERE id = {channel}")
    assert "Unsubscribed" in text_of(mailer.get(link))
    assert mailer.post(link).status_code == 200


def test_the_channels_page_offers_to_subscribe_again(
    site: Site, mailer: TestClient, ada: Browser, channel: int, link: str
) -> None:
    mailer.post(link)
    page = text_of(ada.get("/channels"))
    assert "unsubscribed" in page
    assert "Subscribe again" in page
    assert ada.post(f"/channels/{channel}/test").status_code == 409
    assert ada.post(f"/channels/{channel}/subscribe-again").status_code == 303
    assert unsubscribed(site) == []


def test_links_are_not_logged(
    site: Site, mailer: TestClient, link: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    app = site.app.state.context
    lost = Database(app.db.engine.url.set(host="127.0.0.1", port=1, query={}).render_as_string(hide_password=False))
    object.__setattr__(app, "db", lost)
    caplog.set_level("DEBUG")
    assert mailer.post(link).status_code == 503
    ours = [record.getMessage() for record in caplog.records if record.name != "httpx2"]  # the test's own client
    texts = "".join([*ours, *capsys.readouterr()])
    assert "/unsubscribe/{token}" in texts
    assert link.rpartition("/")[2] not in texts
    lost.close()


# ── confirming ────────────────────────────────────────────────────────────────────────────────────────────────

OTHER = {"kind": "email", "target": "lab@example.org", "at": "08:00", "weekday": "mon"}


def confirm_link(site: Site, channel_id: int, age: timedelta = timedelta(0)) -> str:
    ((label,),) = site.sql(f"SELECT label FROM channel WHERE id = {channel_id}")
    secrets = site.app.state.context.secrets
    return f"/confirm/{opt_in_links.confirm_token(secrets, channel_id, label, datetime.now(UTC) - age)}"


def verified(site: Site) -> list[bool]:
    return [bool(one) for (one,) in site.sql("SELECT verified FROM channel ORDER BY id")]


def asked(site: Site) -> list[tuple[object, ...]]:
    return site.sql("SELECT channel_id, kind FROM delivery ORDER BY id")


def test_another_address_confirms_without_signing_in(site: Site, mailer: TestClient, ada: Browser) -> None:
    assert ada.post("/channels", OTHER).headers["location"].startswith("/channels?flash=asked")
    assert (verified(site), asked(site)) == ([False], [(1, "confirm")])
    assert "not confirmed" in text_of(ada.get("/channels"))
    assert ada.post("/channels/1/test").status_code == 409
    for _ in range(2):
        page = mailer.get(confirm_link(site, 1))
        assert "Send mail to lab@example.org?" in text_of(page)
        assert "set-cookie" not in page.headers
    assert verified(site) == [False]
    for _ in range(2):
        assert "Confirmed" in text_of(mailer.post(confirm_link(site, 1)))
    assert verified(site) == [True]


def test_the_own_address_needs_no_confirmation(site: Site, ada: Browser) -> None:
    assert (
        ada.post("/channels", {**OTHER, "target": "Ada@Example.org"})
        .headers["location"]
        .startswith("/channels?flash=added")
    )
    assert (verified(site), asked(site)) == ([True], [])


def test_the_page_does_not_reveal_requests_of_other_accounts(site: Site, ada: Browser, ben: Browser) -> None:
    known, unknown = (ada.post("/channels", {**OTHER, "target": one}) for one in ("ben@example.org", "x@example.org"))
    again = ben.post("/channels", {**OTHER, "target": "x@example.org"})
    site.sql("INSERT INTO suppression (address, because, refused) VALUES ('no@example.org', 'refused', true)")
    never = ben.post("/channels", {**OTHER, "target": "no@example.org"})
    shown = {(one.status_code, one.headers["location"]) for one in (known, unknown, again, never)}
    assert shown == {(303, "/channels?flash=asked#top")}
    assert [channel for channel, _ in asked(site)] == [1, 2]
    pages = [text_of(ben.get("/channels")).replace(one, "") for one in ("x@example.org", "no@example.org")]
    assert "refused" not in "".join(pages)


def test_a_repeated_request_is_limited_to_one_an_hour(site: Site, ada: Browser) -> None:
    ada.post("/channels", OTHER)
    for _ in range(3):
        assert ada.post("/channels/1/ask").status_code == 303
    assert len(asked(site)) == 1
    site.sql("UPDATE confirmation SET created_at = created_at - interval '61 minutes'")
    ada.post("/channels/1/ask")
    assert len(asked(site)) == 2


def test_a_confirmation_link_is_valid_for_a_week(site: Site, mailer: TestClient, ada: Browser) -> None:
    ada.post("/channels", OTHER)
    site.sql("UPDATE delivery SET created_at = created_at - interval '8 days'")
    assert "more than a week old" in text_of(mailer.post(confirm_link(site, 1, timedelta(days=7, minutes=1))))
    assert verified(site) == [False]
    assert mailer.post(confirm_link(site, 1, timedelta(days=6, hours=23))).status_code == 200


def test_a_token_of_one_kind_is_not_valid_for_the_other_kind(site: Site, mailer: TestClient, ada: Browser) -> None:
    ada.post("/channels", OTHER)
    confirming, leaving = confirm_link(site, 1), link_of(site, 1)
    assert mailer.post(confirming.replace("/confirm/", "/unsubscribe/")).status_code == 404
    assert mailer.post(leaving.replace("/unsubscribe/", "/confirm/")).status_code == 404
    for spoiled in (
        confirming + "0",
        confirming.replace("/confirm/1-", "/confirm/2-"),
        "/confirm/1--",
        "/confirm/1-x-y",
    ):
        assert mailer.post(spoiled).status_code == 404
    assert (verified(site), unsubscribed(site)) == ([False], [])


def test_an_address_that_refused_gets_no_request_from_any_account(
    site: Site, mailer: TestClient, ada: Browser, ben: Browser
) -> None:
    ada.post("/channels", OTHER)
    assert mailer.post(link_of(site, 1)).status_code == 200
    site.sql("DELETE FROM confirmation")
    for browser in (ada, ben):
        assert browser.post("/channels", OTHER).status_code == 303
    assert ada.post("/channels/1/subscribe-again").status_code == 303
    assert asked(site) == [(1, "confirm")]


def test_another_address_that_unsubscribed_has_to_confirm_again(site: Site, mailer: TestClient, ada: Browser) -> None:
    ada.post("/channels", OTHER)
    mailer.post(confirm_link(site, 1))
    mailer.post(link_of(site, 1))
    site.sql("DELETE FROM confirmation")
    assert ada.post("/channels/1/subscribe-again").headers["location"].startswith("/channels?flash=asked")
    assert (verified(site), unsubscribed(site), len(asked(site))) == ([False], [], 2)


def test_the_confirmation_link_of_an_unsubscribed_address_promises_nothing(
    site: Site, mailer: TestClient, ada: Browser
) -> None:
    ada.post("/channels", OTHER)
    mailer.post(confirm_link(site, 1))
    mailer.post(link_of(site, 1))
    for answer in (mailer.get(confirm_link(site, 1)), mailer.post(confirm_link(site, 1))):
        assert answer.status_code == 404
        assert "was unsubscribed" in text_of(answer)
    assert unsubscribed(site) == [1]


def test_a_removed_address_cannot_confirm(site: Site, mailer: TestClient, ada: Browser) -> None:
    ada.post("/channels", OTHER)
    ada.post("/channels/1/remove")
    assert mailer.post(confirm_link(site, 1)).status_code == 404
    assert verified(site) == [False]
