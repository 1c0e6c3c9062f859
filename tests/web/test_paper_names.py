"""Papers named in the fields for examples of a subscription's form."""

from services.web.subscription_form import _names


def test_arxivs_own_form_of_a_citation_is_one_name() -> None:
    text = "arXiv: 2611.20001v1 [astro-ph.EP]\nhttps://doi.org/10.1093/nar/gkag001, 7"
    assert _names(text) == ["arXiv:2611.20001v1", "https://doi.org/10.1093/nar/gkag001", "7"]
