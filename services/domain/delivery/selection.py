"""Which papers are sent on a channel and why, decided from matches, silences and the papers as they are now."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.domain.delivery.merged_items import merged_with
from services.domain.digests.digest import Reason
from services.domain.interests.terms import Terms
from services.domain.papers.paper import Paper
from services.domain.query.evaluate import PaperText
from services.domain.query.parser import Query, parse
from services.domain.subscriptions.silence import Silence, covering_silence
from services.errors import QueryError

WITHDRAWN = "the paper was withdrawn"
NOT_WANTED = "no subscription asks for it any more"


@dataclass(frozen=True, slots=True)
class ChannelPaper:
    """A paper to be sent on a channel of an account."""

    account_id: int
    channel_id: int
    paper_id: int


@dataclass(frozen=True, slots=True)
class ChannelMatch:
    """A match of a paper with a subscription that sends to the channel."""

    channel_id: int
    paper_id: int
    subscription_id: int
    name: str
    for_whom: str
    query: str
    interest: str
    terms: Terms
    threshold: float | None
    score: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What there is to send of papers on channels. The keys are (channel id, paper id)."""

    papers: Mapping[int, Paper]
    reasons: Mapping[tuple[int, int], Sequence[Reason]]
    silenced_by: Mapping[tuple[int, int], str]
    """The silence that covers a match of the paper, as text."""

    def drop_reason(self, channel_id: int, paper_id: int) -> str:
        """Why the paper is not sent on the channel; empty when it is."""
        paper = self.papers[paper_id]
        if paper.id != paper_id:
            return merged_with(paper.id)
        if paper.withdrawn:
            return WITHDRAWN
        key = channel_id, paper_id
        return "" if self.reasons.get(key) else self.silenced_by.get(key, NOT_WANTED)

    def with_reasons(self, channel_id: int, paper_ids: Iterable[int]) -> dict[int, tuple[Paper, Sequence[Reason]]]:
        """The papers, each with its reasons on the channel, which may be none."""
        return {key: (self.papers[key], self.reasons.get((channel_id, key), ())) for key in paper_ids}


def select(
    wanted: Collection[ChannelPaper],
    papers: Mapping[int, Paper],
    matches: Sequence[ChannelMatch],
    silences: Mapping[int, Sequence[Silence]],
    sentence_scores: Mapping[tuple[int, int], Sequence[float]],
) -> Selection:
    """Decides what there is to send.

    `papers` by id (of a replaced paper, the paper it was merged into), `silences` by account, `sentence_scores` by
    (subscription, paper).
    """
    accounts = {paper.channel_id: paper.account_id for paper in wanted}
    reasons = defaultdict[tuple[int, int], list[Reason]](list)
    silenced_by: dict[tuple[int, int], str] = {}
    for match in matches:
        key = match.channel_id, match.paper_id
        active = silences.get(accounts[match.channel_id], ())
        covering = (
            covering_silence(active, match.subscription_id, PaperText.of(papers[match.paper_id])) if active else None
        )
        if covering is None:
            scores = sentence_scores.get((match.subscription_id, match.paper_id), ())
            reasons[key].append(reason_of(match, scores))
        else:
            silenced_by[key] = str(covering)
    return Selection(papers, reasons, silenced_by)


def reason_of(match: ChannelMatch, sentence_scores: Sequence[float]) -> Reason:
    """Why the match puts the paper into a message or a list."""
    return Reason(
        subscription=match.subscription_id,
        name=match.name,
        for_whom=match.for_whom,
        why=match.why,
        score=match.score,
        threshold=match.threshold,
        query=_compiled(match.query),
        interest=match.interest,
        terms=match.terms if match.score is not None else {},
        closeness=sentence_scores,
    )


@lru_cache(4096)
def _compiled(query: str) -> Query | None:
    try:
        return parse(query) if query else None
    except QueryError:  # The query was valid when it was saved. The paper is sent, without highlighted words.
        return None
