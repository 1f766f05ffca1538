"""The number a written answer comes to, as lm-evaluation-harness's two filters of GSM8K find it: behind `####`, else the last one."""

from __future__ import annotations

import re

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def plain(text: str) -> str:
    """A number as it is compared: no commas, no trailing zeros.

    >>> plain(" 1,200.50"), plain("18"), plain("none")
    ('1200.5', '18', '')
    """
    found = NUMBER.findall(text)
    if not found:
        return ""
    value = found[-1].replace(",", "")
    return value.rstrip("0").rstrip(".") if "." in value else value


def number_of(text: str) -> str:
    """The number a written answer comes to: what follows its first `####`, else its last number.

    >>> said("3 + 4 = 7\\n#### 7\\n\\n99"), said("so there are 1,200 of them"), said("I do not know")
    ('7', '1200', '')
    """
    _, marked, rest = text.partition("####")
    found = NUMBER.search(rest) if marked else None
    return plain(found.group()) if found else plain(text)
