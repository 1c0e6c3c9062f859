"""Change of the embedding model: the model that the settings name serves as soon as the archive is embedded with it."""

from services import plugins
from services.domain.interests import embedder_status
from services.errors import ConfigError
from services.ports import Embedder
from services.settings import Settings
from services.store.db.database import Database
from services.store.interests import embedder_health, embedding_models
from services.telemetry import log


def serving_embedder(db: Database, settings: Settings) -> Embedder:
    """The embedder that compiles interests and answers previews now."""
    wanted = plugins.embedder(settings.embedder)
    with db.transaction() as tx:
        previous = embedding_models.serving_instead(tx, wanted.name)
    return (_make(previous) if previous is not None else None) or wanted


def embedders_in_use(db: Database, settings: Settings) -> list[Embedder]:
    """Every embedder in use: the serving one, the wanted one, and those with which interests are compiled."""
    serving = serving_embedder(db, settings)
    with db.transaction() as tx:
        of_interests = [_make(setting) for setting in embedding_models.settings_in_use(tx)]
    embedders = [serving, plugins.embedder(settings.embedder), *filter(None, of_interests)]
    return list({embedder.name: embedder for embedder in embedders}.values())


def request_wanted_model(db: Database, settings: Settings) -> None:
    """Records the embedder that the settings name, when a worker starts."""
    now, embedder = db.now(), plugins.embedder(settings.embedder)
    with db.transaction() as tx:
        embedding_models.request(tx, embedder.name, settings.embedder, now)


def status_lines(db: Database, settings: Settings) -> list[str]:
    """Lines for people: that interests wait for the embedder, and the progress of a change of model."""
    serving, wanted = serving_embedder(db, settings), plugins.embedder(settings.embedder)
    with db.transaction() as tx:
        failure = embedder_health.failure(tx, serving.name)
        progress = embedding_models.progress(tx, wanted.name)
        wanted_failure = embedder_health.failure(tx, wanted.name) if progress else None
    lines = [embedder_status.describe_failure(failure.reason)] if failure else []
    if progress:
        lines.append(embedder_status.describe_rollover(wanted.name, serving.name, progress.embedded, progress.papers))
    if wanted_failure and wanted.name != serving.name:
        lines.append(embedder_status.describe_stuck_rollover(wanted.name, wanted_failure.reason))
    return lines


def take_over(db: Database, settings: Settings) -> bool:
    """Lets the wanted embedder serve once the archive is embedded with it; interests follow one by one."""
    now, wanted = db.now(), plugins.embedder(settings.embedder)
    with db.transaction() as tx:
        starts_to_serve = embedding_models.make_ready(tx, wanted.name, now)
    if starts_to_serve:
        log.info("the archive is embedded, interests move to the new model", model=wanted.name)
    return starts_to_serve


def _make(setting: str) -> Embedder | None:
    """None if a previous embedder cannot be made any more: its interests wait for the new one."""
    try:
        return plugins.embedder(setting)
    except ConfigError as error:
        log.warning("the previous embedder cannot be used any more", why=str(error))
        return None
