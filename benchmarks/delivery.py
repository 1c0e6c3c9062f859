"""Delivery: rendering, mails through every state, Slack under its rate limits, and many digests due at once.

Each benchmark prints a JSON line. The mail server and Slack are separate processes, so they use no time of the workers.

- render: digests of ten papers composed and rendered, per second and core.
- mail: mails a second by two workers, each gathered, claimed, rendered, sent and recorded. `peer` is two plain smtplib
  loops that send as many bytes, once with a connection for each mail and once with one for all.
- slack: posts a second to three channels of one workspace and to a hundred webhooks, and what the limits allow.
- due: digests due in the same minute: seconds to the first and to the last, and the memory of the workers.
"""

import argparse
import json
import logging
import multiprocessing as mp
import os
import resource
import smtplib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sqlalchemy import text  # noqa: E402

from services import local  # noqa: E402
from services.domain.digests.digest import compose  # noqa: E402
from services.flow.commands import channels  # noqa: E402
from services.flow.pipeline.deliver.claim import next_due_in  # noqa: E402
from services.flow.pipeline.deliver.gather import gather_due  # noqa: E402
from services.flow.pipeline.deliver.send import send_due  # noqa: E402
from services.notifiers import email, slack  # noqa: E402
from services.settings import settings  # noqa: E402
from services.store.accounts import accounts  # noqa: E402
from services.store.db.database import Database  # noqa: E402
from services.store.db.secrets import SecretBox  # noqa: E402
from services.store.maintenance import migrate  # noqa: E402
from services.telemetry import configure_logging  # noqa: E402
from tests.support.digests import ENVELOPE, digest  # noqa: E402
from tests.support.sinks import Answer, HttpSink, SmtpSink  # noqa: E402
from workers.tasks import GATHER_TIME_BUDGET, TIME_BUDGET  # noqa: E402

_POSTED = '{"ok": true, "ts": "1.2", "channel": "C1"}'
KEY = "a key for benchmarks of 32 characters or more"
WORKERS = 2
PAPERS = 10
SOON = timedelta(seconds=5)
READERS = """
    INSERT INTO account (email) SELECT 'reader' || i || '@example.org' FROM generate_series(1, :n) i;
    INSERT INTO channel (account_id, kind, label, target, transport, rate_limit_key, verified, next_digest_at)
        SELECT id, 'email', email, jsonb_build_object('address', email), 'smtp', '', true, now() + interval '1 day'
        FROM account;
    INSERT INTO subscription (account_id, name, query, cadence, shard, revision)
        SELECT id, 'Diffusion', '"diffusion model*"', :cadence, 0, id FROM account;
    INSERT INTO subscription_channel (account_id, subscription_id, channel_id)
        SELECT account_id, s.id, c.id FROM subscription s JOIN channel c USING (account_id);
    INSERT INTO paper (title, abstract, authors, title_key, announced_on, first_seen_at, links)
        SELECT 'Diffusion models for audio, part ' || i, 'On diffusion models. ' || repeat('Another sentence. ', 60),
               '{Ada Lovelace,Alan Turing}', 'key' || i, '2026-05-04', now(), '{"abstract": "https://example.org/a"}'
        FROM generate_series(1, 40) i;
    INSERT INTO match (account_id, subscription_id, paper_id, revision, notified_at, decided)
        SELECT s.account_id, s.id, p.id, 1, now(), '{"why": "\\"diffusion model*\\" in the title"}'
        FROM subscription s JOIN paper p ON (p.id + s.id) % 40 < :papers;
    INSERT INTO delivery_item (account_id, channel_id, paper_id, not_before, cadence)
        SELECT m.account_id, c.id, m.paper_id, now() - interval '1 second', :cadence
        FROM match m JOIN channel c USING (account_id)"""

MESSAGES = """
    INSERT INTO delivery (account_id, channel_id, kind, idem_key, rate_limit_key, message_id, next_attempt_at)
        SELECT account_id, id, 'test', id || ':' || i, rate_limit_key, '<' || id || '.' || i || '@example.org>', now()
        FROM channel, generate_series(1, :each) i"""


# ── servers of third parties ────────────────────────────────────────────────────────────────────────────────────


def _serve(kind: str, pipe: Pipe) -> None:
    """Runs an SMTP server or Slack. Sends its port, then, on each request, the arrival times since the last one."""
    if kind == "smtp":
        with SmtpSink() as smtp:
            pipe.send(smtp.port)
            while pipe.recv():
                pipe.send([mail.at for mail in smtp.mails])
                smtp.mails.clear()
    else:
        with HttpSink() as http:
            http.judge = lambda asked: Answer(body="ok" if "/services/" in asked.path else _POSTED)
            pipe.send(http.port)
            while pipe.recv():
                pipe.send([asked.at for asked in http.requests])
                http.requests.clear()


