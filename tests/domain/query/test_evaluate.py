from datetime import UTC, date, datetime

import pytest

from services.domain.papers.paper import Paper
from services.domain.query.evaluate import Evidence, PaperText, describe, evidence, explain_failure, matches
from services.domain.query.paper_text import FieldText
from services.domain.query.parser import Near, parse
from tests.support.cpu_time import cpu_seconds

TITLE = "Text-to-Image Diffusion Models for Schrödinger's Cats"
ABSTRACT = (
    "We train large language\nmodels (LLMs) with RAG and C++; the A* search and a graph of neural networks help.\n"
    "A graph network (U-Net, β-VAE) beats GPT-4o. 深度学习 too. No survey."
)


def paper(title: str = TITLE, abstract: str = ABSTRACT) -> PaperText:
    return PaperText.of(
        Paper(
            id=1,
            title=title,
            abstract=abstract,
            authors=(
                "Yann LeCun",
                "J.-P. Serre",
                "Müller, Jürgen K.",
                "Weinan E",
                "王伟",
                "Plato",
                "G. Hinton",
                "James J. Smith",
            ),
            categories=("cs.LG", "hep-th", "cancer_biology"),
            sources=("arxiv", "daily-papers"),
            announced_on=date(2025, 5, 1),
            first_seen_at=datetime(2025, 5, 1, tzinfo=UTC),
        )
    )


def holds(query: str, text: PaperText | None = None) -> bool:
    return matches(parse(query), text or paper())


@pytest.mark.parametrize(
    "query",
    [
        "diffusion",
        "MODEL",
        "schrodinger",
        "llm",
        "rag",
        "text-to-image",
        '"text to image"',
        '"Text/to image diffusion"',
        '"large language model"',
        '"large language mod*"',
        '"lang* models"',
        "diffus*",
        "schröd*",
        "=RAG",
        "=C++",
        "c++",
        "=A*",
        "=U-Net",
        "=GPT-4o",
        "=Schrödinger's",
        "beta-vae",
        "深度",
        "学习",
        '"graph network"',
        '"network graph"~1',
        '"graph networks"~3',
        '"search neural help"~7',
        "title:diffusion",
        "abstract:rag",
        "title:(diffusion -rag)",
        "title:(rag OR cats)",
        "-title:rag rag",
        "diffusion language",
        "nothing OR cats",
        "nothing rag OR cats",
        "cats -dogs",
        "cats -(dogs rag)",
        "author:lecun",
        'author:"LeCun Yann"',
        'author:"Y. LeCun"',
        'author:"Yann A. LeCun"',
        'author:"Jean-Pierre Serre"',
        'author:"Jurgen Muller"',
        'author:"Müller, J."',
        'author:"J. John Smith"',
        'author:"Geoffrey Hinton"',
        'author:"Weinan E"',
        "author:王伟",
        "author:(hinton OR serre)",
        "cat:cs.LG",
        "cat:CS.lg",
        "cat:cs",
        "cat:cs.*",
        "cat:hep*",
        'cat:"Cancer Biology"',
        "source:arxiv",
        'source:"Daily Papers"',
        "-(-cats OR -rag)",
    ],
)
def test_a_query_matches(query: str) -> None:
    assert holds(query)
    assert explain_failure(parse(query), paper()) == ""


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("dogs", '"dogs" not in the title or abstract'),
        ('"image to text"', '"image to text" not in the title or abstract'),
        ('"cats we"', '"cats we" not in the title or abstract'),
        ('"language large model"', '"language large model" not in the title or abstract'),
        ('"large models"', '"large models" not in the title or abstract'),
        ("modeller*", '"modeller*" not in the title or abstract'),
        ("=rag", "=rag not in the title or abstract"),
        ("=C", "=C not in the title or abstract"),
        ("=GPT-4", "=GPT-4 not in the title or abstract"),
        ("=Schrodinger", "=Schrodinger not in the title or abstract"),
        ("=LLM", "=LLM not in the title or abstract"),
        ('"search help"~6', '"search help"~6 not in the title or abstract'),
        ('"cats train"~3', '"cats train"~3 not in the title or abstract'),
        ("title:rag", '"rag" not in the title'),
        ("abstract:cats", '"cats" not in the abstract'),
        ("cats dogs", '"dogs" not in the title or abstract'),
        ("cats -survey", 'excluded by -survey: "survey" in the abstract'),
        ("cats -(rag diffusion)", 'excluded by -(rag diffusion): "rag" in the abstract; "diffusion" in the title'),
        ("cats -(-dogs OR -mice)", "excluded by -(-dogs OR -mice)"),
        (
            "dogs OR title:rag",
            'none of the alternatives: "dogs" not in the title or abstract; "rag" not in the title',
        ),
        ('author:"Adam LeCun"', 'not author "Adam LeCun"'),
        ('author:"Yann LeCun Smith"', 'not author "Yann LeCun Smith"'),
        ('author:"A. LeCun"', 'not author "A. LeCun"'),
        ('author:"Jürgen F. Müller"', 'not author "Jürgen F. Müller"'),
        ('author:"Yann Serre"', 'not author "Yann Serre"'),
        ('author:"P. Plato"', 'not author "P. Plato"'),
        ('author:"Geoffrey H."', 'not author "Geoffrey H."'),
        ("author:lecu", "not author lecu"),
        ("author:王", ""),
        ("author:李", "not author 李"),
        ("cat:cs.CL", "not category cs.CL"),
        ("cat:c", "not category c"),
        ("cat:math.*", "not category math.*"),
        ("cat:hep", "not category hep"),
        ("source:rss", "not source rss"),
    ],
)
def test_a_query_that_does_not_match_says_which_clause_decides(query: str, why: str) -> None:
    assert explain_failure(parse(query), paper()) == why
    assert holds(query) is (why == "")


