"""The gate: which addresses may be connected to, decided on the look-up that the connection is made with."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address

from stages.ingest.crawl.address import Gate, is_public
from stages.ingest.crawl.resolver import GatedResolver

INSIDE = [
    "127.0.0.1", "127.255.255.254", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "203.0.113.9", "::", "::1", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "::10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1", "64:ff9b:1::7f00:1",
    "not an address", "",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2001:4860:4860::8888", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_inside_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside_is_public(address):
    assert is_public(address)


@settings(deadline=None)
@given(number=st.integers(0, 2**32 - 1), form=st.sampled_from(["{}", "::ffff:{}", "64:ff9b::{}", "::{}"]))
def test_no_private_ipv4_comes_through_in_any_form(number, form):
    address = ipaddress.IPv4Address(number)
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        assert not is_public(form.format(address))


class Names:
    """A reactor whose name service answers with the next of the given lists each time."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.nameResolver = self

    def installNameResolver(self, resolver):
        self.nameResolver = resolver

    def resolveHostName(self, receiver, host, port=0, types=None, semantics="TCP"):
        receiver.resolutionBegan(self)
        for address in self.answers.pop(0):
            receiver.addressResolved((IPv6Address if ":" in address else IPv4Address)("TCP", address, port))
        receiver.resolutionComplete()


class Receiver:
    def __init__(self):
        self.found, self.complete = [], False

    def resolutionBegan(self, resolution):
        """Nothing to prepare."""

    def addressResolved(self, address):
        self.found.append((address.host, address.port))

    def resolutionComplete(self):
        self.complete = True


def resolve(reactor, gate, host, port=80):
    receiver = Receiver()
    GatedResolver(reactor, gate).install_on_reactor()
    resolver = reactor.nameResolver
    reactor.nameResolver = reactor
    resolver.resolveHostName(receiver, host, port)
    assert receiver.complete
    return receiver.found


def test_a_name_that_changes_its_mind_is_refused_the_second_time():
    """DNS rebinding: the check is made on every look-up, and the connection goes to what that look-up gave."""
    reactor, gate = Names(["93.184.216.34"], ["127.0.0.1"]), Gate({}, ())
    assert resolve(reactor, gate, "rebind.example") == [("93.184.216.34", 80)]
    assert resolve(reactor, gate, "rebind.example") == []
    assert gate.refused == {"rebind.example"}


def test_private_addresses_among_public_ones_are_taken_out():
    reactor, gate = Names(["10.0.0.1", "8.8.8.8", "::1"]), Gate({}, ())
    assert resolve(reactor, gate, "mixed.example") == [("8.8.8.8", 80)]
    assert not gate.refused


def test_a_name_without_addresses_is_not_refused_but_unknown():
    gate = Gate({}, ())
    assert resolve(Names([]), gate, "nothing.example") == []
    assert not gate.refused


def test_names_that_may_be_inside():
    assert resolve(Names(["127.0.0.1"]), Gate({}, ["inside.example"]), "inside.example") == [("127.0.0.1", 80)]
    assert resolve(Names(["127.0.0.1"]), Gate({}, ["inside.example"]), "other.example") == []


def test_a_mapped_name_is_never_looked_up_and_brings_its_port():
    gate = Gate({"site.example": ("127.0.0.1", 4321), "six.example": ("::1", 99)}, ())
    assert resolve(Names(), gate, "Site.Example", 80) == [("127.0.0.1", 4321)]
    assert resolve(Names(), gate, "six.example", 443) == [("::1", 99)]
