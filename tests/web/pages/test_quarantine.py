"""Papers in quarantine: operators see them among the sources and release them."""

from tests.web.conftest import Browser, Site, text_of


def test_an_operator_sees_quarantined_papers_and_releases_them(site: Site, ada: Browser, ben: Browser) -> None:
    assert "Papers in quarantine" not in text_of(ada.get("/sources"))
    paper = site.paper("A <b>poisonous</b> paper")
    lost = "2 workers were lost while they matched it alone"
    site.sql(f"INSERT INTO quarantine (paper_id, shard, error) VALUES ({paper}, 0, '{lost}')")
    page = text_of(ada.get("/sources"))
    assert "Papers in quarantine" in page
    assert lost in page
    assert "<b>poisonous" not in ada.get("/sources").text
    assert "quarantine" not in text_of(ben.get("/sources"))
    answer = ada.post(f"/quarantine/{paper}/release")
    assert answer.headers["location"].startswith("/sources?flash=released")
    assert "Released." in text_of(ada.get("/sources?flash=released"))
    assert site.sql("SELECT * FROM quarantine") == []
    assert site.sql(f"SELECT count(*) FROM event WHERE paper_id = {paper}") == [(2,)]
    assert ada.post(f"/quarantine/{paper}/release").status_code == 404


def test_the_number_of_quarantined_papers_is_a_metric(site: Site) -> None:
    paper = site.paper("A poisonous paper")
    assert 'paperwire_audit{figure="papers_set_aside"} 0.0' in site.browser().get("/metrics").text
    site.sql(f"INSERT INTO quarantine (paper_id, shard, error) VALUES ({paper}, 0, 'lost')")
    assert 'paperwire_audit{figure="papers_set_aside"} 1.0' in site.browser().get("/metrics").text
