"""The mails with links that the pages have sent, and what a person does with them."""

import re
from email import message_from_bytes
from email.policy import SMTP

from services.flow.pipeline import signin_mail
from tests.web.conftest import Browser, Site


def send_mails(site: Site) -> int:
    """Answers the requests that are due; returns how many."""
    count = 0
    while signin_mail.work(site.db, site.settings):
        count += 1
    return count


def mails(site: Site) -> list[tuple[str, str, str]]:
    """Address, text and HTML of each mail in the outbox, the oldest first."""
    paths = sorted((site.settings.data_dir / "outbox").glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
    read = [message_from_bytes(path.read_bytes(), policy=SMTP) for path in paths]
    parts = [[mail.get_body((kind,)) for kind in ("plain", "html")] for mail in read]
    return [
        (str(mail["To"]), str(plain.get_content()), str(html.get_content()))
        for mail, (plain, html) in zip(read, parts, strict=True)
        if plain and html
    ]


def mailed_path(site: Site) -> str:
    """The path of the link in the newest mail."""
    found = re.search(r"http://127\.0\.0\.1:8400(/signin\?key=[\w-]{43})\s", mails(site)[-1][1])
    assert found
    return found[1]


def key_of(path: str) -> str:
    return path.partition("=")[2]


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200
