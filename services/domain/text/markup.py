"""Bytes and markup of others as plain text: decoding, XML without entities, HTML as text, and safe links."""

import html
import re
from urllib.parse import urljoin, urlsplit, urlunsplit

from services.domain.text.charset import BOMS, codec_of
from services.domain.text.markup_tags import BETWEEN_CHILDREN, BLOCK, HIDDEN, INLINE
from services.errors import SourceError

HEAD = 4096
"""Bytes from which the kind of a document is recognised."""
MAX_MARKUP = 200_000
"""Characters, as is the next."""
MAX_LINK = 2_000

_UNMARKED = ((b"<\x00", "utf-16-le"), (b"\x00<", "utf-16-be"))
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,30})["']""")

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_PROLOG = re.compile(r"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_DOCTYPE = re.compile(r"""<!doctype(?:[^\[\]<>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE)
_ROOT = re.compile(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)")

# Characters that are invisible or reorder the text: C0/C1, bidirectional controls, zero-width marks, surrogates, tags.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)

_TAG = re.compile(r"<!--|<(/?)([A-Za-z][\w:-]*)([^<>]*)>")
_PREFIXES = frozenset(["ali", "ce", "html", "jats", "m", "mml", "oasis", "xhtml", "xlink"])
"""Prefixes that publishers give to elements, besides those that this module names without a prefix."""
_AFTER_NAME = re.compile(r"\s*/?|\s[^=]*=.*", re.DOTALL)
_ATTRIBUTES = re.compile(r"""(?:\s+[A-Za-z_][\w:.-]*\s*=\s*(?:"[^"<>]*"|'[^'<>]*'))+\s*/?""")
_EXPONENT = re.compile(r"\s*[+\-−–]?\d")
_REPEATED_FORMULA = re.compile(r"(?<=</tex-math>)\s*<(mml:)?math\b(?:(?!</tex-math>).)*?</(?(1)mml:)math>", re.DOTALL)
"""A formula in MathML directly after the same formula in LaTeX, as in the element `alternatives` of JATS."""
_PREAMBLE = re.compile(r"\\documentclass(?:(?!\\documentclass).)*?\\begin\{document\}|\\end\{document\}", re.DOTALL)
"""A formula in LaTeX may be a whole document, as Springer's are."""


def decode(body: bytes) -> str:
    """The text of `body`, by its byte order mark, its XML declaration, or as UTF-8. Bad bytes become �."""
    for mark, codec in BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(codec, "replace")
    for start, codec in _UNMARKED:
        if body.startswith(start):
            return body.decode(codec, "replace")
    declared = _DECLARED.match(body[:200])
    charset = codec_of(declared[1].decode("ascii")) if declared else None
    # A declaration that can be read as ASCII is not in UTF-16.
    return body.decode("utf-8" if charset is None or charset.startswith("utf-16") else charset, "replace")


def root(body: bytes) -> str:
    """The local name, in lower case, of a document's first element; empty when it does not begin with an element."""
    text = decode(body[:HEAD])
    start = _PROLOG.match(text)
    rest = text[start.end() :] if start else text
    if rest[:9].lower() == "<!doctype":
        rest = _DOCTYPE.sub("", rest, count=1).lstrip()
        rest = rest[prolog.end() :] if (prolog := _PROLOG.match(rest)) else rest
    name = _ROOT.match(rest)
    return name[1].lower() if name else ""


def describe(body: bytes) -> str:
    """What `body` seems to be, for an error message."""
    start = body[:HEAD].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        return "it is empty"
    if start.startswith((b"\x1f\x8b", b"PK\x03\x04", b"%PDF", b"\x89PNG")):
        return "it is a compressed file, a PDF or a picture"
    if name := root(body):
        return "it is an HTML page" if name == "html" else f"it is XML that begins with <{plain(name, 40)}>"
    if start[:1] in (b"{", b"["):
        return "it is JSON of another kind"
    if b"\x00" in start or sum(byte < 9 for byte in start) > 2:
        return "it is binary data"
    return f"it is text that begins with {plain(decode(start), 40)!r}"


def xml(body: bytes) -> str:
    """`body` as XML text that is safe to parse: without declaration, document type and forbidden characters.

    Raises SourceError if it declares entities. No listing needs them, and a few bytes of them can fill the memory.
    """
    text = _NOT_XML.sub("", decode(body))
    start = _PROLOG.match(text)
    rest = text[start.end() :] if start else text
    if rest[:2] == "<!":
        doctype = _DOCTYPE.match(rest)
        if not doctype:
            raise SourceError("the document declares entities or a document type of its own, which is never read")
        rest = rest[doctype.end() :]
    first = _ROOT.search(rest)
    if first and re.search("<!entity", rest[: first.start()], re.IGNORECASE):
        raise SourceError("the document declares entities, which are never read")
    return rest


def plain(text: str, limit: int) -> str:
    """`text` on one line without invisible characters. Longer than `limit` characters, it is cut and ends in …"""
    line = " ".join(_INVISIBLE.sub("", text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def strip_html(markup: str) -> str:
    """The text of HTML, JATS or MathML, without tags and without scripts and styles, its entities decoded once.

    Only what looks like an element of these counts as a tag: formulas contain `a<b` and `<eta>`, which stay.
    """
    markup = _PREAMBLE.sub("", _REPEATED_FORMULA.sub("", markup[:MAX_MARKUP]))
    parts: list[str] = []
    position = 0
    formula, others = _MathChildren(), set[str]()
    while tag := _TAG.search(markup, position):
        parts.append(markup[position : tag.start()])
        position = tag.end()
        if tag[0] == "<!--":
            position = _end_of(markup, "-->", position)
        elif (name := _local_name(tag)) in HIDDEN and not tag[1] and not tag[3].endswith("/"):
            position = _end_of(markup, rf"</{re.escape(tag[2])}[^>]*>", position)
        elif name == "sup" and not tag[1] and parts[-1][-1:].isdigit() and _EXPONENT.match(markup, position):
            parts.append("^")
        else:
            parts.append(formula.separator(tag, name) + _replacement(tag, name, others))
    parts.append(markup[position:])
    return html.unescape("".join(parts))


class _MathChildren:
    """The open elements of MathML, with the number of children that each has so far."""

    def __init__(self) -> None:
        self._open: list[tuple[str, int]] = []

    def separator(self, tag: re.Match[str], name: str) -> str:
        """What stands before this tag because of its place in a fraction or beside a script; mostly nothing."""
        if name not in BETWEEN_CHILDREN and not self._open:
            return ""
        if tag[1]:
            while self._open and self._open.pop()[0] != name:
                pass
            return ""
        between = ""
        if self._open:
            parent, children = self._open.pop()
            between = BETWEEN_CHILDREN.get(parent, "") if children else ""
            self._open.append((parent, children + 1))
        if not tag[3].endswith("/"):
            self._open.append((name, 0))
        return between


def _end_of(markup: str, closing: str, position: int) -> int:
    """The position after the next match of the pattern `closing`; the end of the markup when there is none."""
    match = re.compile(closing, re.IGNORECASE).search(markup, position)
    return match.end() if match else len(markup)


def _local_name(tag: re.Match[str]) -> str:
    """The name in lower case without its prefix, as in `jats:italic` and `mml:mi`."""
    return tag[2].lower().rpartition(":")[2]


def _replacement(tag: re.Match[str], name: str, others: set[str]) -> str:
    """Nothing, a space, or the same characters when they are no tag.

    `others`: the open elements that are in no list, and are known by their attributes in quotes.
    """
    prefix = tag[2].lower()[: -len(name) - 1] if name else ":"
    if ":" in prefix or not _AFTER_NAME.fullmatch(tag[3]):
        return tag[0]
    if name in BLOCK or name in HIDDEN:
        return " "
    if name in INLINE or prefix in _PREFIXES or (tag[1] and tag[2] in others):
        return ""
    if not tag[1] and _ATTRIBUTES.fullmatch(tag[3]):
        others.add(tag[2])
        return ""
    return tag[0]


def safe_link(url: str, base: str = "") -> str | None:
    """`url` (relative to `base`) as an http(s) link without credentials, or None."""
    url = _INVISIBLE.sub("", url).strip()
    try:
        parts = urlsplit(urljoin(base, url) if base else url)
        is_web = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        # `port` raises ValueError for a bad port.
        if not is_web or parts.port == 0:
            return None
        link = urlunsplit(parts)
    except ValueError:
        return None
    link = re.sub(r"[\s\"<>\\^`{|}]", lambda bad: f"%{ord(bad[0]):02X}" if ord(bad[0]) < 128 else "", link)
    return link if len(link) <= MAX_LINK else None
