"""bioRxiv and medRxiv: the preprints posted on one day, from the JSON API of both.

https://api.biorxiv.org
"""

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote

from services.domain.papers import identifiers
from services.domain.papers.entries import Unreadable, collect
from services.domain.papers.paper import Entry, Identifier, Listing
from services.domain.sources import rate_limits
from services.domain.sources.batches import today
from services.domain.sources.polling import Timetable
from services.domain.text.markup import HEAD, MAX_MARKUP, decode, describe, plain, strip_html
from services.errors import SourceError
from services.ports import Request

DOI_PREFIXES = ("10.1101/", "10.64898/")
"""openRxiv has assigned the second one since the end of 2025."""
FORMAT = "biorxiv-json"
API = "https://api.biorxiv.org"
BIORXIV = (
    "animal behavior and cognition, biochemistry, bioengineering, bioinformatics, biophysics, cancer biology, "
    "cell biology, clinical trials, developmental biology, ecology, epidemiology, evolutionary biology, genetics, "
    "genomics, immunology, microbiology, molecular biology, neuroscience, paleontology, pathology, "
    "pharmacology and toxicology, physiology, plant biology, scientific communication and education, "
    "synthetic biology, systems biology, zoology"
)
MEDRXIV = (
    "addiction medicine, allergy and immunology, anesthesia, cardiovascular medicine, dentistry and oral medicine, "
    "dermatology, emergency medicine, endocrinology, epidemiology, forensic medicine, gastroenterology, "
    "genetic and genomic medicine, geriatric medicine, health economics, health informatics, health policy, "
    "health systems and quality improvement, hematology, hiv aids, infectious diseases, "
    "intensive care and critical care medicine, medical education, medical ethics, nephrology, neurology, nursing, "
    "nutrition, obstetrics and gynecology, occupational and environmental health, oncology, ophthalmology, "
    "orthopedics, otolaryngology, pain medicine, palliative medicine, pathology, pediatrics, "
    "pharmacology and therapeutics, primary care research, psychiatry and clinical psychology, "
    "public and global health, radiology and imaging, rehabilitation medicine and physical therapy, "
    "respiratory medicine, rheumatology, sexual and reproductive health, sports medicine, surgery, toxicology, "
    "transplantation, urology"
)

_ANSWER = re.compile(r'^\s*\{\s*"(?:messages|collection)"\s*:\s*\[')
_MEDRXIV = re.compile(rb'"server"\s*:\s*"medrxiv"', re.IGNORECASE)
_INTERVAL = re.compile(r"(\d{4}-\d\d-\d\d):(\d{4}-\d\d-\d\d)")
# HighWire's marks of lists, headings, small capitals and figures, which its conversion of manuscripts leaves.
_FIGURE = re.compile(r"O_(FIG|TBL|TEXTBOX).{0,3000}?C_\1", re.DOTALL)
_BREAK = re.compile(r"[OC]_(?:ST_ABS|LI|QD|FIG|TBL|TEXTBOX|BR)")
_MARK = re.compile(r"[OC]_(?:SCPCAP|SCPLOW|INLINEFIG|UNDERLINE|BF|IT|MATH)")
_WITHDRAWN = re.compile(
    r"\s*(?:withdrawn\b|the authors? (?:has|have) withdrawn|(?:this|the) \w+ (?:has been|was) withdrawn)", re.IGNORECASE
)


