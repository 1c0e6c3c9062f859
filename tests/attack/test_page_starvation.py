"""One account sends many previews and huge forms at once; the pages of another account stay fast."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from services.flow.commands import preview as preview_command
from services.web import editor_preview
from tests.web.conftest import Browser, Site

ATTACKERS = 50
MAX_SECONDS = 2.0
"""For a page of another account. Without a limit such a page waits for a thread until the previews end."""
PREVIEW_SECONDS = 1.0
WORDS = " ".join(f"2605.{number:05d}" for number in range(6_000))


@contextmanager
def attack(send: list[tuple[Browser, dict[str, str]]]) -> Iterator[list[Future[int]]]:
    """Posts all forms at once, each in its own thread."""
    with ThreadPoolExecutor(len(send)) as threads:
        yield [threads.submit(post, browser, fields) for browser, fields in send]


def post(browser: Browser, fields: dict[str, str]) -> int:
    return browser.post("/subscriptions/preview", fields, **{"HX-Request": "true"}).status_code


def slowest(browser: Browser, paths: tuple[str, ...], until: list[Future[int]]) -> tuple[float, int]:
    """The longest time in seconds of a page, and how many pages were asked for until the attack ended."""
    longest, asked = 0.0, 0
    while not all(future.done() for future in until) or not asked:
        for path in paths:
            began = time.monotonic()
            assert browser.get(path).status_code == 200
            longest, asked = max(longest, time.monotonic() - began), asked + 1
    return longest, asked


PATHS = ("/subscriptions", "/matches", "/channels", "/healthz")


def test_many_slow_previews_of_one_account_delay_no_other_account(
    site: Site, ada: Browser, ben: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, running = preview_command.preview, Event()

    def slowly(*arguments: object, **named: object) -> object:
        running.set()
        time.sleep(PREVIEW_SECONDS)
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(editor_preview, "run_preview", slowly)
    with attack(
        [(site.browser(site.ada), {"query": f"diffusion {n}", "cadence": "daily"}) for n in range(ATTACKERS)]
    ) as sent:
        assert running.wait(10)
        longest, asked = slowest(ben, PATHS, sent)
        began = time.monotonic()
        assert post(ben, {"query": "agent", "cadence": "daily"}) == 200
        own = time.monotonic() - began
    print(f"slowest page {longest:.2f} s of {asked}, preview {own:.2f} s")
    assert longest < MAX_SECONDS
    assert own < PREVIEW_SECONDS + MAX_SECONDS
    statuses = [future.result() for future in sent]
    assert set(statuses) == {200, 429}
    assert statuses.count(429) > ATTACKERS / 2


def test_huge_forms_of_one_account_delay_no_other_account(site: Site, ben: Browser) -> None:
    fields = {"liked": WORDS, "disliked": "x " * 5_000, "interest": "robots", "cadence": "daily"}
    with attack([(site.browser(site.ada), fields) for _ in range(ATTACKERS)]) as sent:
        longest, asked = slowest(ben, PATHS, sent)
    print(f"slowest page {longest:.2f} s of {asked}")
    assert longest < MAX_SECONDS
    assert {future.result() for future in sent} <= {200, 422, 429}
