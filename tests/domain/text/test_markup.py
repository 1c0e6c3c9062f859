import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.text.markup import decode, describe, plain, root, safe_link, strip_html, xml
from services.errors import SourceError


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>One</p><p>two</p>", " One  two "),
        ("H<sub>2</sub>O", "H2O"),
        ("a<b and c>d", "a<b and c>d"),
        ("$x<y$ <eta>", "$x<y$ <eta>"),
        ("&lt;script&gt; &amp;amp;", "<script> &amp;"),
        ("<SCRIPT>alert(1)</SCRIPT >x", "x"),
        ("<style>never closed", ""),
        ("a<!-- <b> -->b<!-- c", "ab"),
        ('<a href="https://example.org">link</a>', "link"),
        ("<jats:title>Abstract</jats:title><jats:p>text</jats:p>", " Abstract  text "),
        ("<jats:italic>In situ</jats:italic> on <mml:math><mml:mi>α</mml:mi></mml:math>-Al", "In situ on α-Al"),
        ('an <inline-formula xmlns:mml="x"><tex-math notation="LaTeX">$x$</tex-math></inline-formula>', "an $x$"),
        ('<monospace>a</monospace> <styled-content style="color:red">b</styled-content>', "a b"),
        ('<named-content content-type="x">a</named-content><jats:inline-graphic xlink:href="a.gif"/>', "a"),
        ('<Emphasis Type="Italic">Homo</Emphasis> and </Emphasis2>', "Homo and </Emphasis2>"),
        ("<tex-math>$x^2$</tex-math><mml:math><mml:mi>x</mml:mi></mml:math>", "$x^2$"),
        (r"<tex-math>\documentclass{minimal}\begin{document}$x$\end{document}</tex-math>", "$x$"),
        ("<math><mi>x</mi><annotation>x</annotation></math>y", "xy"),
        ("<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>", "1/2"),
        ("<m:msup><m:mn>10</m:mn><m:mrow><m:mo>-</m:mo><m:mn>3</m:mn></m:mrow></m:msup>4", "10^-34"),
        ("<mml:msub><mml:mi>CO</mml:mi><mml:mn>2</mml:mn></mml:msub>", "CO2"),
        ("10<sup>3</sup> of the 1<sup>st</sup> 5<sup>-2</sup> m<sup>2</sup>", "10^3 of the 1st 5^-2 m2"),
        ("std::vector<std::string> <user:x> <think>so</think>", "std::vector<std::string> <user:x> <think>so</think>"),
        ('<https://example.org?a=b> a<b="c">', '<https://example.org?a=b> a<b="c">'),
        ("3 < 4 > 2", "3 < 4 > 2"),
    ],
)
def test_html_becomes_text(markup: str, text: str) -> None:
    assert strip_html(markup) == text


@pytest.mark.parametrize(
    "part",
    [
        "<",
        "<a ",
        "<!--",
        "<script>",
        "</",
        "<a b='",
        "&",
        "<p/>",
        "<script></script>",
        "<x a='b'>",
        "<mfrac>",
        "</mfrac>",
        "\\documentclass",
        "</tex-math><math>",
    ],
)
def test_every_markup_is_read_fast(part: str) -> None:
    started = time.monotonic()
    strip_html(part * 200_000)
    assert time.monotonic() - started < 5


def test_text_is_one_visible_line() -> None:
    assert plain(" a\u202eb\x00\n c\u2028d\ud800\ufeff\u200be\x85f ", 100) == "ab c de f"


@given(st.text(st.characters(), max_size=60), st.integers(1, 50))
def test_plain_text_is_stable_and_within_its_limit(text: str, limit: int) -> None:
    once = plain(text, limit)
    assert len(once) <= limit
    assert plain(once, limit) == once
    once.encode()


@pytest.mark.parametrize(
    ("url", "base", "link"),
    [
        ("https://example.org/a b<c>", "", "https://example.org/a%20b%3Cc%3E"),
        ("../x", "https://example.org/a/b/", "https://example.org/a/x"),
        ("//example.org/x", "https://a.example/", "https://example.org/x"),
        (" java\nscript:alert(1)", "", None),
        ("javascript:alert(1)", "https://example.org/", None),
        ("data:text/html,x", "", None),
        ("/relative", "", None),
        ("https://me:secret@example.org/", "", None),
        ("http://[::1", "", None),
        ("https://example.org:x/", "", None),
        ("https://example.org/" + "a" * 3_000, "", None),
        ('https://example.org/"onmouseover="x', "", "https://example.org/%22onmouseover=%22x"),
    ],
)
def test_only_safe_web_links_are_kept(url: str, base: str, link: str | None) -> None:
    assert safe_link(url, base) == link


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_encoding_is_found_without_a_declaration(codec: str) -> None:
    assert decode("<a>é – 漢</a>".encode(codec)) == "<a>é – 漢</a>"


def test_a_declared_encoding_is_used_when_feeds_use_it() -> None:
    assert "é" in decode(b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>")
    assert "+ADw-" in decode(b"<?xml version='1.0' encoding='utf-7'?><a>+ADw-</a>")
    assert decode(b"<?xml version='1.0' encoding='iso-8859-99'?><a>\xe9</a>").endswith("\ufffd</a>")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"<?xml version='1.0'?><!-- <html> --><rdf:RDF x='1'>", "rdf"),
        (b"\xef\xbb\xbf\n<!DOCTYPE rss PUBLIC '-//x' 'y'>\n<rss>", "rss"),
        (b"<!doctype html><HTML>", "html"),
        (b"{}", ""),
        (b"text <rss>", ""),
        (b"", ""),
    ],
)
def test_the_root_is_the_name_of_the_first_element(body: bytes, name: str) -> None:
    assert root(body) == name


def test_document_type_and_forbidden_characters_are_removed() -> None:
    assert xml(b"<?xml version='1.0'?><!DOCTYPE rss SYSTEM 'x'><rss>a\x00\x0bb</rss>") == "<rss>ab</rss>"


@pytest.mark.parametrize(
    "prolog",
    [
        "<!DOCTYPE r [<!ELEMENT r ANY>]>",
        'junk <!ENTITY a "b">',
        '<!DOCTYPE r SYSTEM "x"><!entity a "b">',
        "<!DOCTYPE r",
    ],
)
def test_declarations_are_refused(prolog: str) -> None:
    with pytest.raises(SourceError, match="never read"):
        xml(f"{prolog}<r/>".encode())


def test_text_about_entities_is_allowed() -> None:
    body = b'<rss><![CDATA[<!DOCTYPE x [<!ENTITY a "b">]>]]></rss>'
    assert xml(body) == body.decode()
    with pytest.raises(SourceError):
        xml(b'<!DOCTYPE x [<!ENTITY a "b">]>' + body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "it is empty"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"<!doctype html><html>", "an HTML page"),
        (b"<OAI-PMH>", "XML that begins with <oai-pmh>"),
        (b"{}", "JSON of another kind"),
        (b"\x00\x01\x02\x03", "binary"),
        (b"Rate exceeded.", "'Rate exceeded.'"),
    ],
)
def test_unexpected_content_is_described(body: bytes, words: str) -> None:
    assert words in describe(body)
