"""Discovery of plugins: a plugin is one module that defines `plugin`. No list of plugins has to be edited."""

import importlib
import pkgutil
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from services.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.domain.delivery.state_machine import Policy
    from services.ports import Embedder, Notifier, Source


def _modules(package: str) -> dict[str, Any]:
    path = importlib.import_module(package).__path__
    names = sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))
    return {name: importlib.import_module(f"{package}.{name}") for name in names}


@cache
def sources() -> "dict[str, Source]":
    """Every source by its kind, in the order of `rank`. A module may define several sources as `plugins`."""
    plugins: list[Source] = []
    for module in _modules("services.sources").values():
        plugins += getattr(module, "plugins", None) or [module.plugin]
    return {source.kind: source for source in sorted(plugins, key=lambda source: source.rank)}


@cache
def notifiers() -> "dict[str, Notifier]":
    return {module.plugin.kind: module.plugin for module in _modules("services.notifiers").values()}


@cache
def embedder(setting: str) -> "Embedder":
    """The embedder of a setting such as `minilm` or `kind:argument`; one per process, since models are large."""
    kind, _, argument = setting.partition(":")
    modules = _modules("services.embedders")
    if kind not in modules:
        raise ConfigError(f"PAPERWIRE_EMBEDDER: no embedder {kind!r}; there are: {', '.join(modules)}")
    plugin: Embedder = modules[kind].plugin(argument)
    return plugin


def follow_ups(kind: str, public_fields: "Mapping[str, Any]") -> frozenset[str]:
    """Which deliveries may follow a message on a channel of this kind; see `ports.Updatable`."""
    from services.ports import Updatable

    plugin = notifier(kind)
    return plugin.follow_ups(public_fields) if isinstance(plugin, Updatable) else frozenset()


def policy(kind: str, public_fields: "Mapping[str, Any]", delivery_kind: str, *, at_most_once: bool) -> "Policy":
    """How deliveries on a channel of this kind treat failures. `at_most_once` is the wish of the channel's owner."""
    return replace(notifier(kind).policy(public_fields, delivery_kind), at_most_once=at_most_once)


def source(kind: str) -> "Source":
    if kind not in sources():
        raise ConfigError(f"no source kind {kind!r}; there are: {', '.join(sources())}")
    return sources()[kind]


def notifier(kind: str) -> "Notifier":
    if kind not in notifiers():
        raise ConfigError(f"no channel kind {kind!r}; there are: {', '.join(notifiers())}")
    return notifiers()[kind]
