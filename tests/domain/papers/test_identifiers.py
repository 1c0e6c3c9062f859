import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.papers import identifiers
from services.domain.papers.identifiers import recognise


@pytest.mark.parametrize(
    ("text", "identifier", "version"),
    [
        ("2401.00001", "arxiv:2401.00001", None),
        ("2401.00001v12", "arxiv:2401.00001", 12),
        ("arXiv: 0704.0001v1", "arxiv:0704.0001", 1),
        ("oai:arXiv.org:2401.00001v1", "arxiv:2401.00001", 1),
        ("cond-mat/0207270", "arxiv:cond-mat/0207270", None),
        ("math.GT/0309136v2", "arxiv:math/0309136", 2),
        ("http://arxiv.org/abs/hep-th/9901001v3", "arxiv:hep-th/9901001", 3),
        ("https://export.arxiv.org/pdf/2401.00001v2.pdf", "arxiv:2401.00001", 2),
        ("https://huggingface.co/papers/2401.00001", "arxiv:2401.00001", None),
        ("https://www.alphaxiv.org/abs/2401.00001v2?x=1", "arxiv:2401.00001", 2),
        ("https://doi.org/10.48550/arXiv.2401.00001", "arxiv:2401.00001", None),
        ("doi:10.1101/2024.01.01.573890", "doi:10.1101/2024.01.01.573890", None),
        ("10.1145/ABC.1", "doi:10.1145/abc.1", None),
        ("https://dx.doi.org/10.1000/x%28y%29", "doi:10.1000/x(y)", None),
        ("https://www.science.org/doi/abs/10.1126/science.abc1234", "doi:10.1126/science.abc1234", None),
        (
            "https://www.biorxiv.org/content/10.1101/2024.01.01.573890v2.full?rss=1",
            "doi:10.1101/2024.01.01.573890",
            2,
        ),
        ("arXiv:2401.00001v1 [astro-ph.EP]", "arxiv:2401.00001", 1),
        (
            "https://academic.oup.com/nar/advance-article/doi/10.1093/nar/gkag001/7000000?rss=1",
            "doi:10.1093/nar/gkag001",
            None,
        ),
        (
            "https://rupress.org/jcb/article/doi/10.1083/jcb.202401001/276000/A-title-of-it",
            "doi:10.1083/jcb.202401001",
            None,
        ),
        ("https://onlinelibrary.wiley.com/doi/10.1111/tpj.12145/abstract", "doi:10.1111/tpj.12145", None),
        ("https://onlinelibrary.wiley.com/doi/epdf/10.1111/tpj.12145.pdf", "doi:10.1111/tpj.12145", None),
        ("https://www.pnas.org/doi/10.1073/pnas.2401/full/html", "doi:10.1073/pnas.2401", None),
        ("https://iopscience.example.org/doi/10.1088/1748-9326/11/4/044001", "doi:10.1088/1748-9326/11/4/044001", None),
        ("https://openreview.net/forum?id=a_Bc-1234X", "openreview:a_Bc-1234X", None),
        ("https://www.openreview.net/forum?id=a_Bc-1234X&noteId=zZ99_abcd", "openreview:a_Bc-1234X", None),
        ("https://openreview.net/pdf?id=a_Bc-1234X", "openreview:a_Bc-1234X", None),
        ("openreview:a_Bc-1234X", "openreview:a_Bc-1234X", None),
        ("https://www.biorxiv.org/content/10.64898/2026.05.25.700001v2", "doi:10.64898/2026.05.25.700001", 2),
    ],
)
def test_identifiers_are_recognised(text: str, identifier: str, version: int | None) -> None:
    recognised = recognise(text)
    assert recognised
    assert (str(recognised.identifier), recognised.version) == (identifier, version)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2413.00001",
        "2401.0001",
        "0704.00001",
        "3.14159",
        "2401.00001v0",
        "https://example.org/2024/05/30/post",
        "https://example.org/price/1999.95",
        "https://example.org/about-2401.00001-x",
        "https://openreview.net/group?id=ICLR.cc/2026",
        "https://openreview.net/profile?id=Ada_Lovelace1",
        "http://[::1",
        "tag:example.org,2026:1",
    ],
)
def test_other_numbers_are_not_identifiers(text: str) -> None:
    assert recognise(text) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    recognise(text)
    recognise(f"https://{text}")
    recognise(f"https://arxiv.org/{text}")


def test_an_identifier_gives_its_links() -> None:
    recognised = recognise("10.1145/ABC.1")
    assert recognised
    assert identifiers.links(recognised.identifier) == {"abstract": "https://doi.org/10.1145/abc.1"}