@pytest.mark.parametrize(
    ("within", "text", "holds_there"),
    [(1, "a b", True), (1, "b a", True), (1, "a x b", False), (2, "a x b", True), (3, "a x x x b x a", True)],
)
def test_near_counts_the_words_from_first_to_last(within: int, text: str, holds_there: bool) -> None:
    assert holds(f'"a b"~{within}', paper("", text)) is holds_there


def test_near_names_each_place_once() -> None:
    spans = list(FieldText("abstract", "a b a b").spans(Near("a b", 3)))
    assert spans == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_no_phrase_spans_title_and_abstract() -> None:
    assert not holds('"cats we"~5')


def test_evidence_names_fields_and_places() -> None:
    text = paper()
    found = evidence(parse("diffus* (nothing OR rag) -dogs cat:cs.* author:lecun"), text)
    assert found == (
        Evidence('"diffus*"', "title", ((14, 23),)),
        Evidence('"rag"', "abstract", ((43, 46),)),
        Evidence("cs.*", "cat", value="cs.LG"),
        Evidence("lecun", "author", value="Yann LeCun"),
    )
    assert (TITLE[14:23], ABSTRACT[43:46]) == ("Diffusion", "RAG")
    assert describe(found) == '"diffus*" in the title; "rag" in the abstract; category cs.LG; author Yann LeCun'


def test_evidence_marks_every_place() -> None:
    def marked(query: str, text: str) -> list[str]:
        return [text[start:end] for e in evidence(parse(query), paper("", text)) for start, end in e.spans]

    assert marked("model*", "Models, modelling") == ["Models", "modelling"]
    assert marked('"large model"', "large\nmodels and a large-model") == ["large\nmodels", "large-model"]
    assert marked('"a b"~2', "a b x x x b x a") == ["a", "b", "b", "a"]
    assert marked('"a b"~3', "a b a b") == ["a", "b", "a", "b"]
    assert marked("=.NET", "net .NET") == [".NET"]
    assert marked("½", "1 2 and ½") == ["1 2", "½"]


