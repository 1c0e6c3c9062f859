"""Identifiers: arXiv ids, DOIs and OpenReview ids in texts and links, and the links that they give."""

import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from services.domain.papers.paper import Identifier

_OLD_ARCHIVES = (
    "acc-phys|adap-org|alg-geom|ao-sci|astro-ph|atom-ph|bayes-an|chao-dyn|chem-ph|cmp-lg|comp-gas|cond-mat|cs|dg-ga"
    "|funct-an|gr-qc|hep-ex|hep-lat|hep-ph|hep-th|math-ph|math|mtrl-th|nlin|nucl-ex|nucl-th|patt-sol|physics|plasm-ph"
    "|q-alg|q-bio|quant-ph|solv-int|supr-con"
)
# Four digits after the point until the end of 2014, five since then:
# https://info.arxiv.org/help/arxiv_identifier.html
_ARXIV = re.compile(
    r"(?P<id>(?:0[7-9]|1[0-4])(?:0[1-9]|1[0-2])\.\d{4}|(?:1[5-9]|[2-9]\d)(?:0[1-9]|1[0-2])\.\d{5}"
    rf"|(?P<archive>{_OLD_ARCHIVES})(?:\.[A-Z]{{2}})?/(?P<number>\d{{7}}))(?:v(?P<version>[1-9]\d{{0,2}}))?",
    re.IGNORECASE,
)
_ARXIV_PREFIX = re.compile(r"^(?:oai:arxiv\.org:|arxiv:\s*|urn:arxiv:)", re.IGNORECASE)
_DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>]{1,200}")
_DOI_PREFIX = re.compile(r"^(?:doi:\s*|info:doi/|urn:doi:)", re.IGNORECASE)
_OPENREVIEW = re.compile(r"[\w-]{6,20}", re.ASCII)
_DOI_OF_ARXIV = "10.48550/arxiv."
_CATEGORY = re.compile(r"\s*\[[\w.-]{2,20}\]\s*$")
"""arXiv's own form of a citation ends in the primary category: `arXiv:2401.00001v1 [cs.CL]`."""
_WITHOUT_SCHEME = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}/", re.IGNORECASE)
_STATED_BY = ("doi.org", "dx.doi.org", "arxiv.org", "openreview.net")
"""Hosts whose links consist of the identifier, so that nothing has to be guessed."""

# What publishers put behind a DOI in the addresses of their pages.
_TAIL = re.compile(
    r"/(?:abstract|abs|full|fulltext|full-text|full-xml|pdf|epdf|pdfdirect|reader|epub|html|htm|xml|meta|summary|references"
    r"|citedby|cited-by|figures|tables|supplementary|suppl|suppl_file|supinfo|media|metrics|issuetoc|tab-[\w-]+)$"
    r"|\.(?:pdf|html?|xml|full|abstract|long|short|full\.pdf|full-text)$|;jsessionid=.*$",
    re.IGNORECASE,
)
# Silverchair's sites (Oxford University Press, AIP, GeoScienceWorld …): …/article/doi/DOI/NUMBER-OF-THE-PAGE/TITLE
_SILVERCHAIR = re.compile(r"(?:^|/)[\w-]*article[\w-]*/doi/(10\.\d{4,9}/[^/]+(?:/[^/]+)*?)/\d{5,9}(?:/[^/]*)*$")


class RecognisedIdentifier(NamedTuple):
    """An identifier, and the version of the work that the text states with it."""

    identifier: Identifier
    version: int | None = None


def arxiv(text: str) -> RecognisedIdentifier | None:
    """`text` as an arXiv id, such as `2401.00001v2`, `arXiv:cond-mat/0207270` or `oai:arXiv.org:…`."""
    match = _ARXIV.fullmatch(_ARXIV_PREFIX.sub("", _CATEGORY.sub("", text.strip())))
    if not match:
        return None
    value = f"{match['archive'].lower()}/{match['number']}" if match["archive"] else match["id"]
    return RecognisedIdentifier(Identifier("arxiv", value), int(match["version"]) if match["version"] else None)


