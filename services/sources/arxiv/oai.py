"""OAI-PMH: the records that changed on one day, as `arXivRaw` (with their versions) or `arXiv`.

https://info.arxiv.org/help/oa/index.html. A record has one datestamp, the UTC day of its last change. The announcement
of 20:00 Eastern sets it to the next day, with which feeds and paperwire date the announcement; `from` and `until` are
that day. Without `until`, looking back sixty days would read the last day sixty times. A paper that was revised later
is in the list of that later day, where its first submission shows that it is recent.
"""

import re
from collections.abc import Iterator
from datetime import date
from urllib.parse import parse_qs, quote, unquote, urlencode
from xml.etree.ElementTree import Element

from services.domain.papers import identifiers
from services.domain.papers.entries import Unreadable, collect
from services.domain.papers.paper import Entry, Listing
from services.domain.text.markup import plain
from services.errors import SourceError
from services.ports import Request
from services.sources.arxiv import calendar
from services.sources.arxiv.location import oai_set
from services.sources.arxiv.record import entry, people

TIMEOUT = 150.0
"""Seconds. The same query takes 0.6 s at one time and more than 90 s at another."""
_BASE = "https://oaipmh.arxiv.org/oai"
_VERSION = re.compile(r"v(\d{1,3})")
_WITHDRAWN = "I"
"""The source type of a version that withdraws."""


def request(category: str, day: date) -> Request:
    parameters = {"verb": "ListRecords", "metadataPrefix": "arXivRaw", "set": oai_set(category)}
    parameters |= {"from": f"{day}", "until": f"{day}"}
    return Request(url=f"{_BASE}?{urlencode(parameters, safe=':')}", timeout=TIMEOUT)


def parse(document: Element) -> Listing:
    request = document.find("{*}request")
    parameters = {} if request is None else {**_parameters_of(request.get("resumptionToken", "")), **request.attrib}
    until = parameters.get("until") or (document.findtext("{*}responseDate") or "")[:10]
    day = _day(until) if parameters.get("from") == until else None
    for error in document.iterfind("{*}error"):
        if error.get("code") != "noRecordsMatch":
            raise SourceError("arXiv answers: " + plain(f"{error.get('code')}: {error.text or ''}", 300))
        return Listing(format="arxiv-oai", entries=(), announced_on=day, announced=0 if day else None)
    nodes = [*document.iterfind("{*}ListRecords/{*}record"), *document.iterfind("{*}GetRecord/{*}record")]
    if not nodes:
        raise SourceError("this answer of arXiv's OAI holds no records: ask for ListRecords")
    entries, skipped = collect(nodes, _entry, lambda number, node: _identifier(node) or f"entry {number}")
    days = [changed for node in nodes if (changed := _changed(node))]
    token = document.find("{*}ListRecords/{*}resumptionToken")
    next_token = (token.text or "").strip() if token is not None else ""
    return Listing(
        format="arxiv-oai",
        entries=entries,
        skipped=skipped,
        announced_on=day or max(days, default=None),
        announced=_count(token, parameters, 0 if next_token else len(nodes)) if day else None,
        next_url=f"{_BASE}?verb=ListRecords&resumptionToken={quote(next_token, safe='')}" if next_token else "",
    )


def _parameters_of(token: str) -> dict[str, str]:
    """The contents of arXiv's resumption token: the first request, and how many records the pages before had."""
    return {name: values[0] for name, values in parse_qs(unquote(token)).items()}


def _count(token: Element | None, parameters: dict[str, str], last_page: int) -> int | None:
    """How many records the request has in all: as arXiv states it, or as the last page shows; None if neither is known.

    `last_page`: the number of records on the last page; 0 on any other page.
    """
    size = token.get("completeListSize", "") if token is not None else ""
    before = parameters.get("skip", "0" if "resumptionToken" not in parameters else "")
    if size.isdecimal():
        return int(size[:9])
    return int(before[:9]) + last_page if last_page and before.isdecimal() else None


def _identifier(node: Element) -> str:
    return (node.findtext("{*}header/{*}identifier") or "").strip()


def _changed(node: Element) -> date | None:
    return _day(node.findtext("{*}header/{*}datestamp") or "")


def _entry(node: Element) -> Entry:
    header = node.find("{*}header")
    if header is not None and header.get("status") == "deleted":
        raise Unreadable("arXiv has deleted it")
    record = next(iter(node.findall("{*}metadata/*")), None)
    name = _local(record) if record is not None else ""
    if record is None or name not in ("arXiv", "arXivRaw"):
        raise Unreadable("its metadata are neither arXiv nor arXivRaw")
    fields = {_local(child): (child.text or "").strip() for child in record}
    versions = record.findall("{*}version")
    recognised = identifiers.arxiv(fields.get("id", "")) or identifiers.arxiv(_identifier(node))
    changed = _changed(node)
    submitted = calendar.day_of(versions[0].findtext("{*}date") or "") if versions else _day(fields.get("created", ""))
    replacement = bool(changed and submitted and changed - submitted > calendar.MAX_HOLD)
    announced_on = changed
    if replacement and recognised and changed:
        announced_on = calendar.latest_first_announcement(recognised.identifier, changed)
    return entry(
        recognised,
        title=fields.get("title", ""),
        abstract=fields.get("abstract", ""),
        authors=_authors(record, fields),
        categories=fields.get("categories", "").split(),
        doi=fields.get("doi", ""),
        journal=fields.get("journal-ref", ""),
        comment=fields.get("comments", ""),
        announced_on=announced_on,
        published_on=submitted,
        version=_version(versions, fields),
        replacement=replacement,
        withdrawn=bool(versions) and _WITHDRAWN in (versions[-1].findtext("{*}source_type") or ""),
    )


def _version(versions: list[Element], fields: dict[str, str]) -> int | None:
    """The newest version. `arXiv` metadata only state whether there is more than one."""
    if versions:
        matches = (_VERSION.fullmatch(version.get("version", "")) for version in versions)
        return max((int(match[1]) for match in matches if match), default=None)
    return None if fields.get("updated") else 1


def _authors(record: Element, fields: dict[str, str]) -> Iterator[str]:
    authors = record.findall("{*}authors/{*}author")
    if authors:
        for author in authors:
            parts = (author.findtext(f"{{*}}{part}") or "" for part in ("forenames", "keyname", "suffix"))
            yield " ".join(filter(None, parts))
        return
    *names, last = people(fields.get("authors", ""))
    yield from names
    # The last name follows an `and`, which names of collaborations contain too.
    yield from [last] if last.endswith("ollaborations") else re.split(r"(?:^|\s)and\s", last)


def _local(node: Element) -> str:
    return node.tag.rpartition("}")[2]


def _day(stamp: str) -> date | None:
    try:
        return date.fromisoformat(stamp.strip()[:10])
    except ValueError:
        return None
