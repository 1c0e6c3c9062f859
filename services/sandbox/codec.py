"""What passes between the two processes: frames of known length, and listings as JSON.

Never pickle: whoever gets hold of the child must not get hold of the worker.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from types import NoneType, UnionType
from typing import Any, BinaryIO, get_args, get_origin, get_type_hints

from services.domain.paper import Listing

_LENGTH = 8

Reader = Callable[[Any], Any]


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
    """A message; dataclasses become lists of their fields' values."""
    # Not as ASCII: two lone surrogates would come back as one character.
    return json.dumps(message, default=_plain, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def decode(payload: bytes) -> Any:
    return json.loads(payload.decode("utf-8", "surrogatepass"))


def listing(values: Any) -> Listing:
    """The listing that `encode` made these values of. Raises ValueError or TypeError for any others."""
    found: Listing = _read_listing(values)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    return [getattr(value, name) for name in _names(type(value))]


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _reader(hint: Any) -> Reader | None:
    """What turns a JSON value into a value of the type `hint`; None where it is one already."""
    parts = get_args(hint)
    if hint is date:
        return date.fromisoformat
    if is_dataclass(hint):
        return _dataclass_reader(hint)  # type: ignore[arg-type]
    if get_origin(hint) is tuple and parts[1:] == (...,):
        inner = _reader(parts[0])
        return tuple if inner is None else lambda values: tuple([inner(value) for value in values])
    if isinstance(hint, UnionType) and len(parts) == 2 and parts[1] is NoneType:
        inner = _reader(parts[0])
        return None if inner is None else lambda value: None if value is None else inner(value)
    if hint in (str, int, bool, Mapping[str, str]):
        return None
    raise TypeError(f"a listing holds {hint}, which the codec does not know")


def _dataclass_reader(kind: type[Any]) -> Reader:
    names, hints = _names(kind), get_type_hints(kind)
    readers = [(place, found) for place, name in enumerate(names) if (found := _reader(hints[name]))]

    def read(values: list[Any]) -> Any:
        for place, reader in readers:
            values[place] = reader(values[place])
        return kind(**dict(zip(names, values, strict=True)))

    return read


_read_listing = _dataclass_reader(Listing)
