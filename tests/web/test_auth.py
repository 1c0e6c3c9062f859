"""Sign-in keys, sessions and redirects after signing in."""

from pathlib import Path

import pytest

from services.web.auth import (
    SIGNIN_KEY_FILE,
    Sessions,
    host_name,
    is_loopback,
    is_printed_key,
    safe_next,
    signin_url,
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / SIGNIN_KEY_FILE).parent.mkdir()
    (tmp_path / SIGNIN_KEY_FILE).write_text("the-key\n")
    return tmp_path


@pytest.mark.parametrize("host", ["localhost", "localhost:8400", "127.0.0.1:8400", "127.0.0.2", "[::1]:8400", "[::1]"])
def test_the_printed_key_signs_in_on_this_machine(data_dir: Path, host: str) -> None:
    assert is_printed_key("the-key", data_dir=data_dir, bind="127.0.0.1", host_header=host)


@pytest.mark.parametrize(
    ("key", "bind", "host"),
    [
        ("another", "127.0.0.1", "127.0.0.1"),
        ("", "127.0.0.1", "127.0.0.1"),
        ("the-kéy", "127.0.0.1", "127.0.0.1"),
        ("the-key", "0.0.0.0", "127.0.0.1"),
        ("the-key", "127.0.0.1", "papers.example.org"),
        ("the-key", "127.0.0.1", "localhost.example.org"),
        ("the-key", "127.0.0.1", "localhost@example.org"),
        ("the-key", "127.0.0.1", "[broken"),
        ("the-key", "127.0.0.1", ""),
    ],
)
def test_the_printed_key_is_rejected_elsewhere(data_dir: Path, key: str, bind: str, host: str) -> None:
    assert not is_printed_key(key, data_dir=data_dir, bind=bind, host_header=host)


def test_an_empty_key_file_allows_no_sign_in(data_dir: Path) -> None:
    (data_dir / SIGNIN_KEY_FILE).write_text("\n")
    assert not is_printed_key("", data_dir=data_dir, bind="127.0.0.1", host_header="localhost")


def test_the_port_of_a_host_header_is_ignored() -> None:
    assert host_name("[::1]:8400") == "::1"
    assert is_loopback("LOCALHOST")
    assert not is_loopback("10.0.0.1")


@pytest.mark.parametrize("path", ["/", "/matches", "/matches?before=3"])
def test_the_next_path_may_be_a_path_of_this_server(path: str) -> None:
    assert safe_next(path) == path


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/a\r\nb", "/\t/evil.example"]
)
def test_the_next_path_is_never_another_site(path: str) -> None:
    assert safe_next(path) == "/"


def test_a_key_is_quoted_in_its_link() -> None:
    assert signin_url("https://p.example", "a+b/c") == "https://p.example/signin?key=a%2Bb%2Fc"


ONE, TWO = "a key of thirty-two characters 1", "a key of thirty-two characters 2"


def test_a_session_is_only_readable_with_its_key() -> None:
    sessions = Sessions([ONE])
    session = sessions.new("a-key", "/matches")
    assert Sessions([ONE]).read(sessions.write(session)) == session
    assert Sessions([TWO]).read(sessions.write(session)) is None
    assert sessions.read(sessions.write(session) + "x") is None
    assert sessions.read("") is None


def test_an_old_key_verifies_sessions_and_forms_and_signs_none() -> None:
    before, during, after = Sessions([ONE]), Sessions([TWO, ONE]), Sessions([TWO])
    session = before.new("a-key")
    assert during.read(before.write(session)) == session
    assert during.is_form_token(before.form_token(session), session)
    assert after.read(before.write(session)) is None
    assert not after.is_form_token(before.form_token(session), session)
    assert after.read(during.write(session)) == session
    assert after.is_form_token(during.form_token(session), session)


def test_a_form_token_is_valid_for_its_session_only() -> None:
    sessions = Sessions([ONE])
    session, other = sessions.new("a-key"), sessions.new("a-key")
    assert sessions.is_form_token(sessions.form_token(session), session)
    assert not sessions.is_form_token(sessions.form_token(other), session)
    assert not sessions.is_form_token("ü", session)
