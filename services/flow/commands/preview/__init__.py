"""Preview: what a subscription, saved or not, would have matched in the last days of the archive."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from sqlalchemy import Connection

from services.domain.interests.calibration import CompiledInterest, parse_volume
from services.domain.interests.histogram import Histogram, histogram
from services.domain.interests.learning import Interest
from services.domain.subscriptions.criteria import SubscriptionCriteria, compile_subscription
from services.domain.subscriptions.draft import Draft, check
from services.domain.subscriptions.trending import SOURCE
from services.flow.commands import compile_interest
from services.flow.commands.compile_interest import Calibration
from services.flow.commands.preview import advice, samples
from services.flow.commands.preview.result import TABS, Hit, Preview, Sample, paper_json
from services.flow.commands.preview.search import Place, Searched, search
from services.ports import Embedder
from services.store.db.database import Database
from services.store.papers import archive_search, papers
from services.store.papers.found_papers import FoundPapers, Window
from services.store.subscriptions import subscriptions
from services.store.subscriptions.records import Subscription

__all__ = ["TABS", "Hit", "Preview", "Sample", "paper_json", "preview", "window_end"]

SHOWN = 10
"""Papers whose texts a preview has, unless the caller asks for more."""
STALE_AFTER = timedelta(days=7)
"""If the newest paper is older than this, the window ends on its day instead of today."""
MAX_UNINDEXED_READ = 200
"""Papers that are not in the search index yet and are read instead, if there are no more."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """The subscription that the draft changes."""

    row: Subscription
    draft: Draft

    def is_unchanged(self, draft: Draft, model: str) -> bool:
        """Whether the draft asks for the same papers, and can take the stored numbers of its interest."""
        chooses_by_digest = draft.trending or (draft.volume and not draft.has_interest)
        cadence = self.draft.cadence if chooses_by_digest else draft.cadence
        same = replace(self.draft, name=draft.name, for_whom=draft.for_whom, cadence=cadence) == draft
        return same and (not draft.has_interest or (self.row.weights is not None and self.row.model == model))


def preview(
    db: Database,
    embedder: Embedder,
    draft: Draft,
    *,
    days: int = 60,
    account_id: int | None = None,
    stored_id: int | None = None,
    shown: int = SHOWN,
    tab: str = "all",
) -> Preview:
    """Matches a draft against the archive, and reads the texts of `shown` papers of the list `tab`.

    With `account_id`, also says what it adds to that account's subscriptions; with `stored_id`, compares it with the
    subscription that it changes. Raises QueryError, ConfigError, NotFound.
    """
    draft = check(draft)
    stored = _stored(db, stored_id, account_id)
    is_unchanged = stored is not None and stored.is_unchanged(draft, embedder.name)
    if stored is not None and is_unchanged:
        compiled, calibration = _as_stored(db, embedder, stored)
    else:
        compiled, calibration = compile_interest.compile_and_calibrate(db, embedder, draft)
    subscription = compile_subscription(_criteria(draft, compiled))
    with db.transaction() as tx:
        until = window_end(tx, db.now().date())
        window = Window(first=until - timedelta(days=days - 1), last=until)
        archive = archive_search.papers_per_day(tx, window)
        ready, read_instead = _ready(tx, embedder, draft, window, sum(archive.values()))
        place = Place(tx, embedder, window, read_instead)
        found = Searched()
        if subscription is not None:
            found = search(place, subscription, draft, calibration.ranking if calibration else None)
        before = None
        if stored is not None:
            before = found.matching if is_unchanged else _matching_as_stored(place, stored)
        lists = samples.lists(place, subscription, draft, found, before, account_id, stored_id, tab)
        listed = lists.get(tab) or lists["all"]
        seen = Preview(
            draft=draft,
            days=days,
            until=until,
            archive=archive,
            ready=ready,
            hits=_hits(found.matching, until),
            samples=[
                Sample(*values)
                for values in samples.read(place, subscription, draft, listed, shown, tab if tab in lists else "all")
            ],
            counts={name: len(each.papers) for name, each in lists.items()},
            everything=found.everything,
            saved_days=None if before is None or is_unchanged else _days(before, until),
            failed=compiled.failed is not None,
            estimated=compiled.estimated,
            floor_binds=_floor_binds(draft, compiled, calibration),
            histogram=_histogram(draft, compiled, calibration, found),
            earlier=_earlier(tx, draft)
            if draft.query and not draft.has_interest and not len(found.matching)
            else (0, None),
        )
        has_upvotes = not draft.trending or len(archive_search.passing(tx, Draft(sources=(SOURCE,)), window)) > 0
        facts = advice.Facts(
            draft=draft,
            account_id=account_id,
            stored_id=stored_id,
            matching=found.matching,
            scanned=seen.scanned,
            unread=0 if seen.is_indexing else found.unread,
            unembedded=seen.scanned - ready if draft.has_interest and not seen.is_indexing else 0,
            is_indexing=seen.is_indexing,
            earlier=seen.earlier[0],
            failure=compiled.error,
            estimated=compiled.estimated,
            has_upvotes=has_upvotes,
        )
        return replace(seen, advice=tuple(advice.advise(place, facts)))


def _ready(tx: Connection, embedder: Embedder, draft: Draft, window: Window, scanned: int) -> tuple[int, Sequence[int]]:
    """How many papers of the window a search finds, and those that it reads since they are not indexed yet."""
    if draft.has_interest:
        return archive_search.count_embedded(tx, embedder.name, window), ()
    unindexed = archive_search.unindexed(tx, window)
    if len(unindexed) <= MAX_UNINDEXED_READ:
        return scanned, unindexed
    return scanned - len(unindexed), ()


def window_end(tx: Connection, today: date) -> date:
    """Today, or the day of the newest paper if that is older than `STALE_AFTER`."""
    _, newest = papers.days(tx)
    return newest if newest is not None and today - newest > STALE_AFTER else today


# ── the stored subscription ───────────────────────────────────────────────────────────────────────────────────


def _stored(db: Database, stored_id: int | None, account_id: int | None) -> _Stored | None:
    if stored_id is None:
        return None
    with db.transaction() as tx:
        row = subscriptions.find(tx, stored_id, account_id)
        return _Stored(row, subscriptions.draft_of(tx, row))


def _as_stored(db: Database, embedder: Embedder, stored: _Stored) -> tuple[CompiledInterest, Calibration | None]:
    """The interest as it is stored, which need not be learned again."""
    row = stored.row
    if row.weights is None or row.threshold is None:
        return CompiledInterest(), None
    compile_interest.load_model_facts(embedder)
    weights = np.asarray(row.weights, np.float32)
    with db.transaction() as tx:
        calibration = compile_interest.calibrate(tx, embedder, Interest(weights, row.terms), stored.draft)
    compiled = CompiledInterest(
        weights=weights.tolist(),
        terms=row.terms,
        threshold=row.threshold,
        relaxed_thresholds=list(row.relaxed_thresholds),
        model=row.model,
        estimated=row.estimated,
    )
    return compiled, calibration


def _matching_as_stored(place: Place, stored: _Stored) -> FoundPapers | None:
    """None if the interest is not compiled with the model in use."""
    if stored.row.weights is not None and stored.row.model != place.embedder.name:
        return None
    subscription = compile_subscription(stored.row)
    return None if subscription is None else search(place, subscription, stored.draft).matching


def _criteria(draft: Draft, compiled: CompiledInterest) -> SubscriptionCriteria:
    """The criteria as they would be stored."""
    return SubscriptionCriteria(
        id=0,
        query=draft.query,
        volume=draft.volume if draft.has_interest else "",
        sources=draft.sources,
        min_upvotes=draft.min_upvotes,
        weights=np.array(compiled.weights, np.float32) if compiled.weights is not None else None,
        terms=compiled.terms,
        threshold=compiled.threshold,
        relaxed_thresholds=compiled.relaxed_thresholds,
    )


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────


def _hits(matching: FoundPapers, until: date) -> list[Hit]:
    hits = [
        Hit(id, until - timedelta(days=age), score)
        for id, age, score in zip(matching.ids.tolist(), matching.ages.tolist(), matching.scores.tolist(), strict=True)
    ]
    return sorted(hits, key=lambda hit: (hit.announced_on, hit.paper_id), reverse=True)


def _days(found: FoundPapers, until: date) -> Counter[date]:
    return Counter(until - timedelta(days=age) for age in found.ages.tolist())


def _floor_binds(draft: Draft, compiled: CompiledInterest, calibration: Calibration | None) -> bool:
    if calibration is None or compiled.threshold is None or compiled.threshold > calibration.floor + 1e-9:
        return False
    if calibration.close is None or calibration.ranking is None:
        return True
    return len(calibration.close) < parse_volume(draft.volume).per_day * calibration.ranking.window.days


def _histogram(
    draft: Draft, compiled: CompiledInterest, calibration: Calibration | None, found: Searched
) -> Histogram | None:
    if calibration is None or compiled.threshold is None:
        return None
    volume = parse_volume(draft.volume)
    return histogram(found.ranked.scores, compiled.threshold, volume, calibration.threshold_of)


def _earlier(tx: Connection, draft: Draft) -> tuple[int, date | None]:
    """The papers of the whole archive that match a query, and the day of the last one."""
    first, last = papers.days(tx)
    if first is None or last is None:
        return 0, None
    everything = Window(first=first, last=last)
    unindexed = archive_search.unindexed(tx, everything)
    found = archive_search.passing(tx, draft, everything, unindexed[:MAX_UNINDEXED_READ])
    found = archive_search.confirm(tx, draft, found.at(slice(MAX_UNINDEXED_READ)))
    return len(found), last - timedelta(days=int(found.ages[0])) if len(found) else None