class Preprints:
    formats: tuple[str, ...] = (FORMAT,)
    rank = 30
    every: timedelta | None = timedelta(hours=1)
    timetable = Timetable(timezone="America/New_York", grows=True, states_days=True)

    def __init__(self, kind: str, name: str, example: str, categories: str) -> None:
        self.kind = kind
        self.name = name
        self.example = example
        self.summary = f"the preprints that {name} posts, all or of one category"
        self._categories = {category.replace(" ", "_") for category in categories.split(", ")}

    def location(self, text: str) -> str:
        category = re.sub(r"[\s_/-]+", "_", text.strip().lower())
        if category and category not in self._categories:
            near = get_close_matches(category, self._categories, 1) or [self.example]
            raise SourceError(f"{self.name} has no category {plain(text, 40)!r}; there is {near[0]!r}, or leave it out")
        return category

    def rate_limit(self, location: str) -> tuple[str, timedelta]:
        return rate_limits.of_url(API)

    def request(self, location: str, now: datetime) -> Request:
        return self.request_day(location, today(self.timetable, now))

    def request_day(self, location: str, day: date) -> Request:
        return Request(url=_url(self.kind, f"{day}", f"{day}", 0, location), timeout=60.0)

    def publishes(self, identifier: Identifier) -> bool:
        return identifier.scheme == "doi" and identifier.value.startswith(DOI_PREFIXES)

    def recognise(self, body: bytes) -> str | None:
        if not _ANSWER.match(decode(body[:HEAD])) or b'"messages"' not in body or b'"collection"' not in body:
            return None
        return FORMAT if (self.kind == "medrxiv") == bool(_MEDRXIV.search(body)) else None

    def parse(self, body: bytes, *, day: date) -> Listing:
        message, items = self._answer(body)
        interval = _INTERVAL.fullmatch(str(message.get("interval")))
        posted = _day(interval[2]) if interval else None
        total, cursor = _number(message.get("total")), _number(message.get("cursor")) or 0
        # The server decides whether a page has 30 or 100 preprints.
        next_cursor = cursor + len(items)
        more = interval is not None and total is not None and next_cursor < total
        if more and not items:
            raise SourceError(f"{self.name} answers with an empty page, though it counts {total:,} preprints")
        entries, skipped = collect(items, self._entry, _name)
        next_url = ""
        if interval and more:
            next_url = _url(self.kind, interval[1], interval[2], next_cursor, _category_of(message))
        day_is_over = posted is not None and posted < day
        return Listing(
            format=FORMAT,
            entries=entries,
            skipped=skipped,
            announced_on=posted or max((entry.announced_on for entry in entries if entry.announced_on), default=None),
            # The count of 0 is final only when the day is over.
            announced=0 if self._is_empty(message) and day_is_over else total or None,
            title=self.name,
            next_url=next_url,
        )

    def _answer(self, body: bytes) -> tuple[Mapping[str, Any], list[Any]]:
        """The message, in which the server describes its answer, and the preprints."""
        try:
            answer = json.loads(decode(body))
        except (ValueError, RecursionError):
            raise SourceError(f"{self.name}'s answer is damaged or incomplete: {describe(body)}") from None
        messages = answer.get("messages") if isinstance(answer, dict) else None
        message = messages[0] if isinstance(messages, list) and messages else None
        if not isinstance(message, dict):
            raise SourceError(f"this is no answer of {self.name}: {describe(body)}")
        status, items = str(message.get("status")), answer.get("collection")
        if status != "ok" and not self._is_empty(message):
            raise SourceError(f"{self.name} answers: {plain(status, 200)}")
        if not isinstance(items, list):
            raise SourceError(f"{self.name} answers without a list of preprints")
        return message, items

    @staticmethod
    def _is_empty(message: Mapping[str, Any]) -> bool:
        """Whether the status is `no posts found` or similar: a day without preprints."""
        return bool(re.match(r"no \w+ found", str(message.get("status")), re.IGNORECASE))

    def _entry(self, item: Mapping[str, Any]) -> Entry:
        recognised = identifiers.doi(item["doi"])
        if not recognised:
            raise Unreadable("it has no DOI")
        doi, version = recognised.identifier, _number(item.get("version")) or 1
        title, abstract = _text(item["title"]), _text(item.get("abstract") or "")
        page = f"https://www.{self._server(item)}.org/content/{quote(doi.value, safe='/.')}v{version}"
        return Entry(
            title=title,
            abstract=abstract,
            authors=tuple(item.get("authors", "").split(";")),
            categories=(item.get("category") or "",),
            identifiers=(doi, *_published(item)),
            announced_on=_day(item.get("date")),
            version=version,
            replacement=version > 1,
            withdrawn=bool(_WITHDRAWN.match(title) or _WITHDRAWN.match(abstract)),
            links={"abstract": page, "pdf": f"{page}.full.pdf"},
        )

    def _server(self, item: Mapping[str, Any]) -> str:
        server = str(item.get("server")).lower()
        return server if server in ("biorxiv", "medrxiv") else self.kind


def _name(number: int, item: Any) -> str:
    doi = item.get("doi") if isinstance(item, dict) else None
    return str(doi or f"entry {number}")


def _url(server: str, first: str, last: str, cursor: int, category: str) -> str:
    query = f"?category={quote(category.replace(' ', '_'), safe='')}" if category else ""
    return f"{API}/details/{server}/{first}/{last}/{cursor}{query}"


def _category_of(message: Mapping[str, Any]) -> str:
    """The requested category, which the answer repeats; empty for all."""
    category = str(message.get("category") or "all")
    return "" if category.lower() == "all" else category


def _published(item: Mapping[str, Any]) -> list[Identifier]:
    """The DOI of the journal's version, once there is one. bioRxiv states that the two are one paper."""
    recognised = identifiers.doi(str(item.get("published") or ""))
    return [recognised.identifier] if recognised else []


def _text(markup: str) -> str:
    markup = markup[:MAX_MARKUP]
    return strip_html(_MARK.sub("", _BREAK.sub(" ", _FIGURE.sub(" ", markup))))


def _number(value: Any) -> int | None:
    """The server writes numbers as numbers or as strings."""
    return int(value) if re.fullmatch(r"\d{1,9}", str(value)) else None


def _day(stamp: Any) -> date | None:
    try:
        return date.fromisoformat(str(stamp)[:10])
    except ValueError:
        return None


plugins = [
    Preprints("biorxiv", "bioRxiv", "neuroscience", BIORXIV),
    Preprints("medrxiv", "medRxiv", "infectious_diseases", MEDRXIV),
]
