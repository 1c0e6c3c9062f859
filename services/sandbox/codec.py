"""What passes between the two processes: frames of a stated length, and typed messages as JSON.

Never pickle: an attacker who controls the child must not control the worker. The parent reads each answer as the type
that it expects, and refuses everything else.
"""

import json
from datetime import date
from typing import Any, BinaryIO, TypeVar

import msgspec

from services.domain.papers.paper import Listing

_LENGTH = 8

Message = TypeVar("Message")


class Request(msgspec.Struct, frozen=True):
    """The first frame of a request; the second is the body of the listing."""

    kind: str
    day: date
    cpu: int
    """Seconds."""
    memory: int
    """Bytes."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of: the listing, `out_of_memory`, an `error` for people, or the exception's name and place (`bug`, `at`)."""

    listing: Listing | None = None
    out_of_memory: bool = False
    error: str = ""
    bug: str = ""
    at: str = ""


def send(stream: BinaryIO, payload: bytes) -> None:
    stream.write(len(payload).to_bytes(_LENGTH, "big"))
    stream.write(payload)
    stream.flush()


def receive(stream: BinaryIO, limit: int | None = None) -> bytes:
    """The next frame. Raises EOFError when the other side has ended, ValueError beyond `limit` bytes."""
    length = int.from_bytes(_exactly(stream, _LENGTH), "big")
    if limit is not None and length > limit:
        raise ValueError("a frame beyond the limit")
    return _exactly(stream, length)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    payload = stream.read(length)
    if len(payload) < length:
        raise EOFError
    return payload


def encode(message: Any) -> bytes:
    try:
        return msgspec.json.encode(message, enc_hook=_builtin)
    except UnicodeEncodeError:
        # A lone surrogate is not UTF-8, which is all that msgspec writes. Not as ASCII: two lone surrogates in a row
        # would come back as one character.
        values = msgspec.to_builtins(message, enc_hook=_builtin)
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def decode(payload: bytes, kind: type[Message]) -> Message:
    """The message of the type `kind`. Raises ValueError for everything else."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:  # damaged, or with a lone surrogate
        return msgspec.convert(_with_surrogates(payload), kind)
    except RecursionError:
        raise ValueError("a message nested too deep") from None


def _with_surrogates(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise ValueError("a message nested too deep") from None


def _builtin(value: Any) -> Any:
    """msgspec writes no subclass of str, such as the texts of an HTML parser."""
    if isinstance(value, str):
        return str.__str__(value)
    raise NotImplementedError(f"no message holds {type(value)}")
