"""Messages to look at: one of each kind, with papers of arXiv (its metadata is CC0) and reasons a person could have."""

from dataclasses import replace
from datetime import UTC, date, datetime

from services.domain.digests.digest import (
    Digest,
    Reason,
    compose,
    confirmation,
    invitation,
    notice,
    signin_link,
    signup_link,
    source_line,
    test_message,
)
from services.domain.papers.paper import Identifier, Paper
from services.domain.query.parser import parse

BASE_URL = "https://papers.example.org"
DAY = date(2025, 5, 27)


def messages() -> dict[str, Digest]:
    """Name → message, in the order in which they are shown."""
    papers = {paper.id: (paper, reasons) for paper, reasons in zip(_PAPERS, _REASONS, strict=True)}
    read = (source_line("arXiv cs.LG", 131, 2), source_line("arXiv cs.CL", 104, 2))
    first = {1: papers[1]}
    return {
        "digest": compose("digest", papers, DAY, BASE_URL, read),
        "message": compose("message", first, DAY, BASE_URL, read[:1]),
        "long": compose("digest", _many(), DAY, BASE_URL, read),
        "quiet": notice("“Whales” has brought nothing for 14 days", BASE_URL, _QUIET),
        "notice": notice("The source feed https://example.org/feed has failed since 26 May 08:00 UTC: 503", BASE_URL),
        "test": test_message(BASE_URL),
        "confirm": confirmation(),
        "sign-in": signin_link(),
        "sign-up": signup_link(),
        "invitation": invitation(),
        "team": invitation("lab@example.org"),
    }


def _many() -> dict[int, tuple[Paper, tuple[Reason, ...]]]:
    """More papers than paper message holds."""
    copies = (_PAPERS[number % 4] for number in range(42))
    numbered = (replace(paper, id=number) for number, paper in enumerate(copies, start=1))
    return {paper.id: (paper, _REASONS[(paper.id - 1) % 4]) for paper in numbered}


def _paper(
    arxiv: str,
    title: str,
    authors: tuple[str, ...],
    author_count: int,
    categories: tuple[str, ...],
    upvotes: int,
    abstract: str,
) -> Paper:
    links = {"abstract": f"https://arxiv.org/abs/{arxiv}", "pdf": f"https://arxiv.org/pdf/{arxiv}"}
    links |= {"code": f"https://github.com/example/{arxiv}"} if upvotes > 50 else {}
    return Paper(
        id=0,
        title=title,
        abstract=abstract,
        authors=authors,
        author_count=author_count,
        categories=categories,
        identifiers=(Identifier("arxiv", arxiv),),
        announced_on=date(2025, 5, 26),
        first_seen_at=datetime(2025, 5, 27, 5, tzinfo=UTC),
        upvotes=upvotes,
        links=links,
    )


