"""Which reason each way of getting no answer is written down under."""

from __future__ import annotations

import zlib

from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
    UnsupportedURLSchemeError,
)
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost

from stages.ingest.crawl import reasons
from stages.ingest.crawl.address import Gate
from stages.ingest.crawl.urls import host_of


class Skipped(IgnoreRequest):
    """An address that is not asked; `reason` is why."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (DownloadTimeoutError, reasons.TIMEOUT),
    (DownloadCancelledError, reasons.TOO_LARGE),  # a download is cancelled for its size and nothing else
    (ResponseDataLossError, reasons.INCOMPLETE),
    (UnsupportedURLSchemeError, reasons.SCHEME),
    (IgnoreRequest, reasons.TOO_LARGE),  # Scrapy's decompression, when it meets the size cap
    ((DownloadConnectionRefusedError, DownloadFailedError), reasons.CONNECTION),
    ((ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionError), reasons.CONNECTION),
    ((EOFError, OSError, zlib.error), reasons.INCOMPLETE),  # a damaged content encoding
)
NO_ANSWER = (
    DownloadTimeoutError, DownloadCancelledError, ResponseDataLossError, UnsupportedURLSchemeError, IgnoreRequest,
    DownloadConnectionRefusedError, DownloadFailedError, CannotResolveHostError, ConnectError, ConnectionAborted,
    ConnectionDone, ConnectionLost, EOFError, OSError, zlib.error,
)  # fmt: skip
"""What a request may end in without a response."""


def reason_of(fault: BaseException, url: str, gate: Gate) -> tuple[str, str | None]:
    """The reason for which there is no answer, and a note where the vocabulary has no word for it."""
    if isinstance(fault, Skipped):
        return fault.reason, None
    if isinstance(fault, CannotResolveHostError):
        return (reasons.PRIVATE_ADDRESS if host_of(url) in gate.refused else reasons.DNS), None
    for kind, reason in REASONS:
        if isinstance(fault, kind):
            return reason, None
    return reasons.ERROR, type(fault).__name__
