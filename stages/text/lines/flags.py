"""What a line is, as bits of the table's `flags`."""

ENDED = 1
"""Ends with one of . ? ! " ' and not with three dots, citations removed: C4's test."""
BROKEN_BY_LF = 2
"""The line break after it is a single line feed."""
TERMINATED = 4
"""Ends with a sentence terminal of any script, or one followed by closing quotes and brackets."""
BLANK_ABOVE = 8
"""A blank line or the text's start stands above it."""
