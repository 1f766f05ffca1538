"""Personal data out of what is shown or noted: by what the stages bring for it (`mask` of their report hooks)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pipeline.engine import catalog


def mask(texts: list[str]) -> list[str]:
    """Texts without personal data, by every `mask` that a stage's report hook brings: whatever stage they come from."""
    for module in catalog.hooks("report"):
        texts = module.mask(texts) if hasattr(module, "mask") else texts
    return texts


EDGE = 200
"""Characters read beyond what is shown, for what a cut would leave a part of."""


def beginnings(texts: Sequence[str], cut: int, mask: Callable[[list[str]], list[str]]) -> list[str]:
    """The first `cut` characters of texts, masked before they are cut, so that no part of a number is left at the end."""
    wide = [text[: cut + EDGE] for text in texts]
    shown = []
    for new, text in zip(mask(wide) if wide else [], texts):
        # A part of a number at the end of what was read is never shown, however short the masks before it are.
        end = cut if len(text) <= cut + EDGE else max(0, min(cut, len(new) - EDGE))
        shown.append(new[:end] + (" …" if len(new) > end or len(text) > cut + EDGE else ""))
    return shown


def masked(names: Sequence[str | None]) -> list[str | None]:
    """Names of files, places in them and notes without personal data. Most cannot hold any and are not looked at."""
    odd = sorted({name for name in names if name and _may(name)})
    if not odd:
        return list(names)
    found = dict(zip(odd, mask(odd), strict=True))
    return [found.get(name, name) if name else name for name in names]


_NONE = re.compile(r"<?urn:uuid:[0-9a-fA-F-]{36}>?|(?:[a-z]+:\d+:?)+")
"""Places that hold no personal data: identifiers of records, numbers of lines, rows and records."""
_STAMP = re.compile(r"(?<!\d)(?:19|20)\d{2}[-_.]?[01]\d[-_.]?[0-3]\d(?:\d{2,9})?(?!\d)")
"""Dates, with or without a time."""
_DATA = re.compile(
    r"[@\uff20\ufe6b]|\d(?:[\W_]{0,3}\d){5}|[\uac00-\ud7a3].*\d|[A-Za-z]\d{7}|\d{1,3}(?:\.\d{1,3}){3}", re.S
)
"""What an address of mail, a number of a person, a street or a machine has at least; \\d is a digit of any script."""


def _may(name: str) -> bool:
    return not _NONE.fullmatch(name) and _DATA.search(_STAMP.sub("", name)) is not None
