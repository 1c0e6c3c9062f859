"""The links in mails: they ask on GET, act on POST, know nobody and sign nobody in."""

import pytest
from starlette.testclient import TestClient

from services.store import consent
from services.store.database import Database

from .conftest import BASE, Browser, Site, text_of

ONE_CLICK = "List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
PARTS = '--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'


@pytest.fixture
def mailer(site: Site) -> TestClient:
    """A mail program's server: no cookies, no Origin, nothing to follow."""
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
    vault = site.app.state.house.vault
    return f"/unsubscribe/{consent.unsubscribe_token(vault, {'id': channel_id, 'label': label})}"


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


def test_the_page_says_what_was_done(mailer: TestClient, link: str) -> None:
    assert "Unsubscribe ada@example.org?" in text_of(mailer.get(link))
    assert "Nothing more is sent to ada@example.org" in text_of(mailer.post(link))
    assert "Nothing more is sent to ada@example.org" in text_of(mailer.get(link))


def test_a_link_opens_one_channel_and_no_account(site: Site, mailer: TestClient, channel: int, link: str) -> None:
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
        assert "none of ours" in text_of(answer)
    assert unsubscribed(site) == []


def test_a_link_ends_with_the_address_it_was_sent_to(site: Site, mailer: TestClient, ada: Browser, link: str) -> None:
    same = {"timezone": "Europe/Berlin"}
    assert ada.post("/account", {**same, "email": "ada@new.example"}).status_code == 303
    assert mailer.post(link).status_code == 404
    assert unsubscribed(site) == []


def test_a_removed_channel_is_unsubscribed_already(site: Site, mailer: TestClient, channel: int, link: str) -> None:
    site.sql(f"UPDATE channel SET deleted_at = now() WHERE id = {channel}")
    assert "Unsubscribed" in text_of(mailer.get(link))
    assert mailer.post(link).status_code == 200


def test_the_way_back_is_on_the_channels_page(
    site: Site, mailer: TestClient, ada: Browser, channel: int, link: str
) -> None:
    mailer.post(link)
    page = text_of(ada.get("/channels"))
    assert "unsubscribed" in page
    assert "Subscribe again" in page
    assert ada.post(f"/channels/{channel}/test").status_code == 409
    assert ada.post(f"/channels/{channel}/subscribe-again").status_code == 303
    assert unsubscribed(site) == []


def test_a_link_is_in_no_log_line(
    site: Site, mailer: TestClient, link: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    house = site.app.state.house
    lost = Database(house.db.engine.url.set(host="127.0.0.1", port=1, query={}).render_as_string(hide_password=False))
    object.__setattr__(house, "db", lost)
    caplog.set_level("DEBUG")
    assert mailer.post(link).status_code == 503
    ours = [record.getMessage() for record in caplog.records if record.name != "httpx2"]  # the test's own client
    said = "".join([*ours, *capsys.readouterr()])
    assert "/unsubscribe/{token}" in said
    assert link.rpartition("/")[2] not in said
    lost.close()
