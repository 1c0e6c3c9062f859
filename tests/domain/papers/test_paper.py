"""Which records are one paper, what merging keeps, and which events an appearance makes."""

from datetime import UTC, date, datetime

import pytest

from services.domain.papers.paper import (
    Entry,
    Identifier,
    Paper,
    events_of_appearance,
    family_name,
    first_paper,
    merge,
    same_by_title,
    upvote_step,
)

NOW = datetime(2026, 5, 4, tzinfo=UTC)
DAY = date(2026, 5, 4)
LONG = "Attention is all you really need"


def paper(title: str = LONG, **values: object) -> Paper:
    return first_paper(Entry(title=title, **values), 1, DAY, NOW)  # type: ignore[arg-type]


def arxiv(value: str) -> tuple[Identifier, ...]:
    return (Identifier("arxiv", value),)


def test_titles_of_different_spelling_are_the_same() -> None:
    assert same_by_title(paper("Attention Is All — You Really Need!"), Entry(title="attention is all you REALLY need"))


def test_a_short_title_alone_does_not_prove_two_papers_one() -> None:
    assert not same_by_title(paper("Deep Learning"), Entry(title="Deep Learning"))


def test_a_short_title_and_one_page_prove_two_papers_one() -> None:
    page = {"abstract": "https://example.org/1"}
    assert same_by_title(paper("Deep Learning", links=page), Entry(title="Deep Learning", links=page))
    other = {"abstract": "https://example.org/2"}
    assert not same_by_title(paper("Deep Learning", links=page), Entry(title="Deep Learning", links=other))


def test_a_short_title_and_one_abstract_prove_two_papers_one() -> None:
    abstract = (
        "Deep learning allows computational models that are composed of many processing layers to learn from raw data"
    )
    cut = Entry(title="Deep Learning", abstract=abstract[:-8])
    assert same_by_title(paper("Deep Learning", abstract=abstract), cut)


def test_the_first_author_decides_when_both_have_authors() -> None:
    known = paper("Deep Learning", authors=("Yann LeCun", "Y. Bengio"))
    assert same_by_title(known, Entry(title="Deep Learning", authors=("LeCun, Y.",)))
    assert not same_by_title(known, Entry(title="Deep Learning", authors=("J. Schmidhuber",)))


def test_different_ids_of_one_scheme_outweigh_the_title() -> None:
    assert not same_by_title(paper(identifiers=arxiv("2501.00001")), Entry(title=LONG, identifiers=arxiv("2501.00002")))


@pytest.mark.parametrize("name", ["Yann LeCun", "LeCun, Yann", "Y. Lecun", "yann lecun"])
def test_family_names(name: str) -> None:
    assert family_name(name) == "lecun"


def test_merging_with_itself_changes_nothing() -> None:
    entry = Entry(
        title=LONG,
        abstract="We do.",
        authors=("A B",),
        categories=("cs.LG",),
        identifiers=arxiv("2501.00001"),
        upvotes=3,
    )
    known = first_paper(entry, 1, DAY, NOW)
    assert merge(known, entry, DAY) == known


def test_the_longer_abstract_is_kept_in_either_order() -> None:
    short, full = Entry(title=LONG, abstract="We do"), Entry(title=LONG, abstract="We do it well.")
    assert merge(first_paper(short, 1, DAY, NOW), full, DAY).abstract == "We do it well."
    assert merge(first_paper(full, 1, DAY, NOW), short, DAY).abstract == "We do it well."


def test_a_newer_version_replaces_the_text_and_cancels_a_withdrawal() -> None:
    old = paper(abstract="A long first abstract.", withdrawn=True)
    new = merge(old, Entry(title="New title of it", abstract="Short.", version=2), DAY)
    assert (new.title, new.abstract, new.version, new.withdrawn) == ("New title of it", "Short.", 2, False)


def test_counts_only_grow_and_the_announcement_is_the_earliest() -> None:
    known = merge(paper(upvotes=9), Entry(title=LONG, upvotes=4), date(2026, 5, 1))
    assert (known.upvotes, known.announced_on) == (9, date(2026, 5, 1))


def events(
    before: Paper | None,
    after: Paper,
    announced: bool = True,
    same_source: bool = True,
    steps: frozenset[int] = frozenset(),
) -> set[str]:
    return set(events_of_appearance(before, after, announced=announced, same_source=same_source, steps=steps))


def test_an_unannounced_paper_is_new_even_after_a_silent_appearance() -> None:
    assert events(None, paper()) == {"new"}
    assert events(paper(), paper(), announced=False) == {"new"}


def test_a_new_version_is_no_event() -> None:
    assert events(paper(), paper(version=2)) == set()


def test_another_source_and_category_are_events() -> None:
    assert events(paper(), paper(categories=("cs.LG",)), same_source=False) == {"source", "category"}


@pytest.mark.parametrize(
    ("upvotes", "steps", "expected"), [(5, (), True), (4, (), False), (7, (7,), True), (8, (9,), True)]
)
def test_upvotes_cause_an_event_at_each_step(upvotes: int, steps: tuple[int, ...], expected: bool) -> None:
    assert ("upvotes" in events(paper(upvotes=1), paper(upvotes=upvotes), steps=frozenset(steps))) is expected


def test_latex_and_unicode_spellings_of_a_title_and_a_name_are_the_same() -> None:
    known = paper("Poincaré {M}aps of Erdős and Others", authors=("Frédéric Bär",))
    assert same_by_title(
        known, Entry(title=r"Poincar\'e Maps of Erd\H{o}s and others", authors=(r"Fr\'ed\'eric B\"ar",))
    )


def test_upvotes_are_counted_in_steps() -> None:
    steps = {0: 0, 4: 0, 5: 1, 9: 1, 10: 2, 25: 3, 50: 4, 99: 4, 100: 5, 5000: 5}
    assert {upvotes: upvote_step(upvotes) for upvotes in steps} == steps
