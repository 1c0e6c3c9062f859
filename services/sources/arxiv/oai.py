"""OAI-PMH: the records that changed on one day, as `arXivRaw` (with their versions) or `arXiv`.

A record has one datestamp, the UTC day of its last change; the announcement of 20:00 Eastern gives it the next day,
which is the day that feeds and this project call the announcement by. So `from` and `until` are that day: without
`until`, looking back sixty days would read the last day sixty times. What was revised since is not lost: it is in the
list of the day of its revision, and known there as recent by its first submission.
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
"""The same query takes 0.6 s or more than 90 s."""
_BASE = "https://oaipmh.arxiv.org/oai"
_VERSION = re.compile(r"v(\d{1,3})")
_WITHDRAWN = "I"
"""The source type of a version that withdraws."""


def request(category: str, day: date) -> Request:
    asked = {"verb": "ListRecords", "metadataPrefix": "arXivRaw", "set": oai_set(category), "from": day, "until": day}
    return Request(url=f"{_BASE}?{urlencode(asked, safe=':')}", timeout=TIMEOUT)


def parse(document: Element) -> Listing:
    asked = document.find("{*}request")
    told = {} if asked is None else {**_resumed(asked.get("resumptionToken", "")), **asked.attrib}
    until = told.get("until") or (document.findtext("{*}responseDate") or "")[:10]
    day = _day(until) if told.get("from") == until else None
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
        announced=_counted(token, told, 0 if next_token else len(nodes)) if day else None,
        next_url=f"{_BASE}?verb=ListRecords&resumptionToken={quote(next_token, safe='')}" if next_token else "",
    )


def _resumed(token: str) -> dict[str, str]:
    """What arXiv's resumption token says: the first request, and how many records were given before."""
    return {name: values[0] for name, values in parse_qs(unquote(token)).items()}


def _counted(token: Element | None, told: dict[str, str], last: int) -> int | None:
    """How many records arXiv has for the request: it says so, or its last page, of `last` records, ends there."""
    size = token.get("completeListSize", "") if token is not None else ""
    before = told.get("skip", "0" if "resumptionToken" not in told else "")
    if size.isdecimal():
        return int(size[:9])
    return int(before[:9]) + last if last and before.isdecimal() else None


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
    found = identifiers.arxiv(fields.get("id", "")) or identifiers.arxiv(_identifier(node))
    changed = _changed(node)
    submitted = calendar.day_of(versions[0].findtext("{*}date") or "") if versions else _day(fields.get("created", ""))
    replacement = bool(changed and submitted and changed - submitted > calendar.MAX_HOLD)
    return entry(
        found,
        title=fields.get("title", ""),
        abstract=fields.get("abstract", ""),
        authors=_authors(record, fields),
        categories=fields.get("categories", "").split(),
        doi=fields.get("doi", ""),
        journal=fields.get("journal-ref", ""),
        comment=fields.get("comments", ""),
        announced_on=(
            calendar.latest_first_announcement(found.identifier, changed)
            if replacement and found and changed
            else changed
        ),
        published_on=submitted,
        version=_version(versions, fields),
        replacement=replacement,
        withdrawn=bool(versions) and _WITHDRAWN in (versions[-1].findtext("{*}source_type") or ""),
    )


def _version(versions: list[Element], fields: dict[str, str]) -> int | None:
    """`arXiv` metadata only say whether there is more than one."""
    if versions:
        named = (_VERSION.fullmatch(version.get("version", "")) for version in versions)
        return max((int(found[1]) for found in named if found), default=None)
    return None if fields.get("updated") else 1


def _authors(record: Element, fields: dict[str, str]) -> Iterator[str]:
    people_of = record.findall("{*}authors/{*}author")
    if people_of:
        for author in people_of:
            parts = (author.findtext(f"{{*}}{part}") or "" for part in ("forenames", "keyname", "suffix"))
            yield " ".join(filter(None, parts))
        return
    *names, last = people(fields.get("authors", ""))
    yield from names
    # Before the last one stands an `and`, which names of collaborations hold too.
    yield from [last] if last.endswith("ollaborations") else re.split(r"(?:^|\s)and\s", last)


def _local(node: Element) -> str:
    return node.tag.rpartition("}")[2]


def _day(stamp: str) -> date | None:
    try:
        return date.fromisoformat(stamp.strip()[:10])
    except ValueError:
        return None
