"""The signed links in digests with which a reader votes on a paper, without signing in."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from services.domain.papers.paper import Paper
from services.errors import NotFound
from services.store.db.secrets import SecretBox
from services.store.papers import papers
from services.store.subscriptions import subscriptions
from services.store.subscriptions.records import SubscriptionWithEmail

LIFETIME = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a link allows to vote on, and for which subscription."""

    subscription: SubscriptionWithEmail
    paper: Paper


def token(secrets: SecretBox, subscription_id: int, paper_id: int, sent_at: datetime) -> str:
    seconds = int(sent_at.timestamp())
    signature = secrets.sign("vote", subscription_id, paper_id, seconds)
    return f"{subscription_id}-{paper_id}-{seconds}-{signature}"


def by_token(tx: Connection, secrets: SecretBox, text: str, now: datetime) -> Ballot:
    """Raises NotFound for a forged or expired link, and for a subscription that was deleted."""
    *numbers, signature = [*text.split("-"), "", "", "", ""][:4]
    if not all(number.isascii() and number.isdigit() and len(number) < 19 for number in numbers):
        raise NotFound("this link is not valid here")
    subscription_id, paper_id, seconds = map(int, numbers)
    if not secrets.verify(signature, "vote", subscription_id, paper_id, seconds):
        raise NotFound("this link is not valid here")
    if datetime.fromtimestamp(seconds, UTC) < now - LIFETIME:
        raise NotFound("this link is more than 30 days old; vote on the page of the paper instead")
    paper = papers.load(tx, [paper_id]).get(paper_id)
    if paper is None:
        raise NotFound("this paper is not in the archive any more")
    return Ballot(subscriptions.find(tx, subscription_id), paper)
