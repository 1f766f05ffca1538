"""Pages to text by one extractor, in the Python of an environment that has it; `extractors.py` starts it.

    python peers.py EXTRACTOR FOLDER FILE

FOLDER holds `pages.jsonl`, a row a page with `name` (of the page's file in it) and `encoding`; FILE becomes a row a page with
`name`, `text` and `seconds` of the processor. Peers are given decoded text, maetdol the bytes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
Read = Callable[[bytes, str], str]


def _maetdol(mode: str) -> Read:
    sys.path.insert(0, str(REPO))
    from stages.ingest.html import page
    from stages.ingest.row import Raw

    reading, _, without = mode.partition(", ")
    return lambda data, _: page.read(Raw("page", "", data), reading, comments=not without).values.get("text", "")


def _trafilatura(**options: bool) -> Read:
    from trafilatura import extract

    return lambda data, encoding: extract(data.decode(encoding, "replace"), **options) or ""


def _resiliparse() -> Read:
    from resiliparse.extract.html2text import extract_plain_text

    return lambda data, encoding: extract_plain_text(data.decode(encoding, "replace"), main_content=True)


def _readability() -> Read:
    from lxml.html import fromstring
    from readability import Document

    def read(data: bytes, encoding: str) -> str:
        kept = Document(data.decode(encoding, "replace")).summary()
        return "\n".join(line for line in fromstring(kept).text_content().split("\n") if line.strip())

    return read


def _justext() -> Read:
    import justext

    everything = frozenset().union(*(justext.get_stoplist(name) for name in ("English", "Korean")))

    def read(data: bytes, encoding: str) -> str:
        parts = justext.justext(data.decode(encoding, "replace"), everything)
        return "\n".join(part.text for part in parts if not part.is_boilerplate)

    return read


def _newspaper() -> Read:
    import newspaper

    def read(data: bytes, encoding: str) -> str:
        article = newspaper.Article("https://example.org/", fetch_images=False)
        article.download(input_html=data.decode(encoding, "replace"))
        article.parse()
        return article.text

    return read


PEERS: dict[str, Callable[[], Read]] = {
    "trafilatura": _trafilatura,
    "trafilatura fast": lambda: _trafilatura(fast=True),
    "trafilatura precision": lambda: _trafilatura(favor_precision=True),
    "trafilatura recall": lambda: _trafilatura(favor_recall=True),
    "resiliparse": _resiliparse,
    "readability-lxml": _readability,
    "jusText": _justext,
    "newspaper4k": _newspaper,
}


def extractor(name: str) -> Read:
    """`maetdol MODE` with a value of `extract:`, or a peer."""
    return _maetdol(name.removeprefix("maetdol ")) if name.startswith("maetdol ") else PEERS[name]()


def faults() -> tuple[type[Exception], ...]:
    """What libraries raise on odd pages: the page's text is then empty."""
    from lxml.etree import LxmlError

    found = [
        RecursionError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        AssertionError,
        OSError,
        ImportError,
        LxmlError,
    ]
    if "newspaper" in sys.modules:
        found.append(sys.modules["newspaper"].ArticleException)
    return tuple(found)


def main() -> None:
    name, folder, file = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    logging.disable(logging.CRITICAL)
    read = extractor(name)
    pages = [json.loads(line) for line in (folder / "pages.jsonl").read_text("utf-8").splitlines()]
    with contextlib.suppress(*faults()):  # imports and kernels are no part of the figure
        read((folder / pages[0]["name"]).read_bytes(), pages[0]["encoding"])
    with open(file, "w", encoding="utf-8", errors="surrogatepass") as out:
        for page in pages:
            data = (folder / page["name"]).read_bytes()
            began, fault, text = time.process_time(), None, ""
            try:
                text = read(data, page["encoding"])
            except faults() as raised:
                fault = type(raised).__name__
            seconds = time.process_time() - began
            row = {"name": page["name"], "text": text, "seconds": seconds, "fault": fault}
            out.write(json.dumps(row, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
