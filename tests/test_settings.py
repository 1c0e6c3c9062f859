"""Settings: files for secrets, one clear line for a bad value, and no secret in it."""

from pathlib import Path

import pytest

from services.errors import ConfigError
from services.settings import Settings, load

KEY = "a key from a file or from the environment"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "SECRET_KEY", "SECRET_KEYS_OLD", "TIMEZONE", "BASE_URL", "RETENTION"):
        monkeypatch.delenv(f"PAPERWIRE_{name}", raising=False)


def test_a_secret_may_come_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("PAPERWIRE_SECRET_KEY_FILE", str(tmp_path / "key"))
    assert load(Settings).secret_key.get_secret_value() == KEY


def test_a_missing_secret_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PAPERWIRE_SECRET_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="none"):
        load(Settings)


@pytest.mark.parametrize("url", ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"])
def test_database_urls_take_our_driver(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PAPERWIRE_DATABASE_URL", url)
    assert load(Settings).database_url.get_secret_value() == "postgresql+psycopg://u:p@h/d"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIMEZONE", "Mars/Olympus"),
        ("TIMEZONE", "EST"),
        ("BASE_URL", "ftp://x"),
        ("BASE_URL", "https://papers.example.org/path"),
        ("BASE_URL", "https://me:secret@papers.example.org"),
        ("ALLOW_SOURCE_HOSTS", "http://feeds.lan"),
        ("ALLOW_WEBHOOK_HOSTS", "10.0.0.0/99"),
        ("RETENTION", "a month"),
        ("SHARDS", "0"),
        *((name, "0") for name in ("MAX_SUBSCRIPTIONS", "MAX_CHANNELS", "MAX_EXAMPLES", "PREVIEWS_PER_MINUTE")),
        ("TESTS_PER_HOUR", "many"),
        ("CONFIRMATIONS_PER_DAY", "-1"),
        ("CHANGE_LOG_RETENTION", "a year"),
        ("SIGNUP", "all"),
        ("SIGNUP", "domain:"),
        ("SIGNUP", "domain:a.org,"),
        ("SIGNUP", "open,invite"),
    ],
)
def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"PAPERWIRE_{name}", value)
    with pytest.raises(ConfigError, match=f"PAPERWIRE_{name}"):
        load(Settings)


def test_an_error_never_shows_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_TIME_SCALE", "hunter2")
    with pytest.raises(ConfigError) as caught:
        load(Settings)
    assert "hunter2" not in str(caught.value)


def test_private_hosts_are_allowed_for_sources_and_for_webhooks_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_ALLOW_SOURCE_HOSTS", "feeds.lan, 10.0.0.0/8")
    assert (load(Settings).source_hosts, load(Settings).webhook_hosts) == (("feeds.lan", "10.0.0.0/8"), ())


@pytest.mark.parametrize("name", ["SECRET_KEY", "SECRET_KEYS_OLD"])
def test_a_key_that_could_be_guessed_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"PAPERWIRE_{name}", "geheim")
    with pytest.raises(ConfigError, match=rf"PAPERWIRE_{name}: must have 32 or more random characters") as caught:
        load(Settings)
    assert "geheim" not in str(caught.value)


def test_the_current_key_comes_before_the_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_SECRET_KEYS_OLD", f"{KEY}-2, {KEY}-1")
    assert load(Settings).secret_keys == ()
    monkeypatch.setenv("PAPERWIRE_SECRET_KEY", KEY)
    assert load(Settings).secret_keys == (KEY, f"{KEY}-2", f"{KEY}-1")


def test_trusted_proxies_are_addresses_or_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8, fd00::/8")
    assert [str(network) for network in load(Settings).proxy_networks] == ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"]
    monkeypatch.setenv("PAPERWIRE_TRUSTED_PROXIES", "proxy.example.org")
    with pytest.raises(ConfigError, match=r"PAPERWIRE_TRUSTED_PROXIES: .* is neither an address"):
        load(Settings)


@pytest.mark.parametrize(
    ("url", "base_url", "host"),
    [
        ("https://Papers.Example.org/", "https://papers.example.org", "papers.example.org"),
        ("http://[::1]:8400", "http://[::1]:8400", "::1"),
        ("https://straße.example:8443", "https://xn--strae-oqa.example:8443", "xn--strae-oqa.example"),
    ],
)
def test_the_base_url_has_its_host_as_browsers_send_it(
    monkeypatch: pytest.MonkeyPatch, url: str, base_url: str, host: str
) -> None:
    monkeypatch.setenv("PAPERWIRE_BASE_URL", url)
    assert (load(Settings).base_url, load(Settings).host) == (base_url, host)
