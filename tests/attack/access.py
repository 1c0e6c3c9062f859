"""Who may use each route of the application, and the rows of one account that others try to reach."""

from collections.abc import Iterable
from enum import Enum

from fastapi.routing import APIRoute
from sqlalchemy import text
from starlette.routing import BaseRoute

from services.flow import opt_in_links, refusal_links, vote_links
from services.store.accounts import accounts, invitations, members, sessions
from services.store.db.tables import metadata
from services.store.subscriptions import atom_feeds, subscriptions
from tests.web.conftest import Site

Route = tuple[str, str]
"""The method and the path with its parameters, such as `("GET", "/papers/{name:path}")`."""


class Access(Enum):
    PUBLIC = "everybody"
    LINK = "whoever has the signed link"
    PROGRAM = "a program with its own secret"
    SIGNED_IN = "every account, for itself"
    OWNER = "the account to which the row belongs"
    OPERATOR = "operators"


ACCESS: dict[Route, Access] = {
    ("GET", "/healthz"): Access.PUBLIC,
    ("GET", "/readyz"): Access.PUBLIC,
    ("GET", "/metrics"): Access.PUBLIC,
    ("GET", "/signin"): Access.PUBLIC,
    ("POST", "/signin"): Access.PUBLIC,
    ("GET", "/signin/link"): Access.PUBLIC,
    ("GET", "/signin/oidc"): Access.PUBLIC,
    ("GET", "/signin/oidc/callback"): Access.PUBLIC,
    ("POST", "/signin/oidc/email"): Access.PUBLIC,
    ("POST", "/signin/mail"): Access.PUBLIC,
    ("GET", "/unsubscribe/{token}"): Access.LINK,
    ("POST", "/unsubscribe/{token}"): Access.LINK,
    ("GET", "/confirm/{token}"): Access.LINK,
    ("POST", "/confirm/{token}"): Access.LINK,
    ("GET", "/refuse/{token}"): Access.LINK,
    ("POST", "/refuse/{token}"): Access.LINK,
    ("GET", "/feeds/{token}"): Access.LINK,
    ("GET", "/vote/{token}"): Access.LINK,
    ("POST", "/vote/{token}/{verdict}"): Access.LINK,
    ("POST", "/bounces"): Access.PROGRAM,
    ("GET", "/subscriptions"): Access.SIGNED_IN,
    ("GET", "/subscriptions/new"): Access.SIGNED_IN,
    ("POST", "/subscriptions"): Access.SIGNED_IN,
    ("POST", "/subscriptions/new"): Access.SIGNED_IN,
    ("POST", "/subscriptions/preview"): Access.SIGNED_IN,
    ("POST", "/subscriptions/try"): Access.SIGNED_IN,
    ("GET", "/"): Access.SIGNED_IN,
    ("GET", "/matches"): Access.SIGNED_IN,
    ("POST", "/away"): Access.SIGNED_IN,
    ("POST", "/away/end"): Access.SIGNED_IN,
    ("POST", "/marks"): Access.SIGNED_IN,
    ("POST", "/marks/all"): Access.SIGNED_IN,
    ("GET", "/papers/{name:path}"): Access.SIGNED_IN,
    ("GET", "/search"): Access.SIGNED_IN,
    ("GET", "/channels"): Access.SIGNED_IN,
    ("POST", "/channels"): Access.SIGNED_IN,
    ("GET", "/silences"): Access.SIGNED_IN,
    ("POST", "/silences"): Access.SIGNED_IN,
    ("GET", "/deliveries"): Access.SIGNED_IN,
    ("GET", "/sources"): Access.SIGNED_IN,
    ("GET", "/sources/{source_id}"): Access.SIGNED_IN,
    ("GET", "/account"): Access.SIGNED_IN,
    ("POST", "/account"): Access.SIGNED_IN,
    ("GET", "/account/changes"): Access.SIGNED_IN,
    ("GET", "/account/export"): Access.SIGNED_IN,
    ("GET", "/account/deletion"): Access.SIGNED_IN,
    ("POST", "/account/deletion"): Access.SIGNED_IN,
    ("POST", "/account/deletion/undo"): Access.SIGNED_IN,
    ("POST", "/signout"): Access.SIGNED_IN,
    ("POST", "/account/people/invite"): Access.SIGNED_IN,
    ("POST", "/account/people/{member_id}/role"): Access.OWNER,
    ("POST", "/account/people/{member_id}/remove"): Access.OWNER,
    ("POST", "/account/invitations/{joining_id}/revoke"): Access.OWNER,
    ("POST", "/account/sessions/end"): Access.SIGNED_IN,
    ("POST", "/account/sessions/{session_id}/end"): Access.OWNER,
    ("POST", "/votes"): Access.SIGNED_IN,
    ("GET", "/subscriptions/{subscription_id}"): Access.OWNER,
    ("POST", "/subscriptions/{subscription_id}"): Access.OWNER,
    ("POST", "/subscriptions/{subscription_id}/pause"): Access.OWNER,
    ("POST", "/subscriptions/{subscription_id}/resume"): Access.OWNER,
    ("POST", "/subscriptions/{subscription_id}/feed"): Access.OWNER,
    ("GET", "/subscriptions/{subscription_id}/delete"): Access.OWNER,
    ("POST", "/subscriptions/{subscription_id}/delete"): Access.OWNER,
    ("POST", "/channels/{channel_id}/hours"): Access.OWNER,
    ("POST", "/channels/{channel_id}/enable"): Access.OWNER,
    ("POST", "/channels/{channel_id}/secret"): Access.OWNER,
    ("POST", "/channels/{channel_id}/subscribe-again"): Access.OWNER,
    ("POST", "/channels/{channel_id}/ask"): Access.OWNER,
    ("POST", "/channels/{channel_id}/test"): Access.OWNER,
    ("GET", "/channels/{channel_id}/remove"): Access.OWNER,
    ("POST", "/channels/{channel_id}/remove"): Access.OWNER,
    ("POST", "/silences/{silence_id}/end"): Access.OWNER,
    ("GET", "/deliveries/{delivery_id}"): Access.OWNER,
    ("POST", "/deliveries/{delivery_id}/retry"): Access.OWNER,
    ("GET", "/deliveries/{delivery_id}/message"): Access.OWNER,
    ("POST", "/sources"): Access.OPERATOR,
    ("POST", "/watch"): Access.OPERATOR,
    ("POST", "/sources/{source_id}/poll"): Access.OPERATOR,
    ("GET", "/sources/{source_id}/remove"): Access.OPERATOR,
    ("POST", "/sources/{source_id}/remove"): Access.OPERATOR,
    ("POST", "/quarantine/{paper_id}/release"): Access.OPERATOR,
    ("GET", "/members"): Access.OPERATOR,
    ("POST", "/members/invite"): Access.OPERATOR,
    ("POST", "/members/invitations/{invitation_id}/revoke"): Access.OPERATOR,
    ("POST", "/members/{account_id}/operator"): Access.OPERATOR,
    ("POST", "/members/{account_id}/sign-out"): Access.OPERATOR,
    ("POST", "/members/{account_id}/disable"): Access.OPERATOR,
    ("GET", "/members/{account_id}/delete"): Access.OPERATOR,
    ("POST", "/members/{account_id}/delete"): Access.OPERATOR,
    ("GET", "/outbox"): Access.OPERATOR,
    ("GET", "/outbox/{name}"): Access.OPERATOR,
    ("GET", "/outbox/{name}/html"): Access.OPERATOR,
    ("GET", "/templates"): Access.OPERATOR,
    ("GET", "/templates/{sample}/html"): Access.OPERATOR,
}
SIGNS_OUT = {("POST", "/signout"), ("POST", "/account/sessions/end")}
"""The routes that end the session of the request itself."""
MARK = "Zanzibar"
"""A word in all rows of Ada, which no page of another account may contain."""
VALID = {
    "name": "x",
    "query": "stolen",
    "cadence": "daily",
    "at": "09:00",
    "weekday": "tue",
    "until": "",
    "email": "eve@example.org",
    "timezone": "UTC",
    "kind": "feed",
    "location": "https://example.org/feed",
}


