"""The verb that shows a root in a browser."""

from __future__ import annotations

import os
import secrets
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.errors import UsageError
from pipeline.options import Options

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that this machine alone reaches."""


class View(Options):
    """Show a root in a browser: funnel, dropped texts, search, what-if, a document's life, duplicates, edits, conversations, labels.

    maetdol view runs/quickstart

    Prints a link with a token; without it nothing is answered. Nothing leaves this machine and nothing is fetched; stores are only
    read, and labels are written to ROOT/labels. Personal data is masked unless `--reveal` is given.
    """

    verb: ClassVar[str] = "view"
    arguments: ClassVar[tuple[str, ...]] = ("root",)

    root: str
    "Root of a run: a local path or object storage."
    host: str = "127.0.0.1"
    "Address to listen at: one that this machine alone reaches."
    port: int = Field(8765, ge=0, le=65535)
    "Port; 0: a free one."
    against: str | None = None
    "Another root to compare with."
    reveal: bool = False
    "Show personal data as it stands in the stores."
    language: Literal["auto", "ko", "en"] = "auto"
    "Of the pages; auto: the browser's."
    who: str | None = None
    "Name that labels are signed with. Default: that of the login."

    def run(self) -> int:
        if self.host not in LOOPBACK:
            raise UsageError(
                f"{self.host} can be reached by other machines",
                f"leave out host, and from elsewhere open a tunnel: ssh -L {self.port}:127.0.0.1:{self.port} MACHINE",
            )
        try:
            from stages.view.app import listening, serve
        except ImportError as fault:
            raise UsageError(
                f"the page needs {fault.name}, which is not installed", "pip install 'maetdol[view]'"
            ) from None
        from stages.view.corpus import ShownRoot

        who = self.who or os.environ.get("USER") or os.environ.get("LOGNAME") or "someone"
        corpus = ShownRoot(self.root, self.against, self.reveal, who)
        at, token = listening(self.host, self.port), secrets.token_urlsafe(24)
        host, port = at.getsockname()[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}/?token={token}", flush=True)
        try:
            serve(corpus, token, self.language, at)
        except KeyboardInterrupt:
            pass
        return 0
