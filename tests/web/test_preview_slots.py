"""One account cannot occupy the previews, and a check of the process never waits for them."""

from contextlib import ExitStack
from threading import Event, Thread

import anyio
import pytest
from anyio.to_thread import current_default_thread_limiter
from httpx2 import ASGITransport, AsyncClient

from services.errors import Busy
from services.web import editor_preview
from services.web.pages import editor
from services.web.preview_slots import MAX_WAITING_OF_ACCOUNT, PreviewSlots
from tests.web.conftest import BASE, Browser, Site, text_of

QUERY = {"query": "diffusion", "cadence": "daily"}


def test_an_account_has_one_preview_at_a_time() -> None:
    slots = PreviewSlots(2)
    with slots.taken(1, 0):
        with pytest.raises(Busy), slots.taken(1, 0.01):
            pass
        with slots.taken(2, 0), pytest.raises(Busy), slots.taken(3, 0.01):
            pass
    with slots.taken(1, 0):
        pass


def test_a_preview_runs_when_the_one_before_it_ends() -> None:
    slots, started, ended = PreviewSlots(1), Event(), Event()

    def hold() -> None:
        with slots.taken(1, 0):
            started.set()
            ended.wait(5)

    thread = Thread(target=hold)
    thread.start()
    started.wait(5)
    ended.set()
    with slots.taken(1, 5):
        pass
    thread.join()


def test_few_previews_of_an_account_wait() -> None:
    slots = PreviewSlots(1)

    def wait() -> None:
        with pytest.raises(Busy), slots.taken(1, 30):
            pass

    with slots.taken(2, 0):
        slots._waiting[1] = MAX_WAITING_OF_ACCOUNT
        thread = Thread(target=wait)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()


def test_a_page_answers_429_when_no_slot_becomes_free(
    site: Site, ada: Browser, ben: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editor_preview, "MAX_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(editor, "MAX_WAIT_SECONDS", 0.01)
    with site.app.state.context.previews.taken(site.ada, 0):
        fragment = ada.post("/subscriptions/preview", QUERY, **{"HX-Request": "true"})
        assert fragment.status_code == 429
        assert "try again in a few seconds" in text_of(fragment)
        saved = ada.post("/subscriptions", QUERY)
        assert saved.status_code == 429
        assert 'value="diffusion"' in saved.text
        assert ben.post("/subscriptions/preview", QUERY).status_code == 200
    assert ada.post("/subscriptions/preview", QUERY).status_code == 200


def test_the_liveness_check_needs_no_thread(site: Site) -> None:
    async def check() -> int:
        limiter = current_default_thread_limiter()
        async with AsyncClient(transport=ASGITransport(site.app), base_url=BASE) as client:
            with ExitStack() as busy:
                for number in range(int(limiter.total_tokens)):
                    limiter.acquire_on_behalf_of_nowait(number)
                    busy.callback(limiter.release_on_behalf_of, number)
                with anyio.fail_after(5):
                    return (await client.get("/healthz")).status_code

    assert anyio.run(check) == 200


def test_an_account_runs_as_many_previews_a_minute_as_the_setting_says() -> None:
    slots = PreviewSlots(2, per_minute=3)
    for now in (0.0, 1.0, 2.0):
        slots.count(1, now)
    with pytest.raises(Busy, match="at most 3 previews a minute"):
        slots.count(1, 59.0)
    slots.count(2, 59.0)
    slots.count(1, 60.0)
    with pytest.raises(Busy):
        slots.count(1, 60.5)


def test_a_preview_beyond_the_limit_says_the_limit(site: Site, ada: Browser) -> None:
    object.__setattr__(site.app.state.context, "previews", PreviewSlots(2, per_minute=1))
    assert ada.post("/subscriptions/preview", QUERY).status_code == 200
    refused = ada.post("/subscriptions/preview", QUERY)
    assert refused.status_code == 429
    assert "at most 1 previews a minute" in text_of(refused)
