"""The options of `subscribe`, which `subscription set` and `preview` take as well."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.cli.context import CommandContext
    from services.domain.subscriptions.draft import Draft


def _option(name: str, help: str, metavar: str | None = None, least: int | None = None) -> Any:
    return typer.Option(name, help=help, metavar=metavar, min=least, show_default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOptions:
    """What was asked for; None where nothing was said. An empty text, or 0, takes a wish back."""

    name: Annotated[str | None, _option("--name", "What it is called.", "N")] = None
    for_whom: Annotated[str | None, _option("--for", "Whose it is, in an account that several share.", "WHO")] = None
    query: Annotated[str | None, _option("--query", 'Keywords, like: "web agent*" AND cat:cs.*', "Q")] = None
    interest: Annotated[str | None, _option("--interest", "A few sentences on what is of interest.", "TEXT")] = None
    like: Annotated[list[str] | None, _option("--like", "A paper to like; repeatable.", "ID")] = None
    unlike: Annotated[list[str] | None, _option("--unlike", "A paper to dislike; repeatable.", "ID")] = None
    trending: Annotated[int | None, _option("--trending", "The N papers most upvoted.", "N", 0)] = None
    source: Annotated[list[str] | None, _option("--source", "Only this kind of source; repeatable.", "S")] = None
    min_upvotes: Annotated[int | None, _option("--min-upvotes", "Only papers with as many.", "N", 0)] = None
    volume: Annotated[str | None, _option("--volume", "How much an interest brings; 5/week unless given.")] = None
    cadence: Annotated[str | None, _option("--cadence", "immediate, daily (unless given) or weekly.")] = None
    to: Annotated[
        list[str] | None,
        _option(
            "--to",
            "A channel's id, email (unless given), slack:#channel or slack-webhook:URL; repeatable.",
            "CHANNEL",
        ),
    ] = None

    def draft(self, tx: "Connection", base: "Draft | None" = None) -> "Draft":
        """`base` with what was asked for, checked. Raises QueryError, ConfigError, NotFound."""
        from services import plugins
        from services.domain.subscriptions.draft import Draft, check

        for kind in filter(None, self.source or ()):
            plugins.source(kind)
        names = ("name", "for_whom", "query", "interest", "min_upvotes", "volume", "cadence")
        said: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.trending is not None:
            said["trending"] = self.trending or None
        if self.source:
            said["sources"] = tuple(filter(None, self.source))
        said |= {"liked": _papers(tx, self.like)} if self.like else {}
        said |= {"disliked": _papers(tx, self.unlike)} if self.unlike else {}
        draft = replace(base or Draft(), **said)
        return check(draft if draft.has_interest or self.volume else replace(draft, volume=""))

    def channels(self, session: "CommandContext", account_id: int, email: str) -> list[int]:
        """The channels of `--to`, added where they are new."""
        from services.flow.commands import subscribe

        settings = session.settings_with_key()
        words = [f"email:{email}" if word == "email" else word for word in filter(None, self.to or ())]
        found = dict.fromkeys(subscribe.add_channel(session.db, settings, account_id, word) for word in words)
        for channel_id in found:
            session.request_opt_in(channel_id)
        return list(found)


def _papers(tx: "Connection", names: list[str]) -> tuple[int, ...]:
    from services.store.papers import papers

    return tuple(dict.fromkeys(papers.find(tx, name) for name in names if name))


def with_subscription_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command whose last parameter is `wishes` one option for each of their fields."""
    own = [one for name, one in inspect.signature(command).parameters.items() if name != "wishes"]
    hints = get_type_hints(SubscriptionOptions, include_extras=True)
    options = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[one.name])
        for one in fields(SubscriptionOptions)
    ]

    @wraps(command)
    def with_options(**given: Any) -> None:
        wishes = SubscriptionOptions(**{one.name: given.pop(one.name) for one in fields(SubscriptionOptions)})
        command(**given, wishes=wishes)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + options
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options
