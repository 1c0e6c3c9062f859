"""Foreign bytes and markup made plain: decoded, XML without entities, HTML as text, links that are safe to show."""

import html
import re
from urllib.parse import urljoin, urlsplit, urlunsplit

from services.errors import SourceError

HEAD = 4096
"""So many bytes tell what a document is."""
MAX_MARKUP = 200_000
MAX_LINK = 2_000

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_UNMARKED = ((b"<\x00", "utf-16-le"), (b"\x00<", "utf-16-be"))
_DECLARED = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,30})["']""")
# Only what feeds are written in: Python knows codecs (utf-7, rot13 …) that would smuggle markup past every check.
_CHARSET = re.compile(
    r"(?i)utf-?8|us-ascii|iso-8859-\d{1,2}|windows-125\d|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|euc-(jp|kr)"
)

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_PROLOG = re.compile(r"(?:\s+|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_DOCTYPE = re.compile(r"""<!doctype(?:[^\[\]<>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE)
_ROOT = re.compile(r"<(?:[\w.-]+:)?([A-Za-z][\w.-]*)")

# Invisible, or able to turn the text around it: C0/C1, bidirectional controls, zero-width marks, surrogates, tags.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)

_TAG = re.compile(r"<!--|<(/?)([A-Za-z][\w:-]*)([^<>]*)>")
_INLINE = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "blink",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "ins",
        "kbd",
        "mark",
        "marquee",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    ]
)
_BLOCK = frozenset(
    [
        "address",
        "applet",
        "article",
        "aside",
        "audio",
        "blockquote",
        "body",
        "br",
        "button",
        "canvas",
        "caption",
        "center",
        "col",
        "dd",
        "details",
        "dir",
        "div",
        "dl",
        "dt",
        "embed",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "frame",
        "frameset",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "head",
        "header",
        "hr",
        "html",
        "iframe",
        "img",
        "input",
        "label",
        "legend",
        "li",
        "link",
        "main",
        "map",
        "meta",
        "nav",
        "ol",
        "option",
        "p",
        "picture",
        "pre",
        "section",
        "select",
        "source",
        "summary",
        "table",
        "tbody",
        "td",
        "template",
        "tfoot",
        "th",
        "thead",
        "title",
        "tr",
        "track",
        "ul",
        "video",
    ]
)
_HIDDEN = frozenset(["script", "style", "noscript", "object", "svg", "textarea"])


def decode(body: bytes) -> str:
    """The text of `body` by its byte order mark, its XML declaration, else as UTF-8; never fails, what is bad is �."""
    for mark, codec in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(codec, "replace")
    for start, codec in _UNMARKED:
        if body.startswith(start):
            return body.decode(codec, "replace")
    declared = _DECLARED.match(body[:200])
    charset = declared[1].decode("ascii") if declared else "utf-8"
    try:
        return body.decode(charset if _CHARSET.fullmatch(charset) else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")


def root(body: bytes) -> str:
    """The local name, in lower case, of the element a document begins with; empty if it does not begin with one."""
    text = decode(body[:HEAD])
    start = _PROLOG.match(text)
    rest = text[start.end() :] if start else text
    if rest[:9].lower() == "<!doctype":
        rest = _DOCTYPE.sub("", rest, count=1).lstrip()
        rest = rest[found.end() :] if (found := _PROLOG.match(rest)) else rest
    name = _ROOT.match(rest)
    return name[1].lower() if name else ""


def describe(body: bytes) -> str:
    """What `body` seems to be, for people who expected something else."""
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
    """`body` as XML text that any parser may see: no declaration, no document type, nothing that XML forbids.

    Raises SourceError if it declares entities: no listing needs them, and a few bytes of them fill the memory.
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
    """`text` on one line without invisible characters, at most `limit` characters (then it ends in …)."""
    line = " ".join(_INVISIBLE.sub("", text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def strip_html(markup: str) -> str:
    """The text of HTML: tags gone, scripts and styles with their content, entities decoded once.

    `a<b` and `<eta>` stay, since formulas are full of them: only what HTML knows as an element is a tag.
    """
    markup = markup[:MAX_MARKUP]
    kept: list[str] = []
    position = 0
    while found := _TAG.search(markup, position):
        kept.append(markup[position : found.start()])
        position = found.end()
        if found[0] == "<!--":
            position = _after(markup, "-->", position)
        elif (name := found[2].lower()) in _HIDDEN and not found[1]:
            position = _after(markup, rf"</{name}[^>]*>", position)
        else:
            kept.append(_in_place_of(found, name))
    kept.append(markup[position:])
    return html.unescape("".join(kept))


def _after(markup: str, end: str, position: int) -> int:
    """Behind the next `end` (a pattern); what is never closed hides all the rest."""
    found = re.compile(end, re.IGNORECASE).search(markup, position)
    return found.end() if found else len(markup)


def _in_place_of(tag: re.Match[str], name: str) -> str:
    """What stands where the tag stood: nothing, a space, or the tag itself if it is none."""
    rest = tag[3].strip().rstrip("/")
    if rest and "=" not in rest:
        return tag[0]
    if name in _INLINE or ":" in name:
        return ""
    return " " if name in _BLOCK or name in _HIDDEN else tag[0]


def safe_link(url: str, base: str = "") -> str | None:
    """`url` (relative to `base`) as an http(s) link without credentials, or None."""
    url = _INVISIBLE.sub("", url).strip()
    try:
        parts = urlsplit(urljoin(base, url) if base else url)
        sound = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        # The port is read to be checked: a bad one raises.
        if not sound or (parts.port is not None and not parts.port):
            return None
        link = urlunsplit(parts)
    except ValueError:
        return None
    link = re.sub(r"[\s\"<>\\^`{|}]", lambda bad: f"%{ord(bad[0]):02X}" if ord(bad[0]) < 128 else "", link)
    return link if len(link) <= MAX_LINK else None
