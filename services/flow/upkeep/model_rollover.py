"""Which embedder serves: the one that the settings name, as soon as the archive is embedded with it."""

from services import plugins
from services.errors import ConfigError
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.interests import embedder_health, embedding_models
from services.telemetry import log


def serving(db: Database, settings: Settings) -> Embedder:
    """The embedder that people's interests, previews and questions are answered with now."""
    wanted = plugins.embedder(settings.embedder)
    with db.transaction() as tx:
        before = embedding_models.before(tx, wanted.name)
    return (_made(before) if before is not None else None) or wanted


def used(db: Database, settings: Settings) -> list[Embedder]:
    """Every embedder that papers need vectors of: the serving one first, the wanted one, those interests stand on."""
    first = serving(db, settings)
    with db.transaction() as tx:
        others = [_made(setting) for setting in embedding_models.subscriptions_using(tx)]
    found = [first, plugins.embedder(settings.embedder), *(one for one in others if one is not None)]
    return list({one.name: one for one in found}.values())


def want(db: Database, settings: Settings) -> None:
    """Notes which embedder the settings name, when a worker starts."""
    now, embedder = db.now(), plugins.embedder(settings.embedder)
    with db.transaction() as tx:
        embedding_models.request(tx, embedder.name, settings.embedder, now)


def said(db: Database, settings: Settings) -> list[str]:
    """What people should know: that interests wait, and how far a change of the model is."""
    now, wanted = serving(db, settings), plugins.embedder(settings.embedder)
    with db.transaction() as tx:
        down, moving = embedder_health.failing(tx, now.name), embedding_models.progress(tx, wanted.name)
        stuck = embedder_health.failing(tx, wanted.name) if moving else None
    lines = [embedder_health.reason(down)] if down else []
    if moving:
        done, there = moving
        lines.append(
            f"The archive is embedded anew with {wanted.name}: {done:,} of {there:,} papers. {now.name} serves."
        )
    if stuck and wanted.name != now.name:
        lines.append(f"{wanted.name} gives no vectors at the moment: {stuck['down_because']}.")
    return lines


def take_over(db: Database, settings: Settings) -> bool:
    """Lets the wanted embedder serve once everything is embedded with it; then interests move to it one by one."""
    now, wanted = db.now(), plugins.embedder(settings.embedder)
    with db.transaction() as tx:
        over = embedding_models.make_ready(tx, wanted.name, now)
    if over:
        log.info("the archive is embedded, interests move to the new model", model=wanted.name)
    return over


def _made(setting: str) -> Embedder | None:
    """None where an earlier embedder cannot be made any more: its interests wait for the new one."""
    try:
        return plugins.embedder(setting)
    except ConfigError as error:
        log.warning("the embedder used before cannot go on", why=str(error))
        return None
