"""What a server of embeddings may do to us, on loopback."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from services import plugins
from services.embedders.openai import MAX_TEXT, MAX_TEXTS, PLACEHOLDER_TEXT, SHORT_TEXT, endpoint, plugin
from services.embedders.openai.endpoint import parse_setting
from services.errors import ConfigError, EmbedderError
from services.ports import Embedder
from tests.support.embedding_server import PATH, EmbeddingServer, embeddings
from tests.support.sinks import Answer, refused_port

HUGE = 1e200


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        yield server


@pytest.fixture
def model(server: EmbeddingServer) -> Embedder:
    return plugin(server.setting.partition(":")[2])


def test_the_setting_names_address_and_model(server: EmbeddingServer) -> None:
    model = plugins.embedder(server.setting)
    vectors = model.embed(["language models", "galaxies"])
    assert model.name == "openai:words", "a server that moves gives the same vectors"
    assert vectors.shape == (2, 24)
    (asked,) = server.to(PATH)
    assert json.loads(asked.body) == {"model": "words", "input": ["language models", "galaxies"]}
    assert "Authorization" not in asked.headers


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("https://api.example.org/v1#small", "https://api.example.org/v1/embeddings"),
        ("https://api.example.org#small", "https://api.example.org/v1/embeddings"),
        ("http://[::1]:8080/v1/#small", "http://[::1]:8080/v1/embeddings"),
        ("http://box/openai/v1/embeddings#small", "http://box/openai/v1/embeddings"),
    ],
)
def test_the_address_may_be_the_service_or_its_path(argument: str, address: str) -> None:
    assert parse_setting(argument) == (address, "small")


@pytest.mark.parametrize(
    ("argument", "hint"),
    [
        ("", "begins with http"),
        ("text-embedding-3-small", "begins with http"),
        ("https://api.example.org/v1", "name of a model after #"),
        ("https://api.example.org/v1#", "name of a model after #"),
        ("ftp://api.example.org/v1#small", "begins with http"),
        ("https://me:secret@api.example.org/v1#small", "PAPERWIRE_EMBEDDER_KEY, not into the address"),
        ("https://api.example.org/v1?key=secret#small", "PAPERWIRE_EMBEDDER_KEY, not into the address"),
        ("https://api.example.org:99999/v1#small", "cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_one_says_how_it_reads(argument: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as caught:
        plugin(argument)
    assert "secret" not in str(caught.value)
    assert "openai:https://host/v1#MODEL" in str(caught.value)


def test_the_key_goes_along_and_into_no_error(
    server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PAPERWIRE_EMBEDDER_KEY", "sk-very-secret")
    model = plugin(f"{server.url}/v1#words")
    model.embed(["one"])
    assert server.requests[0].headers["Authorization"] == "Bearer sk-very-secret"
    server.say(Answer(status=401, body='{"error": {"message": "Incorrect API key provided: sk-very-secret"}}'))
    with pytest.raises(EmbedderError, match="check PAPERWIRE_EMBEDDER_KEY") as caught:
        model.embed(["two"])
    assert "very-secret" not in str(caught.value) + repr(vars(model)) + "".join(capfd.readouterr())


def test_the_key_may_be_in_a_file(server: EmbeddingServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "key").write_text("sk-of-a-file\n")
    monkeypatch.setenv("PAPERWIRE_EMBEDDER_KEY_FILE", str(tmp_path / "key"))
    plugin(f"{server.url}/v1#words").embed(["one"])
    assert server.requests[0].headers["Authorization"] == "Bearer sk-of-a-file"


def test_a_key_of_two_lines_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERWIRE_EMBEDDER_KEY", "sk-one\nX-Other: two")
    with pytest.raises(ConfigError, match="one line") as caught:
        plugin("http://box/v1#words")
    assert "sk-one" not in str(caught.value)


# ── what it answers ───────────────────────────────────────────────────────────────────────────────────────────


def test_vectors_go_by_their_index(server: EmbeddingServer, model: Embedder) -> None:
    server.say(embeddings([[3, 4], [0, 2]]))
    assert model.embed(["a", "b"]) == pytest.approx(np.array([[0.6, 0.8], [0, 1]]))


def test_without_an_index_they_go_by_their_order(server: EmbeddingServer, model: Embedder) -> None:
    server.say({"data": [{"embedding": [3, 4]}, {"embedding": [0, 2]}]})
    assert model.embed(["a", "b"]) == pytest.approx(np.array([[0.6, 0.8], [0, 1]]))


def test_base64_is_read(server: EmbeddingServer, model: Embedder) -> None:
    server.say(embeddings([base64.b64encode(struct.pack("<2f", 3, 4)).decode()]))
    assert model.embed(["a"]) == pytest.approx(np.array([[0.6, 0.8]]))


def test_huge_numbers_have_a_direction_too(server: EmbeddingServer, model: Embedder) -> None:
    server.say(embeddings([[3 * HUGE, 4 * HUGE]]))
    assert model.embed(["a"]) == pytest.approx(np.array([[0.6, 0.8]]))


NONSENSE: dict[str, Any] = {
    "no JSON": Answer(body="<html>502</html>"),
    "cut JSON": Answer(body='{"data": [{"embedding": [1, 2'),
    "deep JSON": Answer(body="[" * 100_000),
    "a list": [],
    "no data": {},
    "data that is none": {"data": "many"},
    "an item that is none": {"data": [7]},
    "no embedding": {"data": [{"index": 0}]},
    "numbers that are none": embeddings([[1, "2"]]),
    "truths": embeddings([[True, False]]),
    "nested numbers": embeddings([[[1], [2]]]),
    "an empty vector": embeddings([[]]),
    "an endless vector": embeddings([[1] * 20_000]),
    "base64 that is none": embeddings(["§§§"]),
    "base64 cut off": embeddings([base64.b64encode(b"12345").decode()]),
    "too few": {"data": []},
    "too many": embeddings([[1, 2], [1, 2]]),
    "a wrong index": {"data": [{"index": 1, "embedding": [1, 2]}]},
    "an index that is none": {"data": [{"index": "0", "embedding": [1, 2]}]},
    "too much": Answer(body=" " * (endpoint.MAX_ANSWER + 1)),
    "a redirect": Answer(status=307, headers={"Location": "/v1/elsewhere"}),
    "nothing": Answer(status=204, body=""),
    "a hang-up": Answer(close=True),
    "no such model": Answer(status=404),
    "an error of its own": Answer(status=500),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_an_error_in_one_line(server: EmbeddingServer, model: Embedder, what: str) -> None:
    server.say(NONSENSE[what])
    with pytest.raises(EmbedderError) as caught:
        model.embed(["a"])
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1, "nobody is asked elsewhere, and nobody at once again"
    assert model.embed(["a"]).shape[0] == 1, "the next answer counts"


def test_two_vectors_of_one_index_are_refused(server: EmbeddingServer, model: Embedder) -> None:
    server.say({"data": [{"index": 0, "embedding": [1, 2]}, {"index": 0, "embedding": [2, 1]}]})
    with pytest.raises(EmbedderError, match="which vector"):
        model.embed(["a", "b"])


def test_another_length_than_before_is_refused(server: EmbeddingServer, model: Embedder) -> None:
    model.embed(["a"])
    server.say(embeddings([[1, 2, 3]]))
    with pytest.raises(EmbedderError, match="3 numbers a text, before 24"):
        model.embed(["b"])


@pytest.mark.parametrize("row", [[0, 0], [float("nan"), 1], [float("inf"), 1]])
def test_a_vector_without_a_direction_is_asked_for_again(
    server: EmbeddingServer, model: Embedder, row: list[float]
) -> None:
    server.say(embeddings([[3, 4], row]), embeddings([[1, 0]]))
    long = "odd " * 500
    assert model.embed(["plain", long]) == pytest.approx(np.array([[0.6, 0.8], [1, 0]]))
    assert server.asked == [["plain", long], [long[:SHORT_TEXT]]]


def test_a_model_of_zeros_is_refused(server: EmbeddingServer, model: Embedder) -> None:
    server.embed = lambda texts: np.zeros((len(texts), 3), np.float32)
    with pytest.raises(EmbedderError, match="vectors of zeros or NaN"):
        model.embed(["a"])


def test_a_model_that_tells_nothing_apart_is_refused(server: EmbeddingServer, model: Embedder) -> None:
    server.embed = lambda texts: np.ones((len(texts), 3), np.float32)
    with pytest.raises(EmbedderError, match="nearly identical vectors"):
        _ = model.score_quantiles


# ── texts it does not take ────────────────────────────────────────────────────────────────────────────────────


def test_one_text_that_is_refused_costs_the_others_nothing(server: EmbeddingServer, model: Embedder) -> None:
    server.refuses = lambda text: len(text) > 1000
    texts = [f"paper {n}" for n in range(20)]
    texts[13] = "long " * 1000
    vectors = model.embed(texts)
    kept = [n for n in range(20) if n != 13]
    assert np.array_equal(vectors[kept], model.embed([texts[n] for n in kept]))
    assert np.array_equal(vectors[13], model.embed([texts[13][:SHORT_TEXT]])[0])


def test_a_text_that_is_refused_whatever_its_length_gets_a_plain_vector(
    server: EmbeddingServer, model: Embedder
) -> None:
    server.refuses = lambda text: "\x00" in text
    vectors = model.embed(["fine", "\x00"])
    assert np.array_equal(vectors[1], model.embed([PLACEHOLDER_TEXT])[0])


def test_a_server_that_refuses_everything_is_not_asked_by_halves(server: EmbeddingServer, model: Embedder) -> None:
    server.refuses = lambda text: True
    with pytest.raises(EmbedderError, match="check the model's name"):
        model.embed([f"paper {n}" for n in range(MAX_TEXTS)])
    assert len(server.requests) == 2


def test_long_texts_are_cut_and_large_batches_divided(server: EmbeddingServer, model: Embedder) -> None:
    vectors = model.embed(["word " * 10_000, *(f"paper {n}" for n in range(70))])
    assert len(vectors) == 71
    assert [len(one) for one in server.asked] == [MAX_TEXTS, MAX_TEXTS, 7]
    assert len(server.asked[0][0]) == MAX_TEXT


# ── when to come again ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [429, 503])
def test_a_pause_that_it_asks_for_is_passed_on(server: EmbeddingServer, model: Embedder, status: int) -> None:
    server.say(Answer(status=status, headers={"Retry-After": "7"}))
    with pytest.raises(EmbedderError, match=str(status)) as caught:
        model.embed(["a"])
    assert caught.value.after == 7


def test_a_slow_server_is_given_up(server: EmbeddingServer) -> None:
    model = plugin(f"{server.url}/v1#words", patience=0.5)
    server.say(Answer(delay=30))
    with pytest.raises(EmbedderError, match="no complete answer within 0"):
        model.embed(["a"])


def test_a_server_that_is_not_there_is_an_error() -> None:
    with refused_port() as port:
        model = plugin(f"http://127.0.0.1:{port}/v1#words")
        with pytest.raises(EmbedderError, match="no server answers"):
            _ = model.dimensions


# ── what is known of the model ────────────────────────────────────────────────────────────────────────────────


def test_what_is_known_of_a_model_is_asked_for_once(server: EmbeddingServer, model: Embedder) -> None:
    assert model.embed([]).shape == (0, 24)
    assert model.dimensions == 24
    assert model.score_quantiles[0][0] == 0.2
    assert model.floor < model.score_quantiles[0][1]
    assert len(server.requests) == 1
