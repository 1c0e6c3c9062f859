"""The form of a subscription: its fields as they were typed, and the draft that they describe."""

import re
from calendar import day_name
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from services import plugins
from services.domain.delivery.schedule import DEFAULT_TIME
from services.domain.interests.calibration import DAYS_PER_PERIOD
from services.domain.subscriptions.cadence import Cadence
from services.domain.subscriptions.draft import DEFAULT_VOLUME, Draft
from services.errors import ConfigError, NotFound, PaperwireError, QueryError
from services.flow import email_address
from services.flow.commands import channels as channel_commands
from services.settings import settings
from services.store.accounts.records import Account
from services.store.delivery import channels
from services.store.delivery.records import ChannelStatus
from services.store.papers import papers
from services.store.subscriptions import subscriptions
from services.store.subscriptions.records import Subscription
from services.web.context import AppContext
from services.web.csrf_forms import Form

OWN_EMAIL = "email"
"""The value of the account's own address in the form, until a channel with the address exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """All values are text, so that the page can show invalid input again as it was typed."""

    name: str = ""
    for_whom: str = ""
    query: str = ""
    interest: str = ""
    liked: str = ""
    disliked: str = ""
    volume_count: str = DEFAULT_VOLUME.partition("/")[0]
    volume_per: str = DEFAULT_VOLUME.partition("/")[2]
    limit: str = "all"
    """`best`: digests take the best papers of a query alone, as many as the volume says."""
    wide: bool = False
    cadence: str = "daily"
    min_upvotes: str = ""
    sources: Sequence[str] = ()
    channels: Sequence[str] = (OWN_EMAIL,)
    trending: str = ""
    cadences: Sequence[str] = field(default=tuple(Cadence))
    periods: Sequence[str] = field(default=tuple(DAYS_PER_PERIOD))

    @property
    def asks_nothing(self) -> bool:
        return not (self.query or self.interest or self.liked or self.trending)


def from_form(form: Form) -> Fields:
    return Fields(
        name=form.text("name"),
        for_whom=form.text("for_whom"),
        query=form.text("query"),
        interest=form.text("interest"),
        liked=form.text("liked"),
        disliked=form.text("disliked"),
        volume_count=form.text("volume_count"),
        volume_per=form.text("volume_per"),
        limit="best" if form.text("limit") == "best" else "all",
        wide=form.text("wide") == "on",
        cadence=form.text("cadence", "daily"),
        min_upvotes=form.text("min_upvotes"),
        trending=form.text("trending"),
        sources=form.all("sources"),
        channels=form.all("channels"),
    )


def from_subscription(tx: Connection, row: Subscription) -> Fields:
    """The fields of a stored subscription."""
    liked, disliked = subscriptions.examples_of(tx, row.id)
    channels = subscriptions.channels_of(tx, [row.id]).get(row.id, [])
    count, _, per = (row.volume or row.best or DEFAULT_VOLUME).partition("/")
    return Fields(
        name=row.name,
        for_whom=row.for_whom,
        query=row.query,
        interest=row.interest,
        cadence=row.cadence,
        trending=str(row.trending or ""),
        liked=", ".join(map(str, liked)),
        disliked=", ".join(map(str, disliked)),
        volume_count=count,
        volume_per=per,
        limit="best" if row.best else "all",
        wide=row.wide,
        min_upvotes=str(row.min_upvotes or ""),
        sources=row.sources,
        channels=[str(channel.id) for channel in channels],
    )


def draft(tx: Connection, fields: Fields) -> Draft:
    """The draft that the fields describe. Raises ConfigError that names the invalid field."""
    liked, disliked = _examples(tx, fields)
    has_volume = bool(fields.interest or liked or (fields.limit == "best" and fields.query))
    try:
        for kind in fields.sources:
            plugins.source(kind)
    except ConfigError as error:
        raise ConfigError(str(error), field="sources") from None
    return Draft(
        name=fields.name,
        for_whom=fields.for_whom[:120],
        query=fields.query,
        interest=fields.interest,
        liked=liked,
        disliked=disliked,
        trending=_number("trending", fields.trending) or None,
        volume=f"{fields.volume_count}/{fields.volume_per}" if has_volume else "",
        wide=fields.wide,
        sources=tuple(fields.sources),
        min_upvotes=_number("min_upvotes", fields.min_upvotes),
        cadence=fields.cadence,
    )


def prefilled(text: str, limit: int) -> str:
    """The text of a field that a link fills in, on one line."""
    return " ".join(text.replace("\0", "").encode("utf-8", "replace").decode()[: 4 * limit].split())[:limit]


def field_of(error: PaperwireError | None) -> str:
    """The field that an error is about; empty if it is about the form as a whole."""
    if isinstance(error, QueryError):
        return "query"
    return error.field if isinstance(error, ConfigError) else ""


def _number(field: str, text: str) -> int:
    """A whole number; 0 for an empty field. Raises ConfigError."""
    if not (text.isascii() and (text or "0").isdigit() and len(text) <= 6):
        raise ConfigError(f"{field.replace('min_', '')}: {text[:40]!r} is not a whole number", field=field)
    return int(text or 0)


def channel_ids(app: AppContext, account: Account, fields: Fields) -> list[int]:
    """The channels that were ticked. Adds the account's own address as a channel if it was ticked and is none yet."""
    ids = []
    for word in dict.fromkeys(fields.channels):
        if word == OWN_EMAIL:
            ids.append(channel_commands.own_email_channel(app.db, app.settings, account.id, account.email))
        elif word.isascii() and word.isdigit() and len(word) < 19:
            ids.append(int(word))
        else:
            raise NotFound(f"no channel {word[:40]!r}")
    return list(dict.fromkeys(ids))


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """A channel in the form. `state` says why nothing is sent there; empty when something is."""

    value: str
    kind: str
    label: str
    state: str = ""


