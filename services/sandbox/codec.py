"""What passes between the two processes: frames of a stated length, and listings as JSON.

Never pickle: whoever gets hold of the child must not get hold of the worker.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, BinaryIO, get_args, get_origin, get_type_hints

from services.domain.papers.paper import Listing

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
    """A message; in it a listing becomes the list of its fields' values, and so does all that it holds."""
    # Not as ASCII: two lone surrogates would come back as one character.
    text = json.dumps(message, default=_plain, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def decode(payload: bytes) -> Any:
    return json.loads(payload.decode("utf-8", "surrogatepass"))


def listing(values: Any) -> Listing:
    """The listing that `encode` made these values of. Raises ValueError, TypeError or LookupError for others."""
    found: Listing = _read_listing(values)
    return found


def _plain(value: Any) -> Any:
    """What JSON does not know, as something that it does."""
    if isinstance(value, date):
        return value.isoformat()
    values = _values_of.get(type(value), dict)
    return values(value)


def _reader(hint: Any) -> Reader | None:
    """What makes a value of the type `hint` of what JSON has for it; None where that is one already."""
    parts = get_args(hint)
    if hint is date:
        return date.fromisoformat
    if is_dataclass(hint):
        return _dataclass_reader(hint)
    if get_origin(hint) is tuple and parts[1:] == (...,):
        each = _reader(parts[0])
        return tuple if each is None else lambda values: tuple([each(value) for value in values])
    if isinstance(hint, UnionType) and len(parts) == 2 and parts[1] is NoneType:
        given = _reader(parts[0])
        return None if given is None else lambda value: None if value is None else given(value)
    if hint in (str, int, bool, Mapping[str, str]):
        return None
    raise TypeError(f"a listing holds {hint}, which this codec does not know")


def _dataclass_reader(kind: Any) -> Reader:
    names, hints = [field.name for field in fields(kind)], get_type_hints(kind)
    readers = [(place, reader) for place, name in enumerate(names) if (reader := _reader(hints[name]))]
    _values_of[kind] = attrgetter(*names)

    def read(values: list[Any]) -> Any:
        for place, reader in readers:
            values[place] = reader(values[place])
        return kind(**dict(zip(names, values, strict=True)))

    return read


_values_of: dict[type[Any], Callable[[Any], Any]] = {}
_read_listing = _dataclass_reader(Listing)
