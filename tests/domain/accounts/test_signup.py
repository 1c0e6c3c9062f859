"""Who may sign up."""

import pytest

from services.domain.accounts.signup import parse_signup


@pytest.mark.parametrize(
    ("setting", "email", "allowed", "invites"),
    [
        ("closed", "a@example.org", False, False),
        ("invite", "a@example.org", False, True),
        ("open", "a@example.org", True, True),
        ("domain:example.org,example.com", "a@example.com", True, True),
        ("domain:Example.org", "a@example.org", True, True),
        ("domain:example.org", "a@lab.example.org", False, True),
        ("domain:example.org", "a@evil-example.org", False, True),
        ("domain:example.org", '"x@example.org"@evil.example', False, True),
        ("domain:xn--strae-oqa.example", "a@straße.example", True, True),
        ("domain:strasse.example", "a@straße.example", False, True),
        ("domain:example.org", "a@", False, True),
    ],
)
def test_the_rule_allows_the_stated_addresses(setting: str, email: str, allowed: bool, invites: bool) -> None:
    rule = parse_signup(setting)
    assert (rule.allows(email), rule.takes_invitations) == (allowed, invites)
