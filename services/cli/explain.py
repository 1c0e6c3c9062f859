"""`paperwire preview` and `why`: what a subscription would match, and what happened to a paper."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from services.cli import output
from services.cli.context import MAX_ID, Json, command_context
from services.cli.subscription_options import (
    Cadence,
    ForWhom,
    Interest,
    Like,
    MinUpvotes,
    Name,
    Query,
    Source,
    SubscriptionOptions,
    To,
    Trending,
    Unlike,
    Volume,
    Wide,
)

if TYPE_CHECKING:
    from services.cli.context import CommandContext

BARS = "▁▂▃▄▅▆▇█"
MAX_DAYS = 3650


def preview(
    email: Annotated[
        str | None,
        typer.Argument(
            metavar="EMAIL",
            help="Also show which papers no other subscription of this account matches.",
            show_default=False,
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS, help="The number of past days.")] = 60,
    json: Json = False,
    name: Name = None,
    for_whom: ForWhom = None,
    query: Query = None,
    interest: Interest = None,
    like: Like = None,
    unlike: Unlike = None,
    trending: Trending = None,
    source: Source = None,
    min_upvotes: MinUpvotes = None,
    volume: Volume = None,
    wide: Wide = None,
    cadence: Cadence = None,
    to: To = None,
) -> None:
    """Show what a subscription would have matched in the past, without saving it."""
    from services.flow.commands.preview import preview

    options = SubscriptionOptions(
        name=name,
        for_whom=for_whom,
        query=query,
        interest=interest,
        like=like,
        unlike=unlike,
        trending=trending,
        source=source,
        min_upvotes=min_upvotes,
        volume=volume,
        wide=wide,
        cadence=cadence,
        to=to,
    )
    with command_context() as context:
        account_id = context.account(email) if email else None
        with context.db.transaction() as tx:
            draft = options.draft(tx)
        with output.working("looking through the archive"):
            seen = preview(context.db, context.embedder, draft, days=days, account_id=account_id).as_json()
    output.as_json(seen) if json else _print_preview(seen)


def _print_preview(seen: dict[str, Any]) -> None:
    print(f"{seen['matched']} of {seen['papers_scanned']} papers in {seen['days']} days to {seen['until']}")
    ready = f"still indexing: {seen['papers_ready']} of {seen['papers_scanned']} papers ready"
    rate = ready if seen["per_week"] is None else f"{seen['per_week']} a week"
    print(rate + (f", {seen['adds']} of all new to the account" if "adds" in seen else ""))
    if seen["matched"]:
        print(chart(seen))
    for sample in seen["samples"]:
        output.say(f"• {sample['paper']['title']}")
        where = f"{sample['paper']['announced_on']}, paper {sample['paper']['id']}"
        output.say(f"{where}: {sample['why']}", label="  ")
    for warning in seen["warnings"]:
        output.say(f"warning: {warning}")


def chart(seen: dict[str, Any]) -> str:
    """One bar for each day, 30 days in a line. A day without a match is a dot."""
    counts = {date.fromisoformat(day["date"]): day["papers"] for day in seen["per_day"]}
    most = max(counts.values())
    first = date.fromisoformat(seen["until"]) - timedelta(days=seen["days"] - 1)
    days = [first + timedelta(days=number) for number in range(seen["days"])]
    bars = [BARS[(counts[day] * len(BARS) - 1) // most] if day in counts else "·" for day in days]
    lines = [f"{days[at]}  {''.join(bars[at : at + 30])}" for at in range(0, len(days), 30)]
    return "\n".join([*lines, f"a bar a day; the highest is {most}"])


def why(
    paper: Annotated[str, typer.Argument(help="Its id, arxiv:2506.01234 or doi:…", show_default=False)],
    subscription: Annotated[int, typer.Argument(min=1, max=MAX_ID, show_default=False)],
    json: Json = False,
) -> None:
    """Show each step of a paper for a subscription, and why it was or was not sent."""
    from services.flow.commands.explain import explain, in_utc

    with command_context() as context:
        when = in_utc if json else _as_pages_say(context, subscription)
        steps = explain(context.db, context.embedder, paper, subscription, when=when)
    if json:
        output.as_json([{"stage": stage, "what": what} for stage, what in steps])
        return
    width = max(len(stage) for stage, _ in steps)
    for stage, what in steps:
        output.say(what, label=stage.ljust(width + 2))


def _as_pages_say(context: "CommandContext", subscription_id: int) -> Callable[[datetime], str]:
    """`today, 14:03` in the time zone of the subscription's account."""
    from services.store.accounts import accounts
    from services.store.subscriptions import subscriptions
    from services.web import formatting

    with context.db.transaction() as tx:
        account = accounts.by_id(tx, subscriptions.find(tx, subscription_id).account_id)
    zone = ZoneInfo(account.timezone if account else "UTC")
    return partial(formatting.local, zone=zone, now=context.db.now())
