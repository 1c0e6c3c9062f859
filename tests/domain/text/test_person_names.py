from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.text.person_names import PersonName, may_be, read_name

# The name that a query asks for, and the name of a paper's author.
SAME = [
    ("LeCun", "Yann LeCun"),
    ("LeCun Yann", "Yann LeCun"),
    ("Y. LeCun", "Yann LeCun"),
    ("Yann A. LeCun", "Yann LeCun"),
    ("Jean-Pierre Serre", "J.-P. Serre"),
    ("Jurgen Muller", "Müller, Jürgen K."),
    ("Müller, J.", "Müller, Jürgen K."),
    ("J. John Smith", "James J. Smith"),
    ("Geoffrey Hinton", "G. Hinton"),
    ("Weinan E", "Weinan E"),
    ("王伟", "王伟"),
    ("王", "王伟"),
    ("Plato", "Plato"),
    ("Smith JA", "J. A. Smith"),
    ("Smith JA", "John Adam Smith"),
    ("J. A. Smith", "Smith JA"),
    ("John A. Smith", "Smith JA"),
    ("John Smith", "Smith JA"),
    ("Jean-Pierre Serre", "Jean Pierre Serre"),
    ("Jeanpierre Serre", "Jean-Pierre Serre"),
    ("Xiaoming Li", "Xiao-Ming Li"),
    ("Xiao Ming Li", "Xiaoming Li"),
    ("Ludwig van Beethoven", "van Beethoven L"),
    ("Ludwig van Beethoven", "Beethoven, Ludwig van"),
    ("Ludwig van Beethoven", "L. v. Beethoven"),
    ("Yann Le Cun", "Yann LeCun"),
    ("Gabriel García Márquez", "García Márquez, Gabriel"),
    ("G. García Márquez", "García Márquez G"),
    ("Vincent Poor", "H. Vincent Poor"),
    ("H. Vincent Poor", "Vincent Poor"),
    ("Michael Jordan", "Jordan, Michael I."),
    ("Michael I. Jordan", "Michael Jordan"),
    ("Michael I. Jordan", "M. I. Jordan"),
    ("Michael Jordan", "Jordan M"),
    ("Michael Jordan", "Jordan MI"),
    ("Geoffrey E. Hinton", "Geoffrey Hinton"),
    ("Smith, John, Jr.", "John Smith Jr."),
    ("John Smith Jr.", "J. Smith"),
    ("O'Neill, J.", "James O'Neill"),
    ("Anna-Maria Schmidt", "A.-M. Schmidt"),
    ("Anna-Maria Schmidt", "Schmidt AM"),
    ("José Luis Borges", "J. L. Borges"),
    ("Jan de Vries", "J. de Vries"),
    ("de Vries, Jan", "Jan De Vries"),
    ("Vries J de", "Jan de Vries"),
    ("ATLAS Collaboration", "The ATLAS Collaboration"),
    ("ATLAS", "ATLAS Collaboration"),
    ("Nguyen Van Anh", "Nguyen Van Anh"),
    ("E Weinan", "Weinan E"),
    ("Smith-Jones A", "Alice Smith Jones"),
    ("LI Wei", "Wei Li"),
    ("Wei LI", "Wei Li"),
    ("Oriol Vinyals", "Vinyals, Oriol"),
    ("W. Li", "Wei Li"),
    ("Le, Quoc V.", "Quoc V. Le"),
    ("Quoc Le", "Quoc V. Le"),
    ("J Smith", "John Smith"),
    ("Smith, JA", "J. A. Smith"),
    ("Smith J. A.", "John Adam Smith"),
    ("Hinton G E", "Geoffrey E. Hinton"),
    ("lecun y", "Yann LeCun"),
    ("Michael Jordan", "M. Jordan"),
    ("Jean‐Pierre Serre", "J.-P. Serre"),
    ("Serre，Jean-Pierre", "Jean-Pierre Serre"),
    ("Event-Horizon", "Event Horizon Telescope Collaboration"),
    ("Thomas Müller", "Müller T"),
]
OTHERS = [
    ("Adam LeCun", "Yann LeCun"),
    ("Yann LeCun Smith", "Yann LeCun"),
    ("A. LeCun", "Yann LeCun"),
    ("Jürgen F. Müller", "Müller, Jürgen K."),
    ("Yann Serre", "Yann LeCun"),
    ("P. Plato", "Plato"),
    ("Geoffrey H.", "Geoffrey Hinton"),
    ("lecu", "Yann LeCun"),
    ("李", "王伟"),
    ("Michael Irwin Jordan", "Michael Bruce Jordan"),
    ("Michael I. Jordan", "Michael B. Jordan"),
    ("Wei Li", "Wei Liu"),
    ("Wei Li", "Weiming Li"),
    ("John Smith", "Smith RA"),
    ("John Smith", "Robert John Smith"),
    ("Smith JA", "J. B. Smith"),
    ("Smith JA", "Robert A. Smith"),
    ("Michael Jordan", "Jordan Peterson"),
    ("Jordan", "Michael Jordan Smith"),
    ("Xiao Li", "Xiaoming Li"),
    ("Wei Wang", "Wei-Wei Wang"),
    ("Li Wei", "Kevin L. Wei"),
    ("Michael Jordan", "Michael J. Schwarz"),
    ("David Bau", "David B. Sanders"),
    ("Jennifer Smith", "Robert J. Smith"),
    ("Wei Li", "Li-Wei Chen"),
    ("Wei Li", "Kevin L. Wei"),
    ("Anna Smith", "Noah A. Smith"),
    ("Smith J. A.", "Robert A. Smith"),
    ("CERN Collaboration", "Ada Cern"),
]
NAMES = sorted({name for pair in (*SAME, *OTHERS) for name in pair})
WORDS = st.sampled_from(
    ["van", "de", "Li", "Wei", "J.", "JA", "A.-M.", "Xiao", "Xiaoming", "Ming", ",", "Jr.", "王伟", "Team", "E"]
)


@pytest.mark.parametrize(("asked", "name"), SAME)
def test_names_that_may_be_one_persons(asked: str, name: str) -> None:
    assert may_be(read_name(asked), read_name(name))


@pytest.mark.parametrize(("asked", "name"), OTHERS)
def test_names_that_are_two_persons(asked: str, name: str) -> None:
    assert not may_be(read_name(asked), read_name(name))


def agrees_with_keys(asked: PersonName, name: PersonName) -> bool:
    """Whether the keys find the name wherever the name may be the person, and only then if the keys decide alone."""
    has_key = not asked.query_keys.isdisjoint(name.keys)
    return has_key is may_be(asked, name) if asked.is_found_by_keys_alone else has_key or not may_be(asked, name)


def test_every_name_is_found_by_its_keys() -> None:
    names = [read_name(name) for name in NAMES]
    assert [pair for pair in product(names, names) if not agrees_with_keys(*pair)] == []


@given(st.lists(WORDS, max_size=14), st.lists(WORDS, max_size=14))
def test_any_words_are_a_name_that_is_found_by_its_keys(asked: list[str], name: list[str]) -> None:
    assert agrees_with_keys(read_name(" ".join(asked)), read_name(" ".join(name)))


@pytest.mark.parametrize("text", ["", ",", "-", "de la van", "Jr.", "van", "J. K.", "a " * 40, "w" * 200])
def test_odd_texts_are_names_too(text: str) -> None:
    name = read_name(text)
    assert may_be(name, name) is bool(name.words)
