"""Templates: the Jinja environment, and filters that make titles, abstracts, links and dates of papers safe to show."""

from collections.abc import Sequence
from datetime import date
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.domain.digests.digest import DigestPaper
from services.domain.digests.highlight import Piece, pieces
from services.domain.http.ssrf import without_secrets
from services.domain.papers import display_text
from services.domain.papers.paper import Paper
from services.domain.text.latex import readable

MAX_TITLE = 300
MAX_LINK = 2000
UNTITLED = "(untitled)"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LINK_RELATIONS = (("abstract", "Abstract"), ("pdf", "PDF"), ("code", "Code"), ("project", "Project"))


def templates() -> Path:
    """The folder of templates: inside an installed wheel, or beside `services` in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_templates"
    return installed if installed.is_dir() else package.parent / "templates"


@cache
def environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(templates()),
        autoescape=lambda name: not (name or "").endswith(".txt"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # Otherwise each mail would stat seven files.
    )
    env.filters |= {"link": link, "authors": authors, "day": day, "line": line, "shorten": shorten}
    env.filters |= {"place": without_secrets, "title": title, "title_text": title_text, "abstract": abstract}
    env.filters |= {"links": links, "home": home}
    env.filters |= {"marked_title": marked_title, "passage": passage, "starred": starred, "wrapped": wrapped}
    return env


def render(template: str, **context: object) -> str:
    """Renders a template by its path. A name that the context lacks is an error, not an empty text."""
    return environment().get_template(template).render(context)


def line(text: str, limit: int = 200) -> str:
    """One line without control and bidi characters, spaces collapsed, at most `limit` characters."""
    return shorten(display_text.printable(text[: 8 * limit]), limit)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; cut between words if one ends near the limit."""
    if len(text) <= limit:
        return text
    cut = text[: max(limit - 1, 0)]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > limit * 0.6 else cut).rstrip(" ,.;:–—-") + "…"


@lru_cache(4096)
def link(url: str) -> str:
    """`url` if it is http or https with a host, escaped for an HTML attribute; otherwise empty."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
    except ValueError:
        return ""
    cleaned = quote(display_text.printable(url), safe="%/:?#[]@!$&()*+,;=~-._")
    return cleaned if usable and len(cleaned) <= MAX_LINK else ""


def title_text(stated: str, limit: int = MAX_TITLE) -> str:
    """A title that its source states so, as `title` shows it."""
    return shorten(display_text.title_text(stated), limit) or UNTITLED


def title(paper: Paper, limit: int = MAX_TITLE) -> str:
    return shorten(display_text.title(paper), limit) or UNTITLED


def abstract(paper: Paper, limit: int) -> str:
    return shorten(display_text.abstract(paper), limit) if limit else ""


def marked_title(item: DigestPaper, limit: int = MAX_TITLE) -> list[Piece]:
    """The title in pieces, so that a template can mark the words that matched."""
    return pieces(display_text.title(item.paper), item.title_hits, limit) or [Piece(UNTITLED)]


def passage(item: DigestPaper, limit: int) -> list[Piece]:
    """The abstract in pieces; of a long abstract, the part that explains the match."""
    return pieces(display_text.abstract(item.paper), item.abstract_hits, limit, item.sentence)


def starred(marked: Sequence[Piece]) -> str:
    """Pieces as plain text, with the words that matched between stars."""
    return "".join(f"*{piece.text}*" if piece.hit else piece.text for piece in marked)


def wrapped(text: str, width: int = 72, indent: str = "   ") -> str:
    """Lines of at most `width` characters, broken between words. textwrap is too slow for thousands of mails."""
    lines, length = [indent], len(indent)
    for word in text.split():
        if length > len(indent) and length + len(word) + 1 > width:
            lines.append(f"\n{indent}{word}")
            length = len(indent) + len(word)
        else:
            lines.append(word if length == len(indent) else f" {word}")
            length += len(lines[-1])
    return "".join(lines)


def authors(paper: Paper, most: int = 3) -> str:
    """`A, B, C and 5 more`; `5 authors` if only their number is known; empty if nothing is known."""
    total = max(paper.author_count or 0, len(paper.authors))
    most += total == most + 1  # A name is no longer than "and 1 more".
    names = [line(readable(name[:400]), 80) for name in paper.authors[:most]]
    if not names:
        return f"{total} author{'s' if total > 1 else ''}" if total else ""
    more = total - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def day(value: date) -> str:
    """`6 Nov 2025`, whatever the locale."""
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def links(paper: Paper) -> list[tuple[str, str]]:
    """(label, URL) of the paper's links that pass `link`; a search on arXiv if there is none."""
    known = [(label, url) for relation, label in _LINK_RELATIONS if (url := link(paper.links.get(relation, "")))]
    known = known or [("Find on arXiv", search(paper))]
    cite = bibtex(paper)
    return [*known, ("BibTeX", cite)] if cite else known


def bibtex(paper: Paper) -> str:
    """The URL of the paper's BibTeX entry, at arXiv or Crossref; empty without an arXiv id and a DOI."""
    names = {identifier.scheme: identifier.value for identifier in paper.identifiers}
    if "arxiv" in names:
        return f"https://arxiv.org/bibtex/{quote(names['arxiv'])}"
    doi = quote(names.get("doi", ""), safe="")
    return f"https://api.crossref.org/works/{doi}/transform/application/x-bibtex" if doi else ""


def home(paper: Paper) -> str:
    """The link of the title: the abstract, any other link, or a search for the title."""
    urls = (link(paper.links.get(relation, "")) for relation in ("abstract", "listing", "project", "pdf", "code"))
    return next((url for url in urls if url), "") or search(paper)


def search(paper: Paper) -> str:
    """arXiv's search for the title, for papers without identifiers, such as those of the Daily Papers page as text."""
    query = urlencode({"query": title(paper, 300), "searchtype": "title"})
    return f"https://arxiv.org/search/?{query}"
