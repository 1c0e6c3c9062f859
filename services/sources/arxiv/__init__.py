"""arXiv: the present announcement by RSS, queries by the API, past announcements by OAI-PMH, and saved answers of each.

Open `location.py` first; `calendar.py` has the days, and `feeds.py`, `api.py` and `oai.py` read one format each.
"""

import re
from datetime import date, datetime, timedelta
from xml.etree import ElementTree

from services.domain.papers.paper import Identifier, Listing
from services.domain.sources import rate_limits
from services.domain.sources.batches import today
from services.domain.text.markup import HEAD, decode, describe, root, xml
from services.errors import SourceError
from services.ports import Request
from services.sources.arxiv import api, calendar, feeds, oai
from services.sources.arxiv.location import QUERY, canonical

_API = re.compile(r"<title[^>]*>\s*arxiv (?:query:|search results)", re.IGNORECASE)
_OAI = re.compile(r"arxiv\.org", re.IGNORECASE)
_RSS = re.compile(
    r"<title[^>]*>\s*(?:[^<]* updates on arXiv\.org|Feed error for query)|<(?:id|link)>\s*https?://rss\.arxiv\.org/",
    re.IGNORECASE,
)
_READERS = {"arxiv-api": api.parse, "arxiv-oai": oai.parse, "arxiv-rss": feeds.parse}


class Arxiv:
    kind = "arxiv"
    summary = "arXiv's daily announcement of one category or several, or what a query of its API finds in it"
    example = "cs.LG+stat.ML"
    formats: tuple[str, ...] = tuple(_READERS)
    rank = 10
    every: timedelta | None = timedelta(minutes=30)
    timetable = calendar.TIMETABLE

    def location(self, text: str) -> str:
        return canonical(text)

    def rate_limit(self, location: str) -> tuple[str, timedelta]:
        return rate_limits.of_url(feeds.url(""))

    def request(self, location: str, now: datetime) -> Request:
        if location.startswith(QUERY):
            return api.request(location, today(self.timetable, now))
        return Request(url=feeds.url(location))

    def request_day(self, location: str, day: date) -> Request:
        """By OAI, which has announcements of single categories; otherwise by the API and times of submission."""
        if location.startswith(QUERY) or "+" in location:
            return api.request(location, day)
        return oai.request(location, day)

    def publishes(self, identifier: Identifier) -> bool:
        return identifier.scheme == "arxiv"

    def recognise(self, body: bytes) -> str | None:
        name, text = root(body), decode(body[:HEAD])
        if name == "oai-pmh":
            return "arxiv-oai" if _OAI.search(text) else None
        if name not in ("feed", "rss", "rdf"):
            return None
        head = re.split(r"<(?:entry|item)\b", text, maxsplit=1)[0]
        if _API.search(head):
            return "arxiv-api"
        return "arxiv-rss" if _RSS.search(head) else None

    def parse(self, body: bytes, *, day: date) -> Listing:
        form = self.recognise(body)
        if not form:
            raise SourceError(f"this is no feed of arXiv: {describe(body)}")
        try:
            document = ElementTree.fromstring(xml(body))
        except ElementTree.ParseError as error:
            raise SourceError(f"arXiv's answer is damaged or incomplete: {error}") from None
        return _READERS[form](document)


plugin = Arxiv()
