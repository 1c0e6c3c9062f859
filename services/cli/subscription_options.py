"""The options of `subscribe`, which `subscription set` and `preview` take as well."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import secret_argument

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.cli.context import CommandContext
    from services.domain.subscriptions.draft import Draft


def _option(name: str, help: str, metavar: str | None = None, least: int | None = None) -> Any:
    return typer.Option(name, help=help, metavar=metavar, min=least, show_default=False)


Name = Annotated[str | None, _option("--name", "The name of the subscription.", "N")]
ForWhom = Annotated[str | None, _option("--for", "The person it is for, in a shared account.", "WHO")]
Query = Annotated[str | None, _option("--query", 'Keywords, like: "web agent*" AND cat:cs.*', "Q")]
Interest = Annotated[str | None, _option("--interest", "A few sentences that describe the interest.", "TEXT")]
Like = Annotated[list[str] | None, _option("--like", "A paper that fits the interest; repeatable.", "ID")]
Unlike = Annotated[list[str] | None, _option("--unlike", "A paper that does not fit the interest; repeatable.", "ID")]
Trending = Annotated[int | None, _option("--trending", "The N papers with the most upvotes.", "N", 0)]
Source = Annotated[list[str] | None, _option("--source", "Only papers of this kind of source; repeatable.", "S")]
MinUpvotes = Annotated[int | None, _option("--min-upvotes", "Only papers with at least N upvotes.", "N", 0)]
Volume = Annotated[
    str | None, _option("--volume", "The papers of an interest (default 5/week), or the best of a query, like 1/day.")
]
Wide = Annotated[
    bool | None,
    typer.Option(
        "--wide/--not-wide",
        help="For an interest: also send papers that are less close, where fewer come close than the volume.",
        show_default=False,
    ),
]
Cadence = Annotated[str | None, _option("--cadence", "When to send: immediate, daily (default) or weekly.")]
To = Annotated[
    list[str] | None,
    _option(
        "--to",
        "A channel: its id, email (default), slack:#channel or slack-webhook:URL (-, @FILE, env:NAME to read it).",
        "CHANNEL",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOptions:
    """The given options; None for each that is not given. An empty text or 0 removes a criterion."""

    name: str | None = None
    for_whom: str | None = None
    query: str | None = None
    interest: str | None = None
    like: list[str] | None = None
    unlike: list[str] | None = None
    trending: int | None = None
    source: list[str] | None = None
    min_upvotes: int | None = None
    volume: str | None = None
    wide: bool | None = None
    cadence: str | None = None
    to: list[str] | None = None

    def draft(self, tx: "Connection", base: "Draft | None" = None) -> "Draft":
        """`base` with the given options, checked. Raises QueryError, ConfigError, NotFound."""
        from services import plugins
        from services.domain.subscriptions.draft import Draft, check

        for kind in filter(None, self.source or ()):
            plugins.source(kind)
        names = ("name", "for_whom", "query", "interest", "min_upvotes", "volume", "wide", "cadence")
        given: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.trending is not None:
            given["trending"] = self.trending or None
        if self.source:
            given["sources"] = tuple(filter(None, self.source))
        given |= {"liked": _papers(tx, self.like)} if self.like else {}
        given |= {"disliked": _papers(tx, self.unlike)} if self.unlike else {}
        draft = replace(base or Draft(), **given)
        # The volume of an interest says nothing about a query alone.
        keeps_volume = self.volume is not None or draft.has_interest or (base is not None and not base.has_interest)
        return check(draft if keeps_volume else replace(draft, volume=""))

    def channels(self, session: "CommandContext", account_id: int, email: str) -> list[int]:
        """The channels of `--to`, added where they are new."""
        from services.flow.commands import channels

        settings = session.settings_with_key()
        words = [_channel_word(word, email) for word in filter(None, self.to or ())]
        channel_ids = dict.fromkeys(
            channels.find_or_add(session.db, settings, account_id, word, by_operator=True) for word in words
        )
        for channel_id in channel_ids:
            session.request_opt_in(channel_id)
        return list(channel_ids)


def _papers(tx: "Connection", names: list[str]) -> tuple[int, ...]:
    from services.store.papers import papers

    return tuple(dict.fromkeys(papers.find(tx, name) for name in names if name))


def _channel_word(word: str, email: str) -> str:
    """A word of `--to` in full: `email` is the account's own address, and a target may be read from elsewhere."""
    kind, colon, target = word.partition(":")
    if colon:
        return f"{kind}:{secret_argument.resolve(target)}"
    return f"email:{email}" if word == "email" else word
