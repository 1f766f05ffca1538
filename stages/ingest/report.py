"""What `inspect` and the command line add to reasons of ingest."""

HINTS = {
    "ingest.wrong_columns": "give the right names: `columns: {text: body}` (--columns '{text: body}')",
}
"""Reason to hint, for a store in which no row was kept."""
