"""The finder of a stage: the kernels, and after them what the options add - names, presidio's own and the user's recognisers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from stages.pii.detect import Finding, apart, detect
from stages.pii.entities import NAMED, PATTERNED

if TYPE_CHECKING:
    from stages.pii import Pii

Find = Callable[[pa.Array], list[Finding]]


def finder(options: Pii, wanted: frozenset[str]) -> tuple[Find, tuple[str, ...]]:
    """(texts -> findings without overlaps, kinds that only the user's recognisers know) under `options`."""
    patterned = frozenset(wanted & set(PATTERNED))
    finders: list[Find] = [partial(detect, entities=patterned, floor=options.min_score)]
    further: tuple[str, ...] = ()
    if options.names != "off" and wanted & set(NAMED):
        from stages.pii.engines.names import names_finder

        finders.append(names_finder(options.model, frozenset(wanted & set(NAMED)), options.min_score))
    if options.recognizers:
        from stages.pii.engines.presidio import recognizers_finder

        find, further = recognizers_finder(options.recognizers, options.min_score)
        finders.append(find)
    return (finders[0] if len(finders) == 1 else partial(_together, finders)), further


def _together(finders: list[Find], texts: pa.Array) -> list[Finding]:
    """Findings of all finders; of those that overlap the longest stands, then the best scored, then the earlier finder's."""
    by_item: dict[int, list[Finding]] = {}
    for find in finders:
        for finding in find(texts):
            by_item.setdefault(finding.item, []).append(finding)
    return [finding for item in sorted(by_item) for finding in apart(by_item[item])]
