"""Content encodings (RFC 9110 section 8.4), decoded within a limit: a few kilobytes can expand to gigabytes."""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator

import brotli

ACCEPTED = "gzip, br, deflate"
_CHUNK_SIZE = 1 << 18
"""Bytes that one decoding step gives at most."""

_PROLOG_SIZE = 4096
"""Bytes in which the first element begins."""
_PROLOG = re.compile(rb"(?:\xef\xbb\xbf|\s+|<\?.*?\?>|<!--.*?-->|<![a-z][^>]*>)*", re.DOTALL | re.IGNORECASE)
_ROOT = re.compile(rb"<([A-Za-z_][\w.:-]*)")

Decoder = Callable[[bytes], Iterator[bytes]]


class TooLarge(ValueError):
    """More content than the limit, in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class Damaged(ValueError):
    """Content that does not have its stated encoding, or is incomplete. The message completes "the answer is …"."""


def undo(chunks: Iterable[bytes], coding: str, limit: int) -> bytes:
    """The decoded content of `chunks`, at most `limit` bytes. Raises TooLarge or Damaged.

    Where the encoding lacks its end, the content is taken if it is a complete document.
    """
    makers: dict[str, Callable[[], _Zlib | _Brotli | _Plain]] = {
        "": _Plain,
        "identity": _Plain,
        "gzip": lambda: _Zlib(31),
        "x-gzip": lambda: _Zlib(31),
        "deflate": _Zlib,
        "br": _Brotli,
    }
    maker = makers.get(coding.strip().lower())
    if maker is None:
        raise Damaged(f"in the unknown encoding {coding.strip()[:40]!r}")
    decoder, content, received = maker(), bytearray(), 0
    for chunk in chunks:
        received += len(chunk)
        if received > limit:
            raise TooLarge(limit)
        for part in decoder.feed(chunk):
            content += part
            if len(content) > limit:
                raise TooLarge(limit)
    if received and not decoder.finished() and not is_complete_document(content):
        raise Damaged("cut off")
    return bytes(content)


def is_complete_document(content: bytes | bytearray) -> bool:
    """Whether this is XML that ends with the end of its first element, or a whole JSON object or list."""
    head = bytes(content[:_PROLOG_SIZE])
    # In two steps: one pattern for both would try every way to divide a long prolog.
    prolog = _PROLOG.match(head)
    if root := _ROOT.match(head, prolog.end() if prolog else 0):
        return bytes(content[-_PROLOG_SIZE:].rstrip()).endswith(b"</" + root[1] + b">")
    if content[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        return False
    try:
        json.loads(bytes(content))
    except (ValueError, RecursionError):
        return False
    return True


class _Plain:
    def feed(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def finished(self) -> bool:
        return True


class _Zlib:
    """gzip in one or several members (`bits` 31), and deflate (`bits` 0) with or without the zlib header.

    Some servers send deflate without the header that RFC 9110 demands.
    """

    def __init__(self, bits: int = 0) -> None:
        self._bits = bits
        self._decoder = zlib.decompressobj(bits) if bits else None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._decoder is None:
            no_header = chunk[:1] and (chunk[0] & 0x0F != 8 or chunk[0] >> 4 > 7)
            self._decoder = zlib.decompressobj(-zlib.MAX_WBITS if no_header else zlib.MAX_WBITS)
        try:
            while chunk:
                yield self._decoder.decompress(chunk, _CHUNK_SIZE)
                chunk = self._decoder.unconsumed_tail or self._next_member()
        except zlib.error:
            raise Damaged("not what its encoding says") from None

    def _next_member(self) -> bytes:
        assert self._decoder is not None
        following = self._decoder.unused_data
        if not (self._decoder.eof and self._bits and following.startswith(b"\x1f\x8b")):
            return b""
        self._decoder = zlib.decompressobj(self._bits)
        return following

    def finished(self) -> bool:
        return self._decoder is not None and self._decoder.eof


class _Brotli:
    def __init__(self) -> None:
        self._decoder = brotli.Decompressor()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        try:
            yield self._decoder.process(chunk, output_buffer_limit=_CHUNK_SIZE)
            while not self._decoder.can_accept_more_data():
                yield self._decoder.process(b"", output_buffer_limit=_CHUNK_SIZE)
        except brotli.error:
            raise Damaged("not what its encoding says") from None

    def finished(self) -> bool:
        return bool(self._decoder.is_finished())
