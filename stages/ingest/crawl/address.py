"""Which network addresses may be connected to: the check stands where the connection is made.

A name is looked up when a connection is opened, and the connection goes to the address that was looked up then; so the
check is made on that address and on nothing earlier. A name that answers with a public address first and a private one
later (DNS rebinding), a redirect into the house, an odd spelling of 127.0.0.1: all of them end here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 that stands for an IPv4 address behind a translator (RFC 6052): its last 32 bits."""


def is_public(address: str) -> bool:
    """True where `address` (IPv4 or IPv6) is one on the open internet.

    Not public: private, loopback, link-local, multicast, unspecified, reserved, shared (100.64.0.0/10), documentation and
    benchmark ranges, and every IPv6 form that carries such an IPv4 address inside.

    >>> [is_public(a) for a in ("93.184.216.34", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1")]
    [True, False, False, False, False]
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if found.version == 6 and found in NAT64:
        found = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return all(one.is_global and not one.is_multicast and not one.is_reserved for one in (found, *_inside(found)))


def _inside(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Iterable[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address carries: mapped, 6to4, Teredo, compatible."""
    if address.version == 4:
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if int(address) >> 32 == 0:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


class Gate:
    """Decides on every address of every name, and remembers which names led nowhere but inside.

    mapped: name -> (address, port) that it is answered at, whatever the name service says. allow_private: names that may
    lead to addresses that are not public.
    """

    def __init__(self, mapped: dict[str, tuple[str, int]], allow_private: Iterable[str]):
        self.mapped = mapped
        self.allow_private = frozenset(allow_private)
        self.refused: set[str] = set()

    def allowed(self, host: str, addresses: list[str]) -> list[str]:
        """The addresses of `host` that may be connected to, in their order."""
        host = host.lower()
        kept = addresses if host in self.allow_private else [one for one in addresses if is_public(one)]
        if addresses and not kept:
            self.refused.add(host)
        elif kept:
            self.refused.discard(host)
        return kept
