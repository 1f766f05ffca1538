"""What kind of input bytes are: by their first bytes where they say so, else by their name, else by what the text looks like.

One module decides it, for files and for what a crawler brought home: `kind` what a file is read as, `apart` what is no text.
"""

from __future__ import annotations

import json
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
_PAGE = re.compile(rb"<(?:!doctype\s+html|html|head|body)\b", re.I)
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


# -- what is no text -----------------------------------------------------------------------------------------------------

SNIFF = 4_096
"""Bytes in which a payload is told from its look."""
MAGIC: tuple[tuple[str, bytes], ...] = (
    ("pdf", rb"%PDF-"),
    (
        "image",
        rb"\x89PNG\r\n|GIF8[79]a|\xff\xd8\xff|BM.{4}\x00{4}|II\x2a\x00|MM\x00\x2a|RIFF.{4}WEBP|\x00\x00[\x01\x02]\x00[\x01-\x40]\x00|8BPS\x00|.{4}ftyp(?:avif|avis|heic|heix|mif1)|\x00{3}\x0cjP  |\xff\x0a|\x00{3}\x0cJXL ",
    ),
    (
        "image",
        rb"(?:<\?xml[^>]{0,200}>\s{0,64})?(?:<!--.{0,1024}?-->\s{0,64}|<!DOCTYPE\s+svg[^>]{0,512}>\s{0,64}){0,4}<svg[\s>]",
    ),
    (
        "office",
        rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|\{\\rtf\d|HWP Document File|%!PS-Adobe-|PK\x03\x04.{26}(?:\[Content_Types\]\.xml|_rels/|docProps/|word/|xl/|ppt/|mimetypeapplication/)",
    ),
    (
        "archive",
        rb"PK(?:\x03\x04|\x05\x06|\x07\x08)|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|\x1f\x8b\x08|\x1f\x9d|\xfd7zXZ\x00|BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)|\x28\xb5\x2f\xfd|MSCF\x00{4}|!<arch>\n|.{257}ustar[\x00 ]|..-lh[0-7d]-|xar!\x00",
    ),
    (
        "audio",
        rb"ID3[\x02-\x04]\x00|\xff[\xfb\xf3\xf2\xfa][\x10-\xef]|fLaC\x00|OggS\x00|RIFF.{4}WAVE|#!AMR|MThd\x00{3}\x06|.{4}ftypM4[AB]|FORM.{4}AIF[FC]|\xff[\xf1\xf9][\x40-\xbf]",
    ),
    (
        "video",
        rb".{4}ftyp[\w ]{4}|\x1a\x45\xdf\xa3|RIFF.{4}AVI |FLV\x01|\x00\x00\x01[\xba\xb3]|\x30\x26\xb2\x75\x8e\x66\xcf\x11|.{4}(?:moov|mdat|wide)\x00",
    ),
    ("font", rb"wOF[F2]|OTTO\x00|\x00\x01\x00\x00\x00[\x04-\x40]|ttcf\x00|.{8}[\x00-\x02]\x00[\x01\x02]\x00.{22}LP"),
    (
        "program",
        rb"MZ.{2}[\x00-\x07]\x00|\x7fELF|\xca\xfe\xba\xbe|\x00asm\x01|[FCZ]WS[\x01-\x40]|dex\n0|[\xcf\xce]\xfa\xed\xfe",
    ),
    ("data", rb"SQLite format 3\x00|PAR1|ARROW1\x00|\x89HDF\r\n|\x93NUMPY|\xff{4}.{2}\x00\x00"),
)
"""Kinds of bytes that are no text, by how they begin (the formats' own specifications)."""
_MAGIC = re.compile(
    b"|".join(b"(?P<%s%d>%s)" % (name.encode(), n, how) for n, (name, how) in enumerate(MAGIC)), re.S | re.I
)
_LEAD = b"\xef\xbb\xbf \t\r\n\f"
_AHEAD = rb"(?:\xef\xbb\xbf)?(?>/\*.*?\*/|//[^\n]*\n|<!--|\s+)*+"
_SCRIPT = re.compile(
    _AHEAD
    + rb"""(?:['"]use strict['"]|(?:var|let|const)\s+(?:[\w$]+\s*(?:=[^=]|[;,]\s*[\w$]+\s*[=,;])|[{\[][\w$,\s]+[}\]]\s*=)|(?:async\s+)?function\s*[\w$]*\s*\([\w$,\s]*\)\s*\{|[!(;+~]+\s*(?:async\s+)?function\b"""
    rb"""|[!(]*\([\w$,\s]*\)\s*=>|(?:window|document|self|module|exports|jQuery|google|\$)\s*(?:\.[\w$.]+\s*[=(]|\(|\[|=)|import\s*(?:[\w{*'"].{0,200}?\bfrom\b\s*)?['"]|export\s+(?:default|const|function|class|\{)"""
    rb"""|(?:define|require|webpackJsonp\w*)\s*\(|(?:if|try)\s*(?:\(\s*(?:typeof|window|document|self|!)|\{)|[\w$.]{1,80}\(\s*[\[{]\s*["\]}])""",
    re.S,
)
_STYLE = re.compile(
    _AHEAD
    + rb"(?:@(?:charset|import)\s*[\"'u]|@(?:media|font-face|namespace|(?:-webkit-)?keyframes|supports|page|layer)\b[^{}<>]{0,400}\{|[.#*:\[\w][^{}<;]{0,500}\{\s*(?:/\*[^*]{0,200}\*/\s*)?-{0,2}[a-z][a-z\-]{1,40}\s*:[^{}<>]{1,2000}[;}])",
    re.I | re.S,
)
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*(?:[\[{\"\]\d\-]|true|false|null))")
DECLARED = {
    "image": "image", "audio": "audio", "video": "video", "font": "font", "application/pdf": "pdf", "application/font": "font", "application/x-font": "font",
    "application/javascript": "script", "application/x-javascript": "script", "application/ecmascript": "script", "text/javascript": "script", "text/ecmascript": "script",
    "text/css": "style", "application/json": "data", "text/json": "data", "application/zip": "archive", "application/x-rar": "archive", "application/gzip": "archive",
    "application/x-gzip": "archive", "application/x-tar": "archive", "application/msword": "office", "application/vnd.ms": "office", "application/vnd.openxmlformats": "office",
    "application/vnd.oasis": "office", "application/x-hwp": "office", "application/haansoft": "office", "application/x-shockwave": "program", "application/wasm": "program",
}  # fmt: skip
"""Media types, or how they begin, and the kinds they name where the bytes do not say otherwise."""


def apart(data: bytes, code: bool = False) -> str | None:
    """The kind of bytes that are no text: pdf, image, office, archive, audio, video, font, program, data, binary; None for text.

    `code`: bytes that call themselves a page may be a script, a style sheet or data of a script too (script, style, data);
    they are text, but no page.

    >>> apart(b"%PDF-1.7 ..."), apart(b"PK\\x03\\x04" + bytes(40)), apart(b"Some words."), apart(b"var a = 1;", code=True)
    ('pdf', 'archive', None, 'script')
    """
    head = data[:SNIFF]
    lead = head.lstrip(_LEAD)
    if (found := _MAGIC.match(head) or _MAGIC.match(lead)) is not None:
        return MAGIC[int(re.sub(r"\D", "", found.lastgroup))][0]  # type: ignore[arg-type]
    if lead[:1] == b"<":
        return None
    if not is_text(head):
        from stages.ingest import charset

        return None if charset.wide(head) or charset.escaped(head) else "binary"
    return _code(data, lead) if code else None


def is_page(data: bytes) -> bool:
    """Does it begin as markup and hold a page's elements?"""
    head = data[:SNIFF].lstrip(_LEAD)
    return head[:1] == b"<" and _MARKUP.search(head) is not None


def _code(data: bytes, lead: bytes) -> str | None:
    """Script, style sheet or data, where text that calls itself a page is one."""
    if _JSON.match(lead):
        try:
            json.loads(data)
            return "data"
        except (ValueError, RecursionError):
            return None
    if _MARKUP.search(lead) and not lead.startswith((b"/*", b"//")):
        return "script" if _SCRIPT.match(lead) and not _PAGE.search(lead) else None
    return "style" if _STYLE.match(lead) else "script" if _SCRIPT.match(lead) else None


def declared(medium: str) -> str | None:
    """The kind that a media type names, where it names one that is no text.

    >>> declared("image/png"), declared("application/vnd.ms-excel"), declared("text/plain")
    ('image', 'office', None)
    """
    return next(
        (
            kind
            for name, kind in DECLARED.items()
            if medium == name or medium.startswith((name + "/", name + "-", name + "."))
        ),
        None,
    )