@contextmanager
def server(kind: str) -> Iterator[tuple[int, Callable[[], list[float]]]]:
    """Yields the port and a function that returns the arrival times (monotonic) since its last call."""
    ours, child_end = mp.Pipe()
    process = mp.get_context("spawn").Process(target=_serve, args=(kind, child_end))
    process.start()

    def taken() -> list[float]:
        ours.send(True)
        return list(ours.recv())

    try:
        yield int(ours.recv()), taken
    finally:
        ours.send(False)
        process.join(10)


# ── paperwire ──────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def fresh(**env: str) -> Iterator[tuple[str, Database]]:
    """Yields an empty, migrated database with the default settings (fsync on)."""
    with tempfile.TemporaryDirectory() as directory:
        os.environ |= {"PAPERWIRE_DATA_DIR": directory, "PAPERWIRE_SECRET_KEY": KEY, "PAPERWIRE_TIMEZONE": "UTC", **env}
        _forget()
        with local.database(settings(), migrate.upgrade_embedded) as url:
            db = Database(url)
            yield url, db
            db.close()


def _forget() -> None:
    for cached in (settings, email.email_settings, slack.slack_settings):
        cached.cache_clear()


def _work(url: str, seconds: float, barrier: "mp.synchronize.Barrier", result: "mp.Queue[float]") -> None:
    """A worker that gathers and sends until nothing is due soon or `seconds` have passed."""
    configure_logging(logging.WARNING)
    _forget()
    db, secrets, config = Database(url), SecretBox([KEY]), settings()
    barrier.wait()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        # Like workers/tasks.py: gathers for a time, then sends for a time.
        turn, gathered = time.monotonic() + min(left, GATHER_TIME_BUDGET), False
        while time.monotonic() < turn and gather_due(db, config):
            gathered = True
        sent = send_due(db, config, secrets, min(left, TIME_BUDGET))
        if not gathered and not sent:
            next_turn = next_due_in(db, within=SOON)
            if next_turn is None:
                break
            time.sleep(max(0.0, next_turn.total_seconds()))
    result.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    db.close()


