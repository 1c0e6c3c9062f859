"""Locations of the source arXiv: `cs.LG`, `cs.LG+stat.ML`, or `query:` with a query of the API.

https://arxiv.org/category_taxonomy, https://info.arxiv.org/help/api/user-manual.html#query_details
"""

import re

from services.domain.text.markup import plain
from services.errors import SourceError

QUERY = "query:"
MAX_QUERY = 1_000

# The archives of the group `physics`; every other archive is a group of its own.
_OF_PHYSICS = "astro-ph|cond-mat|gr-qc|hep-ex|hep-lat|hep-ph|hep-th|math-ph|nlin|nucl-ex|nucl-th|physics|quant-ph"
_CATEGORY = re.compile(
    rf"({_OF_PHYSICS}|cs|econ|eess|math|q-bio|q-fin|stat)(?:\.([a-z]{{2}}|[a-z]+-[a-z]+|optics|other|soft))?",
    re.IGNORECASE,
)
_UNDIVIDED = re.compile(r"gr-qc|hep-\w+|math-ph|nucl-\w+|quant-ph")
# A bracket, an operator, or a term such as `ti:"graph networks"`. Dates are added by `api.request`.
_TOKEN = re.compile(r"""\s*([()]|(?:(?:ti|au|abs|co|jr|cat|rn|id|all):)?(?:"[^"&]+"|[^\s"()&:\[\]]+))""")
_OPERATORS = ("AND", "OR", "ANDNOT")


def canonical(text: str) -> str:
    """The canonical form of a location. Raises SourceError with a hint."""
    text = text.strip()
    if text[: len(QUERY)].lower() == QUERY:
        return QUERY + " ".join(_checked(text[len(QUERY) :]))
    names = [name for name in re.split(r"[+,\s]+", text) if name]
    if not names:
        raise SourceError("which arXiv category? Name one such as cs.LG, or several as in cs.LG+stat.ML")
    return "+".join(sorted({_category(name) for name in names}))


def is_category(text: str) -> bool:
    return bool(_CATEGORY.fullmatch(text))


def oai_set(category: str) -> str:
    """The OAI set of a category: `cs:cs:LG`, `math:math:AG`, `physics:hep-th`, `physics:astro-ph:GA`."""
    archive = category.partition(".")[0]
    group = "physics" if re.fullmatch(_OF_PHYSICS, archive) else archive
    return f"{group}:{category.replace('.', ':')}"


def search_query(location: str) -> str:
    """A location as the API's query."""
    if location.startswith(QUERY):
        return location.removeprefix(QUERY)
    terms = [
        f"cat:{name}" if "." in name or _UNDIVIDED.fullmatch(name) else f"cat:{name}.*" for name in location.split("+")
    ]
    return " OR ".join(terms)


def _category(name: str) -> str:
    match = _CATEGORY.fullmatch(name)
    if not match:
        raise SourceError(f"arXiv has no category {plain(name, 40)!r}: use one such as cs.LG, hep-th or physics.optics")
    archive, subject = match[1].lower(), match[2]
    if not subject:
        return archive
    return f"{archive}.{subject.lower() if archive in ('cond-mat', 'physics') else subject.upper()}"


def _checked(query: str) -> list[str]:
    """The words of a query, in which operators and terms alternate and every bracket is closed."""
    if len(query) > MAX_QUERY:
        raise SourceError(f"a query for arXiv has at most {MAX_QUERY:,} characters")
    words, depth, after_term = [], 0, False
    for word in _words(query):
        opens, operator = word == "(", word.upper() in _OPERATORS
        if (opens or not (operator or word == ")")) == after_term:
            wanted = "AND, OR or ANDNOT" if after_term else "a term such as ti:transformer"
            raise SourceError(f"the query for arXiv needs {wanted} before {plain(word, 40)!r}")
        depth += (word == "(") - (word == ")")
        if depth < 0:
            raise SourceError("the query for arXiv closes a bracket that it never opened")
        after_term = not (opens or operator)
        words.append(word.upper() if operator else word)
    if depth or not after_term:
        raise SourceError("the query for arXiv ends too early: a bracket is open or a term is missing")
    return words


def _words(query: str) -> list[str]:
    words, position = [], 0
    while query[position:].strip():
        token = _TOKEN.match(query, position)
        if not token:
            hint = 'use terms such as ti:transformer, au:lecun, cat:cs.LG or all:"graph network" with AND, OR, ANDNOT'
            raise SourceError(f"arXiv's API cannot read {plain(query[position:], 40)!r}: {hint}")
        words.append(token[1])
        position = token.end()
    return words
