"""What kind of input a file is: by its first bytes where they say so, else by its name, else by what its text looks like."""

from __future__ import annotations

import re

KINDS = ("warc", "arc", "parquet", "arrow", "html", "markdown", "rst", "text", "python", "jsonl", "json", "csv", "tsv")

BY_NAME = {
    ".warc": "warc", ".wet": "warc", ".arc": "arc", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
    ".html": "html", ".htm": "html", ".xhtml": "html", ".shtml": "html", ".php": "html", ".asp": "html", ".aspx": "html", ".jsp": "html",
    ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".rst": "rst", ".rest": "rst", ".txt": "text", ".text": "text",
    ".py": "python", ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonlines": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv",
}  # fmt: skip
PACKED = (".gz", ".zst", ".zstd", ".xz", ".bz2", ".bgz")
NOT_TEXT = frozenset(
    ".css .js .mjs .cjs .map .ts .svg .png .jpg .jpeg .gif .webp .ico .bmp .tif .tiff .avif .woff .woff2 .ttf .otf .eot .mp3 .mp4 .webm .ogg .wav "
    ".avi .mov .pdf .doc .docx .xls .xlsx .ppt .pptx .hwp .hwpx .odt .zip .tar .7z .rar .exe .dll .so .o .a .pyc .class .jar .bin .dat .db .sqlite "
    ".pt .pth .safetensors .npy .npz .pkl .pickle .model .onnx .gguf .lock .xml .xsl .xslt .rss .atom .swf .wasm .idx .po .mo .yaml .yml .toml "
    ".ini .cfg .conf .sh .bat .c .h .cc .cpp .hpp .java .go .rs .rb .pl .sql .ipynb .cdx .cdxj".split()
)
"""Endings of files that are no documents here, most of them met beside pages in mirrored sites. (Pickles among them: they are
never opened.)"""

HEAD = 8_192
"""Unpacked bytes looked at."""
_WARC = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,64}WARC/\d{1,2}\.\d", re.I)
_ARC = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,64}filedesc://[^\n]{1,4096} \d{8,18} ", re.I)
_MARKUP = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|meta|div|p|table|h1|script|frameset)\b", re.I)
_CONTROLS = bytes(set(range(32)) - {9, 10, 12, 13, 27})


def packed(name: str) -> str | None:
    """The packing that a name promises: `a.warc.gz` -> `gzip`."""
    last = re.sub(r"~\d+$", "", name.lower()).rpartition(".")[2]
    return {"gz": "gzip", "bgz": "gzip", "zst": "zstd", "zstd": "zstd", "xz": "xz", "bz2": "bzip2"}.get(last)


def ending(name: str) -> str:
    """The last ending of a name below its packing: `a.warc.gz` -> `.warc`."""
    last = name.rsplit("/", 1)[-1].lower()
    last = re.sub(r"~\d+$", "", last)
    while last.endswith(PACKED):
        last = last.rsplit(".", 1)[0]
    return "." + last.rsplit(".", 1)[1] if "." in last else ""


def kind(name: str, head: bytes) -> str | None:
    """The kind of a file called `name` that begins (unpacked) with `head`; None for what holds no text.

    >>> kind("a.warc.gz", b"WARC/1.0"), kind("notes", b"Some words."), kind("logo.png", b"PNG")
    ('warc', 'text', None)
    """
    if _WARC.match(head):
        return "warc"
    if _ARC.match(head):
        return "arc"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    suffix = ending(name)
    if suffix in BY_NAME:
        return _as_named(BY_NAME[suffix], head)
    if suffix in NOT_TEXT or not is_text(head):
        return None
    lead = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if lead[:1] == b"<" and _MARKUP.search(head):
        return "html"
    if re.match(rb'\{\s*"', lead):
        return "jsonl"
    return "json" if re.match(rb'\[\s*\{\s*"', lead) else "text"


def _as_named(named: str, head: bytes) -> str:
    """A name is believed, but a `.json` of one object a line is JSON Lines."""
    if named == "json" and head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        first = head.partition(b"\n")[0].strip()
        return "jsonl" if first.endswith(b"}") and len(first) > 2 else "json"
    return named


def is_text(head: bytes) -> bool:
    """Do these bytes look like text of any charset: hardly any control characters, or a mark of UTF-16?"""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    return len(head.translate(None, _CONTROLS)) >= 0.99 * len(head)
