from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.http.ssrf import AllowList, NotAllowed, check_addresses, check_url, is_public
from services.errors import ConfigError

NOBODY = AllowList()

INSIDE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "192.0.0.8",
    "192.0.0.170",
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%1",
    "fec0::1",
    "ff02::1",
    "nonsense",
]
OUTSIDE = [
    "8.8.8.8",
    "151.101.1.42",
    "::ffff:8.8.8.8",
    "2606:4700::6810:1",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
]


@pytest.mark.parametrize("address", INSIDE)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=6))
def test_tunnels_to_private_addresses_are_not_public(address: object) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    inner = mapped or getattr(address, "sixtofour", None) or (getattr(address, "teredo", None) or (None,))[0]
    if inner and not is_public(inner):
        assert not is_public(str(address))


REFUSED = [
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://example.org:70/",
    "//example.org/",
    "http:///x",
    "https://user:secret@example.org/",
    "https://user@example.org/",
    "https://@example.org/",
    "http://example.org:22/",
    "https://example.org:6379/",
    "http://example.org:0/",
    "http://example.org:99999/",
    "http://127.0.0.1/",
    "http://127.0.0.1:80/",
    "https://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fe80::1%25eth0]/",
    "http://[::1",
]


@pytest.mark.parametrize("url", REFUSED)
def test_an_invalid_web_address_is_refused(url: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        check_url(url, NOBODY)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://example.org/", "http://example.org:443/", "http://8.8.8.8/x", "https://[2606:4700::1]:443/"]
)
def test_a_web_address_is_allowed(url: str) -> None:
    check_url(url, NOBODY)


def test_one_private_address_among_several_refuses_a_name() -> None:
    mixed = [ip_address("8.8.8.8"), ip_address("127.0.0.1")]
    with pytest.raises(NotAllowed):
        check_addresses("rebind.example.org", 80, mixed, NOBODY)
    check_addresses("fine.example.org", 80, mixed[:1], NOBODY)


@pytest.mark.parametrize(
    ("entry", "host", "port", "address", "passes"),
    [
        ("intranet.example:8080", "intranet.example", 8080, "10.0.0.1", True),
        ("intranet.example:8080", "Intranet.Example.", 8080, "10.0.0.1", True),
        ("intranet.example:8080", "intranet.example", 80, "10.0.0.1", False),
        ("intranet.example", "intranet.example", 9999, "10.0.0.1", True),
        ("intranet.example", "other.example", 80, "10.0.0.1", False),
        ("intranet.example", "x.intranet.example", 80, "10.0.0.1", False),
        ("10.0.0.0/8", "anything.example", 9999, "10.2.3.4", True),
        ("10.0.0.0/8", "anything.example", 80, "11.2.3.4", True),
        ("10.0.0.0/8", "anything.example", 9999, "11.2.3.4", False),
        ("10.0.0.0/8", "anything.example", 80, "192.168.0.1", False),
        ("10.0.0.0/8", "anything.example", 80, "::ffff:10.0.0.1", True),
        ("127.0.0.1:8000", "127.0.0.1", 8000, "127.0.0.1", True),
        ("127.0.0.1:8000", "127.0.0.1", 8001, "127.0.0.1", False),
        ("[::1]:8000", "::1", 8000, "::1", True),
        ("[::1]", "::1", 8000, "::1", True),
        ("fd00::/8", "::1", 80, "fd00::1", True),
    ],
)
def test_the_operator_allows_hosts_and_networks(entry: str, host: str, port: int, address: str, passes: bool) -> None:
    allowed = AllowList.parse([entry])
    if passes:
        check_addresses(host, port, [ip_address(address)], allowed)
    else:
        with pytest.raises(NotAllowed):
            check_addresses(host, port, [ip_address(address)], allowed)


@pytest.mark.parametrize(
    "entry", ["", "http://example.org", "example.org/path", "a:b", "me@example.org", "10.0.0.0/99"]
)
def test_an_entry_that_is_neither_host_nor_network_is_an_error(entry: str) -> None:
    with pytest.raises(ConfigError, match="neither a host"):
        AllowList.parse([entry])
