"""Rate limits of requests to a host: requests with one key wait for each other."""

from datetime import timedelta
from urllib.parse import urlsplit

# One request in three seconds over RSS, OAI and API together: https://info.arxiv.org/help/api/tou.html
_ARXIV = ("arxiv", timedelta(seconds=3))
_PAUSE = timedelta(seconds=1)


def of_url(url: str) -> tuple[str, timedelta]:
    """The key of the rate limit of `url`, and the pause between two requests with it."""
    host = urlsplit(url).hostname or ""
    if host == "arxiv.org" or host.endswith(".arxiv.org"):
        return _ARXIV
    return host, _PAUSE
