"""Host names as the domain name system knows them (IDNA 2008, RFC 5891).

Python's codec `idna` follows IDNA 2003, which turns `straße.example` into another person's `strasse.example`.
"""

import idna

MAX_HOST = 253
MAX_LABEL = 63


def ascii_host(host: str) -> str:
    """The host in lower case, with names beyond ASCII as `xn--…`. Raises ValueError.

    Mapped by UTS #46 without its transitional rules. A host in ASCII, such as `my_host` or an IP address, is not
    checked against IDNA 2008, since names that no registry allows are used in private networks.
    """
    if host.isascii():
        name = host.lower()
        labels = name.removesuffix(".").split(".")
        if name and (len(name) > MAX_HOST + 1 or not all(1 <= len(label) <= MAX_LABEL for label in labels)):
            raise ValueError("is not the name of a host")
        return name
    return idna.encode(host, uts46=True, transitional=False).decode("ascii")