def every_route(routes: Iterable[BaseRoute]) -> set[Route]:
    found = {(method, route.path) for route in routes if isinstance(route, APIRoute) for method in route.methods or ()}
    for route in routes:
        inner = getattr(getattr(route, "original_router", None), "routes", None)
        found |= every_route(inner) if inner else set()
    return found


def routes_of(site: Site, *kinds: Access) -> list[Route]:
    """The routes of these kinds, by method and path; every route without a kind."""
    return sorted(route for route in every_route(site.app.routes) if not kinds or access_of(route) in kinds)


def access_of(route: Route) -> Access:
    if route not in ACCESS:
        raise AssertionError(f"{' '.join(route)} is a new route: state in ACCESS in {__file__} who may use it")
    return ACCESS[route]


def rows_of_ada(site: Site) -> dict[str, str]:
    """Rows of Ada for each parameter of a path, and their ids. Each text that she may write contains MARK."""
    channel = site.channel(site.ada, f"email:{MARK.lower()}@example.org")
    subscription = site.subscription(site.ada, channel, name=MARK, query=MARK)
    site.sql(
        "INSERT INTO delivery (account_id, channel_id, kind, idem_key, message_id, state, rendered) "
        f"VALUES ({site.ada}, {channel}, 'digest', '{MARK}', '<{MARK}@x>', 'dead', 'Subject: {MARK}')"
    )
    site.sql("INSERT INTO source (kind, location, polled) VALUES ('arxiv', 'cs.LG', true)")
    paper = site.paper("Set aside")
    site.match(site.ada, subscription, paper, f"it contains {MARK}")
    site.sql(f"INSERT INTO quarantine (paper_id, shard, error) VALUES ({paper}, 0, 'lost')")
    site.sql(f"INSERT INTO silence (account_id, until, query) VALUES ({site.ada}, now() + interval '1 day', '{MARK}')")
    with site.db.transaction() as tx:
        sessions.start(tx, site.ada)
        invitation = invitations.add(tx, f"{MARK.lower()}@invited.example", site.ada)
        joining = invitations.add(tx, f"{MARK.lower()}@joining.example", site.ada, site.ada)
        member = members.add(tx, site.ada, f"{MARK.lower()}@team.example", "member")
        account = accounts.add(tx, f"{MARK.lower()}@member.example", "UTC")
    outbox = site.settings.data_dir / "outbox"
    outbox.mkdir(parents=True, exist_ok=True)
    (outbox / "mail-1.eml").write_text(f"Subject: {MARK}\r\n\r\n{MARK}\r\n")
    ids = {"subscription_id": subscription, "channel_id": channel, "delivery_id": 1, "source_id": 1, "silence_id": 1}
    ids |= {"invitation_id": invitation, "joining_id": joining, "member_id": member, "account_id": account}
    ((ids["session_id"],),) = site.sql("SELECT max(id) FROM session")
    texts = {name: str(value) for name, value in {**ids, "paper_id": paper}.items()}
    return {**texts, "name": "mail-1.eml", "sample": "digest", "verdict": "more", "token": "1-0123456789abcdef"}


