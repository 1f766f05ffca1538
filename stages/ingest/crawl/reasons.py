"""Why an address did not give a document: the crawl's closed vocabulary.

`crawl.http_NNN` stands for every final status NNN that is neither a page nor a redirect.
"""

from __future__ import annotations

ROBOTS = "crawl.robots"
"""robots.txt closes it to this crawler (RFC 9309)."""
ROBOTS_UNREACHABLE = "crawl.robots_unreachable"
"""robots.txt answered with a server error or not at all: everything is closed (RFC 9309, 2.3.1.4)."""
SLOW_HOST = "crawl.slow_host"
"""The host asks for longer pauses than `max_delay`."""
PRIVATE_ADDRESS = "crawl.private_address"
"""The name leads only to private, loopback, link-local or otherwise not public addresses."""
DNS = "crawl.dns"
"""The name has no address."""
CONNECTION = "crawl.connection"
"""No connection, or it broke, also after the retries."""
TIMEOUT = "crawl.timeout"
"""No answer within `timeout`, also after the retries."""
INCOMPLETE = "crawl.incomplete"
"""The answer broke off or its content encoding is damaged, also after the retries."""
TOO_LARGE = "crawl.too_large"
"""More than `max_bytes`, as sent or once decompressed."""
CONTENT_TYPE = "crawl.content_type"
"""Not a page: the header says another type than `types`, or the ending is that of an image, archive or program."""
SCHEME = "crawl.scheme"
"""Neither http nor https, or no address that can be read."""
REDIRECT = "crawl.redirect"
"""It leads to another address, which has an account of its own (`to`)."""
REDIRECT_LOOP = "crawl.redirect_loop"
"""It leads back to an address that led here."""
REDIRECT_LIMIT = "crawl.redirect_limit"
"""More redirects in a row than `redirects`."""
OUTSIDE = "crawl.outside"
"""A redirect to a host that is not crawled (`to`)."""
DEPTH = "crawl.depth"
"""Further from the seeds than `depth`."""
PAGE_LIMIT = "crawl.page_limit"
"""The host has given `max_pages` already."""
URL_TOO_LONG = "crawl.url_too_long"
"""More than 2,048 characters."""
ERROR = "crawl.error"
"""Something else (`note` names it)."""


def http(status: int) -> str:
    return f"crawl.http_{status}"
