"""The first steps of an installation and of an account, each ticked by what was done."""

from dataclasses import dataclass

from sqlalchemy import Connection

from services import plugins
from services.errors import ConfigError
from services.flow.commands.add_source import add_source
from services.store.db.database import wake
from services.store.delivery import channels
from services.store.delivery.records import ChannelStatus
from services.store.maintenance import account_status
from services.store.sources import sources
from services.store.subscriptions import subscriptions
from services.web.csrf_forms import Form
from services.web.request_context import RequestContext

CATEGORIES = {
    "cs.AI": "Artificial intelligence",
    "cs.CL": "Language",
    "cs.CV": "Vision",
    "cs.LG": "Machine learning",
    "cs.RO": "Robotics",
    "cs.IR": "Information retrieval",
    "cs.CR": "Security",
    "cs.HC": "Human-computer interaction",
    "cs.SE": "Software engineering",
    "stat.ML": "Statistical learning",
    "math.OC": "Optimization",
    "q-bio.QM": "Quantitative biology",
    "quant-ph": "Quantum physics",
    "astro-ph.CO": "Cosmology",
}
"""arXiv categories that the first step offers. The Sources page takes all of them."""


@dataclass(frozen=True, slots=True)
class FirstSteps:
    watched: bool
    described: bool
    received: bool
    channels: list[ChannelStatus]

    @property
    def done(self) -> bool:
        return self.watched and self.described and self.received


def steps(tx: Connection, request: RequestContext) -> FirstSteps:
    return FirstSteps(
        watched=sources.any_polled(tx),
        described=bool(subscriptions.list_all(tx, request.account_id)),
        received=account_status.has_received(tx, request.account_id),
        channels=channels.all_of(tx, request.account_id),
    )


def watch(request: RequestContext, form: Form) -> None:
    """Adds the sources that were ticked. Raises ConfigError."""
    chosen = [name for name in form.all("category") if name in CATEGORIES]
    if not chosen and not form.text("daily_papers"):
        raise ConfigError("tick at least one category, or Daily Papers")
    with request.app.db.transaction() as tx:
        for name in chosen:
            plugin = plugins.source("arxiv")
            add_source(tx, plugin, plugin.location(name), None)
        if form.text("daily_papers"):
            add_source(tx, plugins.source("daily-papers"), "", None)
        wake(tx, "poll")
