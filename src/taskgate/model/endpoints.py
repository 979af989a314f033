"""Hosts and ports as names: `db.internal:5432`, `10.0.0.5:22`, `[2001:db8::1]:443`.

One spelling for each. What could be read in two ways (`127.1`, `0x7f000001`, an IPv4 address inside
an IPv6 one) is no name at all, so that what a rule says, what is judged and what is connected to
are the same. What a host's name resolves to only the host knows that looks it up.
"""

import ipaddress
import re
from typing import Final

MAX_HOST_BYTES: Final = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
# What getaddrinfo takes for a number at an address's end: decimal, octal or hexadecimal.
_NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")
_HOLDS_IPV4: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in ("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
_NAME, _ADDRESS = "name", "address"


def plain_host(text: str) -> str:
    """A host as it is written in rules: a name in lower case, an address in its shortest form.

    Raises: ValueError for what is neither, or could be another's.
    """
    if not text:
        raise ValueError("no host is named")
    if not text.isascii():
        raise ValueError("a host's name is ASCII; others are written in their xn-- form")
    if ":" in text:
        return _plain_ipv6(text)
    host = text.lower()
    if len(host) > MAX_HOST_BYTES:
        raise ValueError(f"a host's name has at most {MAX_HOST_BYTES} characters")
    labels = host.split(".")
    if labels[-1] == "":
        raise ValueError("a host's name is written without a dot at its end")
    if all(_LABEL.match(label) for label in labels):
        if not _NUMBER.match(labels[-1]):
            return host
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("an IPv4 address is four plain numbers: 127.0.0.1") from None
    raise ValueError("not a host's name")


def _plain_ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("not an IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError("an address with a zone (%) means another at each host")
    held = int(address) < 1 << 32 and int(address) > 1
    if held or any(address in network for network in _HOLDS_IPV4):
        raise ValueError("an IPv4 address inside an IPv6 one: write the IPv4 address")
    return address.compressed


def plain_network(text: str) -> str:
    """`10.0.0.5/32` of an address, `10.0.0.0/24` of a network, as they are spelled.

    Raises: ValueError.
    """
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        shown = text[:100] if text.isprintable() else ascii(text[:100])
        raise ValueError(
            f"{shown} is no address; write 10.0.0.5, or a network such as 10.0.0.0/24"
        ) from None


def spell_endpoint(host: str, port: int, *, any_port: bool = False) -> str:
    """`host:port` of a plain host, an IPv6 address in brackets. Port 0 is one where `any_port`
    (the host picks one to listen on).

    Raises: ValueError for a host that is not plain, and a port that is none.
    """
    if plain_host(host) != host:
        raise ValueError(f"not a plain host: {host!r}")
    if not (port or any_port) or not 0 <= port < 65_536:
        raise ValueError("a port is a number from 1 to 65535")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_endpoint(text: str) -> tuple[str, str, str]:
    """`("name", "db.internal", "5432")` of `db.internal:5432`. A name and an address are two
    things, so that `10.0.0.*` is not the name `10.0.0.x.example.com`.

    Raises: ValueError for one that is not spelled so.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not colon or not port.isascii() or not port.isdecimal():
        raise ValueError(f"not host:port: {text!r}")
    if spell_endpoint(host, int(port), any_port=True) != text:
        raise ValueError(f"not plain host:port: {text!r}")
    return (kind_of(host), host, port)


def kind_of(host: str) -> str:
    """Whether a plain host, or a pattern over such, is an address or a name."""
    digits = any(c.isdecimal() for c in host)
    return _ADDRESS if ":" in host or (digits and not host.strip("0123456789.*")) else _NAME
