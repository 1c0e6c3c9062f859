import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.http.content_encoding import Damaged, TooLarge, is_complete_document, undo

LIMIT = 1 << 20


def encoded(content: bytes, coding: str) -> bytes:
    if coding == "gzip":
        return gzip.compress(content[:50]) + gzip.compress(content[50:])
    if coding == "deflate":
        return zlib.compress(content)
    if coding == "bare deflate":
        bare = zlib.compressobj(wbits=-15)
        return bare.compress(content) + bare.flush()
    return bytes(brotli.compress(content)) if coding == "br" else content


@given(st.binary(max_size=5_000), st.sampled_from(["", "gzip", "deflate", "bare deflate", "br"]), st.integers(1, 999))
def test_encoded_content_is_decoded_in_chunks_of_any_size(content: bytes, coding: str, step: int) -> None:
    body = encoded(content, coding)
    chunks = [body[start : start + step] for start in range(0, len(body), step)]
    assert undo(chunks, coding.removeprefix("bare "), LIMIT) == content


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", ""])
def test_decoding_stops_at_the_limit_without_filling_the_memory(coding: str) -> None:
    body = encoded(bytes(64 * LIMIT), coding)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        undo([body], coding, LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * LIMIT


def test_an_endless_body_ends_at_the_limit() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(TooLarge):
        undo(endless(), "", LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_an_incomplete_body_and_another_encoding_are_damaged(coding: str) -> None:
    body = encoded(b"some text that is long enough to be cut" * 10, coding)
    with pytest.raises(Damaged, match="cut off"):
        undo([body[:-9]], coding, LIMIT)
    with pytest.raises(Damaged):
        undo([b"plain text, not what the header says"], coding, LIMIT)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(Damaged, match="zstd"):
        undo([b"x"], "zstd", LIMIT)


def test_an_empty_body_is_valid_in_every_encoding() -> None:
    assert undo([], "gzip", LIMIT) == b""


FEED = b'<?xml version="1.0"?>\n<!-- x -->\n<rdf:RDF xmlns:rdf="r"><item>' + b"text " * 9_000 + b"</item></rdf:RDF>\n"


@pytest.mark.parametrize(
    "content", [FEED, b"<!DOCTYPE rss><rss></rss>", b'{"items": []}', b"[1, 2]", b"<feed>\n</feed>\n"]
)
@pytest.mark.parametrize("missing", [1, 4, 8])
def test_a_complete_document_in_truncated_gzip_is_read(content: bytes, missing: int) -> None:
    assert undo([gzip.compress(content)[:-missing]], "gzip", 10**6) == content


@pytest.mark.parametrize("content", [b"<rss><item></item>", FEED[:30_000], b'{"items": [', b"plain text", b"</rss>"])
def test_an_incomplete_document_in_truncated_gzip_is_refused(content: bytes) -> None:
    with pytest.raises(Damaged, match="cut off"):
        undo([gzip.compress(content)[:-8]], "gzip", 10**6)


def test_a_long_prolog_without_an_element_is_judged_at_once() -> None:
    assert not is_complete_document(b"<?a?>" * 800 + b"<")
