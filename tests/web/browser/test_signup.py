"""A person makes an account, signs in again, and shares the account, each in a browser of the own."""

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect

from services.settings import Settings
from services.settings import settings as process_settings
from tests.web.browser.conftest import SECONDS, OpenPage
from tests.web.conftest import Site
from tests.web.mailed_links import mailed_path, send_mails


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PAPERWIRE_SIGNUP", "invite")
    process_settings.cache_clear()
    return process_settings()


def other_browser(chromium: Chromium, address: str) -> Page:
    """A browser without a session, in Tokyo."""
    context = chromium.new_context(base_url=address, timezone_id="Asia/Tokyo")
    context.set_default_timeout(1000 * SECONDS)
    return context.new_page()


def test_from_the_invitation_to_a_shared_account(
    site: Site, open_page: OpenPage, chromium: Chromium, address: str
) -> None:
    ada = open_page("/members")
    ada.get_by_label("E-mail address").fill("carol@example.org")
    ada.get_by_role("button", name="Invite", exact=True).click()
    expect(ada.get_by_role("status")).to_contain_text("Invited")
    send_mails(site)

    carol = other_browser(chromium, address)
    carol.goto(mailed_path(site))
    carol.get_by_role("button", name="Make my account").click()
    carol.goto("/account")
    expect(carol.get_by_label("Time zone")).to_have_value("Asia/Tokyo")
    carol.get_by_label("Invite a person").fill("dan@example.org")
    carol.get_by_role("button", name="Invite", exact=True).click()
    expect(carol.get_by_role("status")).to_contain_text("Invited")
    send_mails(site)

    dan = other_browser(chromium, address)
    dan.goto(mailed_path(site))
    dan.get_by_role("button", name="Join").click()
    dan.goto("/account")
    expect(dan.get_by_label("E-mail address", exact=True)).to_have_value("carol@example.org")
    expect(dan.get_by_text("Owners of this account invite")).to_be_visible()
    dan.goto("/members")
    expect(dan.get_by_text("does not exist")).to_be_visible()


def test_a_mailed_link_asks_in_another_browser(site: Site, chromium: Chromium, address: str) -> None:
    here, elsewhere = other_browser(chromium, address), other_browser(chromium, address)
    here.goto("/signin")
    here.get_by_label("E-mail address").fill("ben@example.org")
    here.get_by_role("button", name="Mail me a link").click()
    expect(here.get_by_role("heading", name="Look at your mail")).to_be_visible()
    send_mails(site)
    elsewhere.goto(mailed_path(site))
    assert elsewhere.url.endswith("/signin/link"), "the key does not stay in the address"
    expect(elsewhere.get_by_text("asked for in another browser")).to_be_visible()
    here.goto(mailed_path(site))
    here.get_by_role("button", name="Sign in").click()
    here.goto("/account")
    expect(here.get_by_label("E-mail address", exact=True)).to_have_value("ben@example.org")