def doi(text: str) -> RecognisedIdentifier | None:
    """`text` as a DOI, with or without a prefix. For the DOI of an arXiv paper, its arXiv id."""
    value = _DOI_PREFIX.sub("", text.strip()).rstrip(".,;").lower()
    if not _DOI.fullmatch(value):
        return None
    if value.startswith(_DOI_OF_ARXIV):
        return arxiv(value.removeprefix(_DOI_OF_ARXIV))
    return RecognisedIdentifier(Identifier("doi", value))


def recognise(text: str) -> RecognisedIdentifier | None:
    """The identifier in an id, a guid or a link; None when it contains none."""
    text = text.strip()
    if text[:8].lower().startswith(("http://", "https://")):
        return _in_link(text)
    if text[:11].lower() == "openreview:":
        return _openreview(text[11:])
    return arxiv(text) or doi(text) or (_in_link(f"https://{text}") if _WITHOUT_SCHEME.match(text) else None)


def is_guess(text: str) -> bool:
    """Whether the identifier in `text` is guessed from the address of a page, which may contain more than it."""
    if text[:8].lower().startswith(("http://", "https://")):
        try:
            return (urlsplit(text).hostname or "").removeprefix("www.") not in _STATED_BY
        except ValueError:
            return True
    return False


def _openreview(forum: str) -> RecognisedIdentifier | None:
    return RecognisedIdentifier(Identifier("openreview", forum)) if _OPENREVIEW.fullmatch(forum) else None


def _in_link(link: str) -> RecognisedIdentifier | None:
    try:
        parts = urlsplit(link)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    path = unquote(parts.path).strip("/")
    if host in ("doi.org", "dx.doi.org"):
        return doi(path)
    if host == "openreview.net":
        # Ids of venues and people look the same; their pages are under /group and /profile.
        return _openreview(parse_qs(parts.query).get("id", [""])[0]) if path in ("forum", "pdf", "attachment") else None
    if host.endswith(("biorxiv.org", "medrxiv.org")):
        return _preprint(path)
    if "/doi/" in f"/{path}" and _DOI.search(path):
        return _publisher_doi(path)
    # Mirrors and digests of arXiv have its id at the end of their paths: /abs/…, /pdf/….pdf, /papers/…, /p/…
    segments = path.removesuffix(".pdf").split("/")
    return arxiv(segments[-1]) or (arxiv("/".join(segments[-2:])) if host.endswith("arxiv.org") else None)


def _publisher_doi(path: str) -> RecognisedIdentifier | None:
    """The DOI in a publisher's path, without what follows it there."""
    page = _SILVERCHAIR.search(path)
    match = None if page else _DOI.search(path)
    value = page[1] if page else match[0] if match else ""
    while (shorter := _TAIL.sub("", value)) != value and _DOI.fullmatch(shorter):
        value = shorter
    return doi(value)


def _preprint(path: str) -> RecognisedIdentifier | None:
    """The DOI and the version in a path of bioRxiv, such as `content/10.1101/2024.01.01.573890v2.full`."""
    match = re.search(r"(10\.\d{4,9}/[\d.]*\d)(?:v(\d{1,3}))?", path)
    return RecognisedIdentifier(Identifier("doi", match[1]), int(match[2]) if match[2] else None) if match else None


def links(identifier: Identifier) -> dict[str, str]:
    """The addresses of a work, by relation. PDFs of arXiv are linked and never copied."""
    value = identifier.value
    if identifier.scheme == "arxiv":
        return {"abstract": f"https://arxiv.org/abs/{value}", "pdf": f"https://arxiv.org/pdf/{value}"}
    if identifier.scheme == "openreview":
        return {"abstract": f"https://openreview.net/forum?id={value}"}
    return {"abstract": f"https://doi.org/{value}"} if identifier.scheme == "doi" else {}
