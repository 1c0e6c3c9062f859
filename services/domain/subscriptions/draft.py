"""The draft of a subscription, which is checked before it is saved or previewed."""

import unicodedata
from dataclasses import dataclass, replace

from services.domain.interests.calibration import parse_volume
from services.domain.query.parser import parse
from services.domain.subscriptions.cadence import Cadence
from services.errors import ConfigError

DEFAULT_VOLUME = "5/week"
_JOINERS = "\u200c\u200d"
_HIDDEN = ("Cf", "Cs", "Co")
MAX_NAME_CHARACTERS = 120
MAX_INTEREST_CHARACTERS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A subscription as it was entered. `liked` and `disliked` are ids of papers in the archive."""

    name: str = ""
    for_whom: str = ""
    query: str = ""
    interest: str = ""
    liked: tuple[int, ...] = ()
    disliked: tuple[int, ...] = ()
    trending: int | None = None
    volume: str = ""
    """Of an interest, or of a query alone, of which digests then take the best. Empty: everything that matches."""
    wide: bool = False
    """Whether papers below the usual floor may match, where fewer come close than the volume asks for."""
    sources: tuple[str, ...] = ()
    min_upvotes: int = 0
    cadence: str = "daily"

    @property
    def has_interest(self) -> bool:
        return bool(self.interest or self.liked)


def check(draft: Draft) -> Draft:
    """The draft in canonical form. Raises QueryError or ConfigError with a message that says what to do."""
    if not (draft.query.strip() or draft.interest.strip() or draft.liked or draft.trending):
        raise ConfigError("a subscription needs a query, an interest, a liked paper or trending", field="query")
    if draft.cadence not in list(Cadence):
        raise ConfigError(f"no cadence {draft.cadence!r}; there are: {', '.join(Cadence)}", field="cadence")
    if draft.min_upvotes < 0:
        raise ConfigError("min_upvotes must not be negative", field="min_upvotes")
    if draft.trending is not None and not 1 <= draft.trending <= 100:
        raise ConfigError("trending takes a number of papers from 1 to 100", field="trending")
    if draft.trending is not None and draft.cadence == "immediate":
        raise ConfigError(
            "trending papers are chosen when a digest is composed; take the cadence daily or weekly", field="cadence"
        )
    if len(draft.interest) > MAX_INTEREST_CHARACTERS:
        raise ConfigError(
            f"an interest has at most {MAX_INTEREST_CHARACTERS} characters; describe it in a few sentences",
            field="interest",
        )
    query = str(parse(draft.query)) if draft.query.strip() else ""
    interest = " ".join(draft.interest.split())
    name = _visible(draft.name)[:MAX_NAME_CHARACTERS] or (query or interest or "Trending papers")[:60]
    checked = replace(draft, name=name, for_whom=_visible(draft.for_whom), query=query, interest=interest)
    return replace(
        checked,
        volume=_volume(checked),
        wide=draft.wide and draft.has_interest,
        sources=tuple(sorted(set(draft.sources))),
    )


def _visible(text: str) -> str:
    """One line without characters that hide or reorder text, such as U+202E. Joiners are kept: they shape words."""
    kept = (character for character in text if character in _JOINERS or unicodedata.category(character) not in _HIDDEN)
    return " ".join("".join(kept).split())


def _volume(draft: Draft) -> str:
    if draft.has_interest:
        return str(parse_volume(draft.volume or DEFAULT_VOLUME))
    if not draft.volume:
        return ""
    if draft.trending:
        raise ConfigError("trending papers keep to their own number; leave the volume out", field="volume")
    if draft.cadence == "immediate":
        raise ConfigError(
            "the best papers of a query are chosen when a digest is made; take the cadence daily or weekly, or take "
            "everything that matches",
            field="cadence",
        )
    return str(parse_volume(draft.volume))
