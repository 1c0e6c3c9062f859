"""The steps of `paperwire up` after its processes have started: first account, sign-in link, sample."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.cli.output import one_line

if TYPE_CHECKING:
    from services.cli.context import CommandContext
    from services.settings import Settings

FIRST_ACCOUNT = "you@localhost"
STARTUP_TIMEOUT_SECONDS = 120.0
"""The time that the web process has to answer."""
POLL_INTERVAL_SECONDS = 0.1
NOT_READY = f"the web pages do not answer after {STARTUP_TIMEOUT_SECONDS:g} s; see the lines of `web` in this log"
Say = Callable[[str], None]


def announce(config: "Settings", port: int, say: Say, *, sample: bool) -> None:
    """Prints the addresses once the web process answers, and the outcome of the sample."""
    from services.cli.context import CommandContext
    from services.cli.sample import load, report
    from services.store.db.database import Database

    context = CommandContext(config, Database(config.database_url.get_secret_value()))
    try:
        _ensure_operator(context)
        key = _new_signin_key(config)
        ready = _wait_until_ready(config.bind, port)
        say(f"paperwire is ready at {config.base_url}" if ready else NOT_READY)
        _print_addresses(config, key, say)
        _warn_if_no_operator_can_be_reached(context, say)
        if sample and load(context):
            report(context, say, config.base_url)
    except Exception as error:  # the processes of `up` keep running
        say(f"error: {one_line(error)}")
    finally:
        context.db.close()


def _ensure_operator(context: "CommandContext") -> None:
    """Adds the first account, so that somebody can sign in."""
    from services.domain.accounts.profile import names_place
    from services.store.accounts import accounts

    with context.db.transaction() as tx:
        if accounts.first_operator(tx) is None:
            zone = context.settings.timezone
            accounts.add(tx, FIRST_ACCOUNT, zone if names_place(zone) else "UTC", operator=True)


def _warn_if_no_operator_can_be_reached(context: "CommandContext", say: Say) -> None:
    from services.store.accounts import accounts
    from services.store.delivery import operator_notices

    with context.db.transaction() as tx:
        if operator_notices.can_reach_operator(tx):
            return
        operator = accounts.first_operator(tx)
    whom = operator.email if operator else FIRST_ACCOUNT
    say("no operator can be told of an outage, since none has a confirmed e-mail channel that is in use;")
    say(f"add one: paperwire channel add {whom} email NAME@example.org")


def _new_signin_key(config: "Settings") -> str:
    """A sign-in key for the first operator, valid once; empty if other machines reach the pages."""
    from services.local.run_file import write_private
    from services.settings import new_secret
    from services.web.auth import SIGNIN_KEY_FILE, host_of, is_loopback

    path = config.data_dir / SIGNIN_KEY_FILE
    path.unlink(missing_ok=True)
    if not (is_loopback(config.bind) and is_loopback(host_of(config.base_url))):
        return ""
    key = new_secret()
    write_private(path, key + "\n")
    return key


def _wait_until_ready(bind: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/healthz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + STARTUP_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            with opener.open(url, timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(POLL_INTERVAL_SECONDS)
    return False


def _print_addresses(config: "Settings", key: str, say: Say) -> None:
    from services.web.auth import signin_url

    if key:
        say(f"sign in:   {signin_url(config.base_url, key)}")
    else:
        say(f"sign in:   run `paperwire user link EMAIL` to get a link (others reach {config.base_url})")
    say(f"data in:   {config.data_dir}")
    say(f"mails in:  {config.data_dir / 'outbox'} (set PAPERWIRE_SMTP_URL to send them)")
