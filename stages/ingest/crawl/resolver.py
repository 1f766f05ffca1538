"""The reactor's name resolver with the `Gate` in it: Twisted connects to what comes out of here and to nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from stages.ingest.crawl.address import Gate


@implementer(IHostnameResolver)
class GatedResolver:
    """Wraps the reactor's resolver. Scrapy builds it (`TWISTED_DNS_RESOLVER`); the gate comes from the settings."""

    def __init__(self, reactor: Any, gate: Gate):
        self.reactor = reactor
        self.gate = gate
        self.inner = reactor.nameResolver

    @classmethod
    def from_crawler(cls, crawler: Any, reactor: Any) -> GatedResolver:
        return cls(reactor, crawler.settings["CRAWL_GATE"])

    def install_on_reactor(self) -> None:
        self.reactor.installNameResolver(self)

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        known = self.gate.mapped.get(hostName.lower())
        if known is None:
            checked = _Checked(resolutionReceiver, hostName, self.gate)
            return self.inner.resolveHostName(checked, hostName, portNumber, addressTypes, transportSemantics)
        kind = IPv6Address if ":" in known[0] else IPv4Address
        resolution = _Known(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        resolutionReceiver.addressResolved(kind("TCP", known[0], known[1]))
        resolutionReceiver.resolutionComplete()
        return resolution


@implementer(IHostResolution)
class _Known:
    def __init__(self, name: str):
        self.name = name

    def cancel(self) -> None:
        """It is over before anybody could cancel it."""


@implementer(IResolutionReceiver)
class _Checked:
    """Collects the addresses of one look-up and hands on those that the gate allows."""

    def __init__(self, receiver: Any, host: str, gate: Gate):
        self.receiver, self.host, self.gate = receiver, host, gate
        self.found: list[Any] = []

    def resolutionBegan(self, resolution: Any) -> None:
        self.receiver.resolutionBegan(resolution)

    def addressResolved(self, address: Any) -> None:
        self.found.append(address)

    def resolutionComplete(self) -> None:
        usable = set(self.gate.allowed(self.host, [one.host for one in self.found]))
        for one in self.found:
            if one.host in usable:
                self.receiver.addressResolved(one)
        self.receiver.resolutionComplete()
