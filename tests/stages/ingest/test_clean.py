"""The one normalisation of texts: short texts, and texts read in one piece, as the rules say they are, one after the other."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.unicode import normalised
from stages.ingest.row import BLANKS, BREAKS, UNSEEN, clean, clean_name, line_edits

ODD = st.text(
    st.sampled_from("a한 \t\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029\xa0\u200b\ufe0f\u3000é\u0301`\ud800"), max_size=24
)


def plain(text: str) -> str:
    """By the rules alone."""
    text = normalised("NFC", text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    lines = re.sub(f"\r\n|[{BREAKS}]", "\n", text).split("\n")
    kept = [("" if not line.strip(UNSEEN) else line.rstrip(BLANKS)) for line in lines]
    for i, line in enumerate(lines[:-1]):  # a hard break, where words stand before it and a line of words behind it
        if kept[i] and line.endswith("  ") and kept[i + 1]:
            kept[i] += "  "
    return "\n".join(kept)


@settings(deadline=None, max_examples=600)
@given(ODD, st.sampled_from(["", "말" * 300]))
def test_a_text_is_cleaned_by_the_rules_whatever_its_length(odd, long):
    for text in (odd + long, long + odd):
        assert clean(text) == plain(text)
        assert clean_name(text) == plain(text)
        assert clean(clean(text)) == clean(text)
        assert line_edits(clean(text)) == []