_QUIET = (
    "The query matched none of the 1204 papers of the last 60 days.",
    "whales alone fits 3 of them.",
    '"graph network" alone fits 41 of them.',
)
_DIFFUSION = Reason(
    subscription=1, name="Diffusion models", why='"diffusion" in the title and abstract', query=parse("diffusion")
)
_RAG = Reason(
    subscription=2,
    name="Retrieval",
    for_whom="Ana",
    why='"retrieval augmented generation" in the title and abstract; category cs.CL',
    query=parse('"retrieval augmented generation" cat:cs.CL'),
)
_REASONING = Reason(
    subscription=3,
    name="How models reason",
    why='close to your interest: "complex reasoning"; about 1 paper in 1,000 is as close',
    score=0.61,
    threshold=0.45,
    interest="How language models and agents reason over text, documents and images",
    terms={"complex reason": 1.0, "histor reason": 1.0, "reason": 0.5},
)
_TRENDING = Reason(subscription=4, name="Trending", why="▲ 128, among the 10 most upvoted Daily Papers since 26 May")
_REASONS = ((_DIFFUSION, _TRENDING), (_RAG, _REASONING), (_REASONING,), (_DIFFUSION,))
_RAW = (
    _paper(
        "2505.15270",
        "Scaling Diffusion Transformers Efficiently via $μ$P",
        (
            "Chenyu Zheng",
            "Xinyu Zhang",
            "Rongzhen Wang",
            "Wei Huang",
        ),
        8,
        (
            "cs.LG",
            "cs.AI",
            "cs.CV",
        ),
        128,
        "Diffusion Transformers have emerged as the foundation for vision generative models, but their scalability is "
        "limited by the high cost of hyperparameter (HP) tuning at large scales. Recently, Maximal Update "
        "Parametrization ($\\mu$P) was proposed for vanilla Transformers, which enables stable HP transfer from small "
        "to large language models, and dramatically reduces tuning costs. However, it remains unclear whether $\\mu$P "
        "of vanilla Transformers extends to diffusion Transformers, which differ architecturally and objectively. In "
        "this work, we generalize standard $\\mu$P to diffusion Transformers and validate its effectiveness through "
        "large-scale experiments.",
    ),
    _paper(
        "2505.17503",
        (
            "CReSt: A Comprehensive Benchmark for Retrieval-Augmented Generation with Complex Reasoning "
            "over Structured Documents"
        ),
        (
            "Minsoo Khang",
            "Sangjun Park",
            "Teakgyu Hong",
            "Dawoon Jung",
        ),
        4,
        ("cs.CL",),
        9,
        "Large Language Models (LLMs) have made substantial progress in recent years, yet evaluating their "
        "capabilities in practical Retrieval-Augmented Generation (RAG) scenarios remains challenging. In practical "
        "applications, LLMs must demonstrate complex reasoning, refuse to answer appropriately, provide precise "
        "citations, and effectively understand document layout. These capabilities are crucial for advanced task "
        "handling, uncertainty awareness, maintaining reliability, and structural understanding. While some of the "
        "prior works address these aspects individually, there is a need for a unified framework that evaluates them "
        "collectively in practical RAG scenarios.",
    ),
    _paper(
        "2505.20246",
        "On Path to Multimodal Historical Reasoning: HistBench and HistAgent",
        (
            "Jiahao Qiu",
            "Fulian Xiao",
            "Yimin Wang",
            "Yuchen Mao",
        ),
        98,
        (
            "cs.AI",
            "cs.CL",
        ),
        67,
        "Recent advances in large language models (LLMs) have led to remarkable progress across domains, yet their "
        "capabilities in the humanities, particularly history, remain underexplored. Historical reasoning poses "
        "unique challenges for AI, involving multimodal source interpretation, temporal inference, and cross- "
        "linguistic analysis. While general-purpose agents perform well on many existing benchmarks, they lack the "
        "domain-specific expertise required to engage with historical materials and questions. To address this gap, "
        "we introduce HistBench, a new benchmark of 414 high-quality questions designed to evaluate AI's capacity for "
        "historical reasoning and authored by more than 40 expert contributors.",
    ),
    _paper(
        "2505.08246",
        "Identifying Memorization of Diffusion Models through p-Laplace Analysis",
        (
            "Jonathan Brokman",
            "Amit Giloni",
            "Omer Hofman",
            "Roman Vainshtein",
        ),
        6,
        (
            "cs.CV",
            "cs.NA",
            "math.NA",
        ),
        0,
        "Diffusion models, today's leading image generative models, estimate the score function, i.e. the gradient of "
        "the log probability of (perturbed) data samples, without direct access to the underlying probability "
        "distribution. This work investigates whether the estimated score function can be leveraged to compute "
        "higher-order differentials, namely p-Laplace operators. We show here these operators can be employed to "
        "identify memorized training data. We propose a numerical p-Laplace approximation based on the learned score "
        "functions, showing its effectiveness in identifying key features of the probability landscape.",
    ),
)
_PAPERS = tuple(replace(paper, id=number) for number, paper in enumerate(_RAW, start=1))