def worked(url: str, seconds: float) -> tuple[float, float]:
    """Runs the workers. Returns their start time (monotonic) and the peak memory of the largest in MB."""
    spawn = mp.get_context("spawn")
    barrier, result = spawn.Barrier(WORKERS + 1), spawn.Queue()
    workers = [spawn.Process(target=_work, args=(url, seconds, barrier, result)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.monotonic()
    megabytes = max(result.get() for _ in workers)
    for worker in workers:
        worker.join()
    return began, megabytes


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────


def render(seconds: float) -> dict[str, object]:
    target, done, sizes = email.EmailTarget(address="ada@example.org"), 0, 0
    found = {one.paper.id: (one.paper, one.reasons) for one in digest(PAPERS).papers}
    began = time.process_time()  # Processor time, so that other processes do not count.
    while (took := time.process_time() - began) < seconds:
        envelope = replace(ENVELOPE, delivery_id=done, message_id=f"<{done}@example.org>")
        composed = compose("digest", found, date(2026, 5, 4), "https://papers.example.org")
        sizes += len(email.plugin.render(composed, envelope, target))
        done += 1
    rate = done / took
    return {"name": "delivery.render", "digests": done, "ours": round(rate, 1), "kB": round(sizes / done / 1000, 1)}


def mail(count: int) -> dict[str, object]:
    with server("smtp") as (port, taken):
        with fresh(PAPERWIRE_SMTP_URL=f"smtp://127.0.0.1:{port}?tls=none") as (url, db):
            _fill(db, count, papers=1, cadence="immediate")
            began, megabytes = worked(url, 300)
            moments = taken()
            body = _body(db)
        each, one = (bare(port, body, count, taken, keep=keep) for keep in (False, True))
    ours = len(moments) / (max(moments) - began)
    figures = {"mails": len(moments), "ours": round(ours, 1), "peer": round(each, 1), "ratio": round(ours / each, 2)}
    kept = {"peer_one_connection": round(one, 1), "ratio_one_connection": round(ours / one, 2)}
    return {"name": "delivery.mail", **figures, **kept, "MB": round(megabytes)}


def slack_posts(name: str, count: int, seconds: float) -> dict[str, object]:
    """Each channel has more messages than its limit of one a second allows."""
    with server("slack") as (port, taken), fresh(**_slack(port)) as (url, db):
        with db.transaction() as tx:
            account = accounts.add(tx, "ada@example.org", "UTC")
        words = {"channels": "slack:#room{}", "webhooks": f"slack-webhook:http://127.0.0.1:{port}/services/T/B/{{}}"}
        for number in range(count):
            word = words[name].format(f"{number:08d}")
            channels.find_or_add(db, settings(), account, word, verified=True)
        with db.transaction() as tx:
            tx.execute(text(MESSAGES), {"each": int(seconds) + 5})
        worked(url, seconds + 3)
        moments = sorted(taken())
    within = [one for one in moments if one < moments[0] + seconds]
    allowed = count * (int(seconds) if seconds == int(seconds) else int(seconds) + 1)
    figures = {"posts": len(within), "allowed": allowed, "ratio": round(len(within) / allowed, 2)}
    return {"name": f"delivery.slack.{name}", "seconds": seconds, "ours": round(len(within) / seconds, 2), **figures}


def _slack(port: int) -> dict[str, str]:
    api = {"PAPERWIRE_SLACK_API_URL": f"http://127.0.0.1:{port}/", "PAPERWIRE_SLACK_BOT_TOKEN": "xoxb-bench"}
    return api | {"PAPERWIRE_ALLOW_WEBHOOK_HOSTS": "127.0.0.1/32"}


def due(count: int) -> dict[str, object]:
    with server("smtp") as (port, taken), fresh(PAPERWIRE_SMTP_URL=f"smtp://127.0.0.1:{port}?tls=none") as (url, db):
        _fill(db, count, papers=PAPERS, cadence="daily")
        with db.transaction() as tx:
            tx.execute(
                text(
                    "UPDATE channel SET at = (now() AT TIME ZONE 'UTC')::time,"
                    " next_digest_at = date_trunc('minute', now())"
                )
            )
            tx.execute(text("ANALYZE"))
        began, megabytes = worked(url, 900)
        moments = sorted(one - began for one in taken())
    shown = {"digests": len(moments), "of": count, "first": round(moments[0], 2), "last": round(moments[-1], 1)}
    return {"name": "delivery.due", **shown, "ours": round(len(moments) / moments[-1], 1), "MB": round(megabytes)}


def bare(port: int, body: bytes, count: int, taken: Callable[[], list[float]], *, keep: bool) -> float:
    """Mails a second of WORKERS plain smtplib loops."""
    spawn = mp.get_context("spawn")
    barrier = spawn.Barrier(WORKERS + 1)
    loops = [spawn.Process(target=_bare, args=(port, body, count // WORKERS, keep, barrier)) for _ in range(WORKERS)]
    for loop in loops:
        loop.start()
    barrier.wait()
    began = time.monotonic()
    for loop in loops:
        loop.join()
    moments = taken()
    return len(moments) / (max(moments) - began)


def _bare(port: int, body: bytes, count: int, keep: bool, barrier: "mp.synchronize.Barrier") -> None:
    barrier.wait()
    smtp = smtplib.SMTP("127.0.0.1", port, "[127.0.0.1]") if keep else None
    for number in range(count):
        one = smtp or smtplib.SMTP("127.0.0.1", port, "[127.0.0.1]")
        one.sendmail("paperwire@example.org", f"reader{number}@example.org", body)
        if smtp is None:
            one.quit()
    if smtp:
        smtp.quit()


def _fill(db: Database, count: int, *, papers: int, cadence: str) -> None:
    with db.transaction() as tx:
        for statement in READERS.split(";\n"):
            values = {"n": count, "papers": papers, "cadence": cadence}
            tx.execute(text(statement), {name: one for name, one in values.items() if f":{name}" in statement})
    with db.transaction() as tx:
        tx.execute(text("ANALYZE"))


def _body(db: Database) -> bytes:
    with db.transaction() as tx:
        return bytes(tx.scalars(text("SELECT rendered FROM delivery WHERE state = 'sent' LIMIT 1")).one())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mails", type=int, default=1000)
    parser.add_argument("--due", type=int, default=2000, help="number of digests due at once")
    parser.add_argument("--seconds", type=float, default=15.0, help="duration of rendering and of posting to Slack")
    options = parser.parse_args()
    figures: list[Callable[[], dict[str, object]]] = [
        lambda: render(options.seconds / 3),
        lambda: mail(options.mails),
        lambda: slack_posts("channels", 3, options.seconds),
        lambda: slack_posts("webhooks", 100, options.seconds),
        lambda: due(options.due),
    ]
    for figure in figures:
        print(json.dumps(figure()), flush=True)


if __name__ == "__main__":
    main()