def address_of(route: Route, values: dict[str, str]) -> str:
    path = route[1]
    if path.startswith("/papers/"):
        return f"/papers/{values['paper_id']}"
    try:
        return path.format(**values)
    except KeyError as error:
        raise AssertionError(
            f"{path} has a new parameter {error}: give it a row in rows_of_ada in {__file__}"
        ) from None


def signed_tokens(site: Site, values: dict[str, str]) -> dict[str, str]:
    """The valid token of each route that is opened by a signed link, by the first part of its path."""
    secrets, channel_id = site.app.state.context.secrets, int(values["channel_id"])
    ((label,),) = site.sql(f"SELECT label FROM channel WHERE id = {channel_id}")
    with site.db.transaction() as tx:
        feed = atom_feeds.token(secrets, subscriptions.find(tx, int(values["subscription_id"]), site.ada))
    return {
        "unsubscribe": opt_in_links.unsubscribe_token(secrets, channel_id, label),
        "confirm": opt_in_links.confirm_token(secrets, channel_id, label, site.db.now()),
        "feeds": feed,
        "vote": vote_links.token(secrets, int(values["subscription_id"]), int(values["paper_id"]), site.db.now()),
        "refuse": refusal_links.token(secrets, "stranger@example.com"),
    }


_DIGEST = " UNION ALL ".join(
    f"SELECT '{table.name}', md5(string_agg(t::text, '|' ORDER BY t::text)) FROM \"{table.name}\" t"
    for table in metadata.sorted_tables
)


def state_of(site: Site) -> dict[str, str]:
    """A digest of each table. Two states are equal if no row of any table was changed between them."""
    with site.db.transaction() as tx:
        return {row[0]: row[1] for row in tx.execute(text(_DIGEST))}
