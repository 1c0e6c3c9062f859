"""The list of an account: the papers that its subscriptions matched, by the day of their announcement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, Double, Select, Subquery, case, func, null, select

from services.store.db.records import fetch_all
from services.store.db.tables import match, paper, paper_mark, subscription
from services.store.subscriptions.records import ListedDay, ListedPaper


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFilter:
    """Which papers of the account are listed. Without values all that matched."""

    account_id: int
    subscription_id: int | None = None
    day: date | None = None
    starred: bool = False
    """Only papers that are kept. They stay when the subscriptions that matched them are deleted."""
    paper_id: int | None = None
    matched_before: datetime | None = None


def papers(tx: Connection, wanted: ListFilter, limit: int, offset: int = 0) -> list[ListedPaper]:
    """The newest day first. Within a day the unread papers first, then by upvotes and score."""
    listed = _listed(wanted)
    unread = paper_mark.c.read_at.is_(None)
    query = (
        _joined(wanted, listed)
        .with_only_columns(
            paper.c.id.label("paper_id"),
            paper.c.announced_on,
            (~unread).label("read"),
            paper_mark.c.starred_at.is_not(None).label("starred"),
        )
        .order_by(
            paper.c.announced_on.desc(),
            case((unread, 0), else_=1),
            paper.c.upvotes.desc(),
            listed.c.score.desc().nulls_last(),
            paper.c.id.desc(),
        )
        .limit(limit)
        .offset(offset)
    )
    return fetch_all(tx, ListedPaper, query)


def days(tx: Connection, wanted: ListFilter) -> list[ListedDay]:
    """The days of the list with the number of papers, the newest first."""
    query = (
        _joined(wanted, _listed(wanted))
        .with_only_columns(
            paper.c.announced_on,
            func.count().label("papers"),
            func.count().filter(paper_mark.c.read_at.is_(None)).label("unread"),
        )
        .group_by(paper.c.announced_on)
        .order_by(paper.c.announced_on.desc())
    )
    return fetch_all(tx, ListedDay, query)


def unread_ids(tx: Connection, wanted: ListFilter) -> Sequence[int]:
    query = _joined(wanted, _listed(wanted)).with_only_columns(paper.c.id).where(paper_mark.c.read_at.is_(None))
    return list(tx.scalars(query))


def _listed(wanted: ListFilter) -> Subquery:
    """The papers with their highest scores, each once."""
    if wanted.starred and wanted.subscription_id is None:
        kept = select(paper_mark.c.paper_id, null().cast(Double).label("score"))
        return kept.where(paper_mark.c.account_id == wanted.account_id, paper_mark.c.starred_at.is_not(None)).subquery()
    own = select(subscription.c.id).where(
        subscription.c.account_id == wanted.account_id, subscription.c.deleted_at.is_(None)
    )
    conditions: list[ColumnElement[bool]] = [match.c.subscription_id.in_(own)]
    if wanted.subscription_id is not None:
        conditions.append(match.c.subscription_id == wanted.subscription_id)
    if wanted.paper_id is not None:
        conditions.append(match.c.paper_id == wanted.paper_id)
    if wanted.matched_before is not None:
        conditions.append(match.c.created_at <= wanted.matched_before)
    matched = select(match.c.paper_id, func.max(match.c.score).label("score")).where(*conditions)
    return matched.group_by(match.c.paper_id).subquery()


def _joined(wanted: ListFilter, listed: Subquery) -> Select[tuple[int]]:
    """The listed papers with their marks; a merged paper has its matches under the current number too."""
    of_account = (paper_mark.c.paper_id == paper.c.id) & (paper_mark.c.account_id == wanted.account_id)
    query = (
        select(paper.c.id)
        .select_from(listed)
        .join(paper, paper.c.id == listed.c.paper_id)
        .outerjoin(paper_mark, of_account)
        .where(paper.c.merged_into.is_(None))
    )
    if wanted.day is not None:
        query = query.where(paper.c.announced_on == wanted.day)
    if wanted.starred:
        query = query.where(paper_mark.c.starred_at.is_not(None))
    if wanted.paper_id is not None:
        query = query.where(paper.c.id == wanted.paper_id)
    return query