def test_one_clause_in_both_fields_is_one_reason() -> None:
    text = paper("Image models", "of images")
    assert describe(evidence(parse("image image"), text)) == '"image" in the title and abstract'
    assert describe(evidence(parse("title:image"), text)) == '"image" in the title'
    assert describe(()) == ""


def test_long_reasons_are_cut() -> None:
    words = [f"w{n}" for n in range(9)]
    found = evidence(parse(" ".join(words)), paper("", " ".join(words)))
    assert describe(found).endswith('"w5" in the abstract; and 3 more')


def test_a_query_that_fails_has_no_evidence() -> None:
    assert evidence(parse("cats dogs"), paper()) == ()


def test_evidence_of_a_doubly_negated_part_is_what_holds_in_it() -> None:
    assert describe(evidence(parse("-(-cats OR -rag)"), paper())) == '"cats" in the title; "rag" in the abstract'


def test_a_paper_without_abstract_has_a_title_only() -> None:
    assert holds("cats", paper(abstract=""))
    assert not holds("abstract:cats OR rag", paper(abstract=""))


@pytest.mark.parametrize("query", ['"the they"~100', '"the they the they"', "the*", "=they"])
def test_a_huge_text_takes_linear_time(query: str) -> None:
    text = paper("", "the they " * 12_500)
    found: list[Evidence] = []
    assert cpu_seconds(lambda: found.extend(evidence(parse(query), text))) < 1
    assert found


def test_words_are_found_whatever_latex_they_are_written_in() -> None:
    text = paper(title=r"On Poincar\'e {B}alls", abstract=r"\emph{Schr\"odinger} bridges with $\alpha$-stable noise.")
    for query in ("poincare", '"Poincaré balls"', '"Schrödinger bridges"', '"alpha stable"', "α"):
        assert holds(query, text), query


@pytest.mark.parametrize(
    ("latex", "found", "missed"),
    [
        ("Capture of CO$_2$ by MgO", ["CO2", "=CO2", '"CO 2"', '"capture of CO2 by"', "CO₂"], ["2by"]),
        ("H$_{2}$O, CH$_4$ and MoS$_2$", ["H2O", "CH4", "MoS2", "=MoS2", '"H 2 O"'], ["42"]),
        ("PM$_{2.5}$ exposure", ["PM2.5", "=PM2.5", '"PM 2.5 "', '"PM2.5 exposure"'], []),
        ("H$\\alpha$ of $10^{-3}$ and $10^3$", ["Hα", '"H alpha"', "alpha", '"10 3"'], ["103", "=103", '"alpha of"']),
        ("$L_1$ at T$_{\\rm eff}$", ["L1", '"L 1"', "Teff", '"T eff"'], []),
        ("\\nicefrac{1}{2} \\textcolor{red}{fast}", ["fast", '"1 2 fast"'], ["12", "redfast", "red"]),
    ],
)
def test_formulas_are_found_as_they_are_shown_and_as_they_are_typed(
    latex: str, found: list[str], missed: list[str]
) -> None:
    for text in (paper(title=latex), paper(abstract=latex)):
        assert [query for query in found if not holds(query, text)] == []
        assert [query for query in missed if holds(query, text)] == []


def test_words_far_apart_stay_far_apart_whatever_their_forms() -> None:
    text = paper(abstract="CO$_2$ " + "x " * 30 + "methane")
    assert holds('"CO2 methane"~40', text)
    assert not holds('"CO2 methane"~20', text)


def test_a_reason_names_each_place_of_a_formula_once() -> None:
    text = paper(title="CO$_2$")
    assert describe(evidence(parse('"CO 2" OR CO2'), text)) == '"CO 2" in the title; "CO2" in the title'


def test_authors_are_found_whatever_latex_they_are_written_in() -> None:
    known = Paper(
        id=1,
        title="Tea",
        authors=(r"Fr\'ed\'eric B\"ar",),
        announced_on=date(2025, 5, 1),
        first_seen_at=datetime.now(UTC),
    )
    assert holds('author:"Frédéric Bär"', PaperText.of(known))
