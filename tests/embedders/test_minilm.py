import os
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest

from services import plugins
from services.embedders.minilm import MAX_TOKENS, plugin
from services.errors import ConfigError

EMBED_TWICE_ACROSS_A_FORK = """
import os
import psutil
from services.embedders.minilm import plugin
embedder = plugin("")
embedder.embed(["before", "the fork"])
child = os.fork()
if not child:
    inherited = psutil.Process().num_threads()
    embedder.embed(["after"] * 40)
    lost = psutil.Process().num_threads() == inherited and len(os.sched_getaffinity(0)) > 1
    os._exit(int(lost))
embedder.embed(["in the parent"])
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_like_texts_are_closer_than_unlike_ones() -> None:
    pairs = [
        ("Shorter chains of thought for reasoning models", "Reducing overthinking in large language models"),
        ("Galaxy rotation curves without dark matter", "Testing modified gravity with spiral galaxies"),
        ("Protein structure prediction from sequence", "Learning how amino acid chains fold"),
    ]
    embedder = plugin("")
    first, second = embedder.embed([a for a, _ in pairs]), embedder.embed([b for _, b in pairs])
    like = [float(first[i] @ second[i]) for i in range(len(pairs))]
    unlike = [float(first[i] @ second[j]) for i, j in combinations(range(len(pairs)), 2)]
    assert min(like) > max(unlike) + 0.1


def test_vectors_are_those_of_the_published_model() -> None:
    # The published full-precision model gives 0.6660 for this pair in its own documentation.
    a, b = plugin("").embed(["The weather is lovely today.", "It's so sunny outside!"])
    assert float(a @ b) == pytest.approx(0.666, abs=0.02)


def test_what_lies_beyond_the_limit_of_tokens_does_not_count() -> None:
    head = "attention " * MAX_TOKENS
    a, b = plugin("").embed([head + "galaxies", head + "proteins and then much more of it"])
    assert np.allclose(a, b, atol=1e-5)


def test_letter_case_does_not_matter() -> None:
    a, b = plugin("").embed(["Large Language Models", "large language models"])
    assert np.array_equal(a, b)


def test_the_setting_finds_it_and_an_argument_is_refused() -> None:
    assert plugins.embedder("minilm").name == "all-MiniLM-L6-v2-int8"
    with pytest.raises(ConfigError, match="takes no argument"):
        plugin("large")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="asks Linux for its cores")
def test_after_a_fork_it_has_threads_of_its_own_and_says_nothing_on_stderr() -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", EMBED_TWICE_ACROSS_A_FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_native_is_loaded_before_the_first_text() -> None:
    code = (
        "import sys; from services import plugins; plugins.embedder('minilm'); assert 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
