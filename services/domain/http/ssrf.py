"""Server-side request forgery: only public addresses, and those the operator allows, may be requested.

https://owasp.org/www-community/attacks/Server_Side_Request_Forgery
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from services.domain.http.hostname import ascii_host
from services.errors import ConfigError

Address = IPv4Address | IPv6Address

WEB_PORTS = {"http": 80, "https": 443}

_UNICAST = IPv6Network("2000::/3")
# Python counts some of these as global. Tunnels and translations (6to4, Teredo) contain an IPv4 address that is not
# checked. https://www.iana.org/assignments/iana-ipv6-special-registry/
_NOT_PUBLIC: tuple[IPv4Network | IPv6Network, ...] = (
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv4Network("240.0.0.0/4"),
)


class NotAllowed(ValueError):
    """An address that must not be requested. The message is for people and contains no part of the address."""


def is_public(address: str | Address) -> bool:
    """Whether an address belongs to the public internet, not to this machine, its network or its cloud."""
    try:
        ip = ip_address(address) if isinstance(address, str) else address
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            return is_public(ip.ipv4_mapped)
        if ip.scope_id or ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


@dataclass(frozen=True, slots=True)
class AllowList:
    """Names and networks that the operator allows, each with one port or with every port (None)."""

    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[IPv4Network | IPv6Network, int | None], ...] = ()

    @classmethod
    def parse(cls, entries: Sequence[str]) -> "AllowList":
        """From `host[:port]` and CIDR entries. Raises ConfigError for any other entry."""
        names: set[tuple[str, int | None]] = set()
        networks: list[tuple[IPv4Network | IPv6Network, int | None]] = []
        for entry in entries:
            try:
                networks.append((ip_network(entry.strip("[]"), strict=False), None))
                continue
            except ValueError:
                host, port = _host_and_port(entry)
            try:
                networks.append((ip_network(host), port))
            except ValueError:
                names.add((_folded(host), port))
        return cls(frozenset(names), tuple(networks))

    def has_name(self, host: str, port: int) -> bool:
        return not self.names.isdisjoint({(_folded(host), port), (_folded(host), None)})

    def has_address(self, ip: Address, port: int) -> bool:
        ip = ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip
        return any(ip in network and allowed in (None, port) for network, allowed in self.networks)


def check_url(url: str, allowed: AllowList) -> None:
    """Raises NotAllowed for a URL that is refused whatever its name resolves to; `check_addresses` checks the rest."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = WEB_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise NotAllowed("the address is not a web address") from None
    if parts.scheme not in WEB_PORTS or not host:
        raise NotAllowed("the address must begin with http:// or https://")
    if "@" in parts.netloc:
        raise NotAllowed("the address must not hold a name or password")
    try:
        check_addresses(host, port, [ip_address(host)], allowed)
    except NotAllowed:
        raise
    except ValueError:
        # A name: its port may be allowed in the network to which the name resolves.
        if port not in WEB_PORTS.values() and not allowed.networks and not allowed.has_name(host, port):
            raise NotAllowed("only the ports 80 and 443 may be requested") from None


def check_addresses(host: str, port: int, addresses: Sequence[Address], allowed: AllowList) -> None:
    """Raises NotAllowed unless every one of the `addresses` of `host` may be requested at `port`."""
    if allowed.has_name(host, port):
        return
    checked = [ip for ip in addresses if not allowed.has_address(ip, port)]
    if not all(is_public(ip) for ip in checked):
        raise NotAllowed("the address is not on the public internet (an operator can allow its host)")
    if checked and port not in WEB_PORTS.values():
        raise NotAllowed("only the ports 80 and 443 may be requested")


def _host_and_port(entry: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{entry.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(f"{entry!r} is neither a host, a host:port nor a network such as 10.0.0.0/8")
    return host, port


def _folded(host: str) -> str:
    try:
        return ascii_host(host).rstrip(".")
    except ValueError:
        return host.lower().rstrip(".")


def without_secrets(location: str) -> str:
    """A source's location as people may see it: an address without its user, password and query."""
    try:
        parts = urlsplit(location)
        return f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.netloc else location
    except ValueError:
        return "an address"
