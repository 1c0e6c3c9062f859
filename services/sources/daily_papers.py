"""Hugging Face's Daily Papers: the JSON API, and the page saved or copied as text.

https://huggingface.co/papers, https://huggingface.co/api/daily_papers
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from services.domain.papers import identifiers
from services.domain.papers.entries import Unreadable, collect
from services.domain.papers.paper import Entry, Identifier, Listing
from services.domain.sources import rate_limits
from services.domain.sources.polling import Timetable
from services.domain.text.markup import HEAD, decode, describe
from services.errors import SourceError
from services.ports import Request

SITE = "https://huggingface.co"
MAX_LIST = 100
"""Papers of one answer."""
MAX_TITLE = 400
"""Characters of a title on the page; a longer paragraph can only be an abstract."""

_DATE = r"(?:(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* (?P<day>\d{1,2})(?:, (?P<year>\d{4}))?)"
_PAGE_DATE = re.compile(_DATE)
_META = re.compile(rf"• ?(?P<authors>\d[\d,]{{0,8}}) authors?(?: ?·)?(?: ?{_DATE}(?: (?P<comments>\d{{1,6}}))?)?(?!\S)")
_AUTHORS_LINE = re.compile(r"^[ \t\xa0]*•[ \t\xa0]*\d[\d,]* authors?", re.MULTILINE)
_HEAD_LINE = re.compile(r"new|Get trending papers.*|Subscribe|Daily Papers|by ?AK and the research community", re.I)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class DailyPapers:
    kind = "daily-papers"
    summary = "Hugging Face's Daily Papers"
    example = ""
    formats: tuple[str, ...] = ("daily-papers-page", "daily-papers-json")
    rank = 20
    every: timedelta | None = timedelta(minutes=15)
    timetable = Timetable(grows=True, states_days=True)

    def location(self, text: str) -> str:
        if text.strip():
            raise SourceError("daily-papers is one list and takes no location: leave it out")
        return ""

    def rate_limit(self, location: str) -> tuple[str, timedelta]:
        return rate_limits.of_url(SITE)

    def request(self, location: str, now: datetime) -> Request:
        return self.request_day(location, now.astimezone(UTC).date())

    def request_day(self, location: str, day: date) -> Request:
        return Request(url=f"{SITE}/api/daily_papers?date={day}&limit={MAX_LIST}")

    def publishes(self, identifier: Identifier) -> bool:
        return False

    def recognise(self, body: bytes) -> str | None:
        head = decode(body[:HEAD]).lstrip()
        if head[:1] == "[":
            inside = head[1:].lstrip()
            # Two old kinds of archives contain each entry as a string: the repr of a Python dict.
            known = re.match(r"""(?:\{\s*"paper"|"\{'paper'|'\{)""", inside) or inside.rstrip() == "]"
            return "daily-papers-json" if known or re.search(r'"paper"\s*:\s*\{', head) else None
        if head[:1] in ("<", "{"):
            return None
        titled = any(line.strip() == "Daily Papers" for line in head.splitlines()[:20])
        return "daily-papers-page" if titled or _AUTHORS_LINE.search(decode(body[: 16 * HEAD])) else None

    def parse(self, body: bytes, *, day: date) -> Listing:
        form = self.recognise(body)
        if form == "daily-papers-json":
            return _list(body, day)
        if form == "daily-papers-page":
            return _page(decode(body), day)
        raise SourceError(f"this is neither the Daily Papers page nor its API's answer: {describe(body)}")


plugin = DailyPapers()


# ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────


def _list(body: bytes, day: date) -> Listing:
    try:
        items = json.loads(decode(body))
    except (ValueError, RecursionError):
        raise SourceError("the Daily Papers list is damaged or incomplete JSON") from None
    if not isinstance(items, list):
        raise SourceError("the Daily Papers list is no list")
    records = [_record(item) for item in items]
    announced = _announced(records, day)
    entries, skipped = collect(records, _entry, _name)
    return Listing(
        format="daily-papers-json", entries=entries, skipped=skipped, announced_on=announced, title="Daily Papers"
    )


def _record(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    try:
        return ast.literal_eval(item)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {"paper": _salvage(item)}


def _salvage(text: str) -> dict[str, Any]:
    """The fields of a paper that can be read in a broken repr of a dict."""
    fields: dict[str, Any] = {}
    for name, literal in re.findall(r"""'(id|title|summary)': ('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", text):
        fields.setdefault(name, ast.literal_eval(literal))
    return fields


def _announced(records: list[Any], day: date) -> date | None:
    """The day of the list, which is that of its latest submission, since some are submitted on the evening before.

    The time of submission is in `submittedOnDailyAt`, and until March 2025 it was in `publishedAt`.
    """
    days: list[date] = []
    for record in records:
        paper = record.get("paper") if isinstance(record, Mapping) else None
        if isinstance(paper, Mapping):
            stamp = _day(paper.get("submittedOnDailyAt")) or _day(record.get("publishedAt"))
            days += [stamp] if stamp and stamp <= day else []
    return max(days, default=None)


def _name(number: int, record: Any) -> str:
    paper = record.get("paper") if isinstance(record, Mapping) else None
    name = paper.get("id") or paper.get("title") if isinstance(paper, Mapping) else None
    return str(name) if name else f"entry {number}"


def _entry(record: Any) -> Entry:
    paper = record["paper"]
    recognised = identifiers.arxiv(paper["id"])
    if not recognised:
        raise Unreadable("its id is no arXiv id")
    identifier = recognised.identifier
    links = {**identifiers.links(identifier), "listing": f"{SITE}/papers/{identifier.value}"}
    links |= {name: paper[key] for name, key in (("code", "githubRepo"), ("project", "projectPage")) if paper.get(key)}
    return Entry(
        title=paper["title"],
        abstract=paper.get("summary") or record.get("summary") or "",
        authors=tuple(author["name"] for author in paper.get("authors") or () if not author.get("hidden")),
        identifiers=(identifier,),
        # Before March 2025 only the list has a day, and its papers have none.
        announced_on=_day(paper.get("submittedOnDailyAt")),
        published_on=_day(paper.get("publishedAt")),
        upvotes=_count(paper.get("upvotes")),
        comments=_count(record.get("numComments")),
        withdrawn=bool(paper.get("withdrawnAt")),
        links=links,
    )


def _day(stamp: Any) -> date | None:
    """The UTC day of an ISO 8601 time."""
    try:
        moment = datetime.fromisoformat(stamp)
        return moment.astimezone(UTC).date() if moment.tzinfo else moment.date()
    except (TypeError, ValueError, OverflowError):
        return None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 31 else None


# ── the page as text ──────────────────────────────────────────────────────────────────────────────────────────


class _Block(NamedTuple):
    """A paper's paragraphs on the page."""

    title: str
    abstract: str
    meta: re.Match[str] | None
    """The line of authors, date and comments, if it has one."""


def _page(text: str, day: date) -> Listing:
    paragraphs = _paragraphs(text)
    announced, start = _page_day(paragraphs, day)
    entries, skipped = collect(
        _blocks(paragraphs[start:]),
        lambda block: _paper(block, announced, announced or day),
        lambda number, block: block.title or f"entry {number}",
    )
    if not entries:
        raise SourceError("the Daily Papers page holds no papers: save the whole page as text")
    return Listing(
        format="daily-papers-page", entries=entries, skipped=skipped, announced_on=announced, title="Daily Papers"
    )


def _paragraphs(text: str) -> list[str]:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    lines = [line.strip() for line in text.split("\n")]
    # Some programs save the page without its blank lines.
    joined = "\n".join(lines) if "" in lines[1:-1] else "\n\n".join(lines)
    joined = re.sub(r"\n+·\n+", " · ", re.sub(r"\n(?=• ?\d)", "\n\n", joined))
    return [" ".join(part.split()) for part in joined.split("\n\n") if part.strip()]


def _page_day(paragraphs: list[str], day: date) -> tuple[date | None, int]:
    """The page's own date, and the number of the paragraph with which its papers begin."""
    first_meta = next((number for number, text in enumerate(paragraphs) if _META.match(text)), len(paragraphs))
    for number, text in enumerate(paragraphs[:first_meta]):
        if match := _PAGE_DATE.fullmatch(text):
            return _date(match, day), number + 1
    heads = [number for number, text in enumerate(paragraphs[:first_meta]) if _HEAD_LINE.fullmatch(text)]
    return None, heads[-1] + 1 if heads else 0


def _blocks(paragraphs: list[str]) -> Iterator[_Block]:
    title = abstract = ""
    for text in paragraphs:
        if meta := _META.match(text):
            yield _Block(title, abstract, meta)
            title = abstract = ""
        elif not title:
            title = text
        elif not abstract:
            abstract = text
        elif len(text) <= MAX_TITLE:
            yield _Block(title, abstract, None)
            title, abstract = text, ""
        elif len(abstract) <= MAX_TITLE and not abstract.endswith("."):
            # The supposed abstract is the title of the next paper; the paper before has no abstract.
            yield _Block(title, "", None)
            title, abstract = abstract, text
        else:
            abstract = f"{abstract} {text}"
    if title:
        yield _Block(title, abstract, None)


def _paper(block: _Block, announced: date | None, until: date) -> Entry:
    if not block.abstract and not block.meta:
        raise Unreadable("neither an abstract nor authors stand below it")
    meta = block.meta.groupdict() if block.meta else {}
    return Entry(
        title=block.title,
        abstract=block.abstract,
        author_count=int(meta["authors"].replace(",", "")) if block.meta else None,
        announced_on=announced,
        published_on=_date(block.meta, until) if block.meta and meta["month"] else None,
        comments=int(meta["comments"]) if meta.get("comments") else None,
    )


def _date(match: re.Match[str], until: date) -> date | None:
    """The date of a match of `_DATE`. Without a year it is the latest such day that is not after `until`."""
    month, day_of_month = _MONTHS.index(match["month"]) + 1, int(match["day"])
    for year in [int(match["year"])] if match["year"] else [until.year, until.year - 1]:
        try:
            day = date(year, month, day_of_month)
        except ValueError:
            continue
        if match["year"] or timedelta(0) <= until - day <= timedelta(days=366):
            return day
    return None
