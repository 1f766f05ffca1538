"""What `inspect` and the command line add to reasons of ingest."""

HINTS = {
    "ingest.wrong_columns": "where a name is wrong, give the right one: `columns: {text: body}` (--columns '{text: body}')",
}
"""Reason to hint, for a store in which no row was kept."""