def channel_choices(tx: Connection, account: Account) -> list[ChannelChoice]:
    """Every channel that a subscription of the account can use, its own address first."""
    own = email_address.own_channel_id(tx, account.id, account.email)
    choices = [
        ChannelChoice(str(channel.id), channel.kind, channel.label, _state(channel))
        for channel in channels.all_of(tx, account.id)
    ]
    first = [choice for choice in choices if choice.value == str(own)] or [
        ChannelChoice(OWN_EMAIL if own is None else str(own), "email", account.email)
    ]
    return [*first, *(choice for choice in choices if choice not in first)]


def _state(channel: ChannelStatus) -> str:
    if channel.unsubscribed_at:
        return "unsubscribed"
    if channel.disabled_because:
        return "disabled"
    if channel.down_because:
        return "waiting"
    return "" if channel.verified else "not confirmed"


def digest_hours(tx: Connection, account: Account) -> tuple[str, str]:
    """The hour and the weekday of digests on the account's first channel, or those of a new channel."""
    own = channels.all_of(tx, account.id)
    return (f"{own[0].at:%H:%M}", day_name[own[0].weekday]) if own else (DEFAULT_TIME, day_name[0])


def find_paper(tx: Connection, name: str) -> int:
    """The paper of a number, arXiv id or DOI. Raises NotFound."""
    _check_name(name)
    return papers.find(tx, name)


def _check_name(name: str) -> None:
    scheme, colon, _ = name.partition(":")
    if not name.isascii() or not name.isprintable() or (colon and scheme == "id"):
        raise NotFound(f"no paper {name[:60]!r} in the archive; use its number here, its link, arXiv id or DOI")


def with_example(tx: Connection, fields: Fields, paper_id: int, liked: bool | None) -> Fields:
    """The fields with a paper as a liked or disliked example; None makes it none. Raises ConfigError."""
    ids = _look_up(tx, [*_names(fields.liked), *_names(fields.disliked)])
    kept = {
        field: [name for name in _names(text) if ids[name] != paper_id]
        for field, text in (("liked", fields.liked), ("disliked", fields.disliked))
    }
    if liked is not None:
        kept["liked" if liked else "disliked"].append(str(paper_id))
    return replace(fields, liked=", ".join(kept["liked"]), disliked=", ".join(kept["disliked"]))


def _examples(tx: Connection, fields: Fields) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The liked and the disliked papers, looked up together. Raises ConfigError."""
    liked, disliked = _names(fields.liked), _names(fields.disliked)
    ids = _look_up(tx, [*liked, *disliked])
    return _ids(ids, liked), _ids(ids, disliked)


def _look_up(tx: Connection, names: Sequence[str]) -> dict[str, int]:
    """The papers by their names in the form. Raises ConfigError."""
    names = list(dict.fromkeys(names))
    most = settings().max_examples
    if len(names) > most:
        raise ConfigError(f"a subscription takes {most} papers as examples, not {len(names)}", field="liked")
    try:
        for name in names:
            _check_name(name)
        return papers.find_all(tx, names)
    except NotFound as error:  # Shown in the form. NotFound would end in the page for a wrong address.
        raise ConfigError(str(error), field="liked") from None


def _names(text: str) -> list[str]:
    # arXiv's own form of a citation contains a space and the primary category: `arXiv:2401.00001v1 [cs.CL]`.
    text = re.sub(r"(?<=arxiv:)\s+|\s*\[[\w.-]{2,20}\]", "", text, flags=re.IGNORECASE)
    return [name for name in re.split(r"[\s,;]+", text) if name]


def _ids(ids: dict[str, int], names: list[str]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(ids[name] for name in names))
