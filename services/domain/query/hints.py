"""Hints for queries that are valid but probably mean something else, as in the languages of other search engines."""

import re

_QUOTED = re.compile(r'"[^"]*"')
_AUTHOR = re.compile(
    r"(?<![\w-])-?(?P<field>author):(?P<first>[^\s()\"=]+)(?P<rest>(?:\s+[^\s()\":=|&-][^\s()\":]*)+)", re.IGNORECASE
)
_PARTICLE = re.compile(r"(?:van|von|der|den|de|la|le|di|da|al|el|bin|ibn)$")
# The second part of a name is an initial, a capitalised word or a particle. A word of a topic rarely is.
_NAME_PART = re.compile(rf"[^\W\d_]\.?$|[A-Z][.-]?[A-Z]\.?$|{_PARTICLE.pattern}|[^\W\d_a-z][\w'’.-]*[^\W\d_A-Z]$")
_OPERATOR = re.compile(r"(?<=[\w*\")])\s+(?P<word>or|and|not|Or|And|Not)\s+(?=[\w\"(=-])")
_TAG = re.compile(r"(?P<what>[\w*-]+|(?<=\"))\s*\[(?P<tag>[A-Za-z0-9][A-Za-z0-9 /]{0,30})(?::\w+)?\]")
_KEYWORDS = frozenset({"AND", "OR", "NOT"})
# https://pubmed.ncbi.nlm.nih.gov/help/#search-tags
_TAGS = {
    **dict.fromkeys(("ti", "title"), "title"),
    **dict.fromkeys(("ab", "abstract"), "abstract"),
    **dict.fromkeys(("au", "author", "fau", "1au", "lastau", "auth"), "author"),
    **dict.fromkeys(("tiab", "title/abstract", "tw", "text word", "all", "all fields", "ot"), ""),
    **dict.fromkeys(("mh", "mesh", "mesh terms", "majr", "nm", "substance name"), ""),
}
_FOREIGN_TAGS = frozenset(
    {
        "ta",
        "journal",
        "jour",
        "dp",
        "pdat",
        "date",
        "edat",
        "la",
        "lang",
        "language",
        "pt",
        "sb",
        "ad",
        "affiliation",
        "affl",
        "pmid",
        "uid",
        "doi",
        "aid",
        "gr",
        "rn",
        "vi",
        "ip",
        "pg",
    }
)


def hints(query: str) -> list[str]:
    """One sentence for each part of a query that other search engines read in another way, with the likely meaning."""
    return [*_author_hints(query), *_operator_hints(query), *_tag_hints(query)]


def _author_hints(query: str) -> list[str]:
    found = []
    for match in _AUTHOR.finditer(query):
        name = [match["first"]]
        for part in match["rest"].split():
            if part in _KEYWORDS or not _NAME_PART.match(part):
                break
            name.append(part)
        while len(name) > 1 and _PARTICLE.match(name[-1]):
            name.pop()
        if len(name) > 1:
            written, more = f"{match['field']}:{match['first']}", " ".join(name[1:])
            found.append(
                f"{written} {more} looks for the author {match['first']} and for {more} anywhere; "
                f'for the person write {match["field"]}:"{" ".join(name)}"'
            )
    return found


def _operator_hints(query: str) -> list[str]:
    meanings = {
        "or": "looks for the word too; for either of two write OR",
        "and": "looks for the word too; all words are required anyway, so leave it out or write AND",
        "not": "looks for the word too; to exclude what follows write NOT",
    }
    words = dict.fromkeys(match["word"] for match in _OPERATOR.finditer(_QUOTED.sub('""', query)))
    return [f"“{word}” in small letters {meanings[word.lower()]}" for word in words]


def _tag_hints(query: str) -> list[str]:
    blanked = _QUOTED.sub(_as_blanks, query)
    return [hint for match in _TAG.finditer(blanked) if (hint := tag_hint(match["tag"], match["what"]))]


def _as_blanks(quoted: re.Match[str]) -> str:
    return '"' + " " * (len(quoted[0]) - 2) + '"'


def tag_hint(tag: str, what: str = "") -> str:
    """The meaning of a search tag of PubMed behind a word or a phrase; empty for any other text in brackets."""
    name, text = tag.lower().strip(), what or '"…"'
    if name in _FOREIGN_TAGS:
        return f"[{tag}] is a search tag of PubMed for something that queries cannot name; leave it out: {text}"
    if name not in _TAGS:
        return ""
    field = _TAGS[name]
    return f"[{tag}] is a search tag of PubMed, which queries do not know; write {f'{field}:{text}' if field else text}"
