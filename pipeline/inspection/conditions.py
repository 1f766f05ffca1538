"""What rows are asked for by: SQL conditions and patterns of text, as polars expressions, and polars' faults in a line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError, did_you_mean
from pipeline.schema import TEXT_FIELDS

if TYPE_CHECKING:
    import polars as pl

PATTERN = 1000
"""Characters of a search pattern or condition."""


# -- SQL -------------------------------------------------------------------------------------------------------------------

WORDS = frozenset(
    "and or not in is null true false between like ilike rlike regexp escape case when then else end any as date cast try_cast"
    " int integer bigint double float real boolean varchar text".split()
)
"""Words of a condition beside columns and functions."""
FUNCTIONS = frozenset(
    "abs ceil floor round sqrt ln log10 mod greatest least coalesce nullif ifnull lower upper length char_length octet_length left right"
    " substr strpos starts_with ends_with regexp_like array_length array_contains array_max array_min array_sum array_mean".split()
)
"""Functions of a condition: those that read one value and whose answer is no larger than it. Others make texts of any length (`rpad`)
or, after FROM, read files and addresses (`read_csv`) before anything is asked of the rows."""
TOKEN = re.compile(
    r"""\s+ | '(?:[^']|'')*' | "(?P<name>(?:[^"]|"")+)" (?!\s*\() | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w'"])
    | (?P<word>[^\W\d]\w*) (?P<call>\s*\()? (?!['"]) | -(?!-) | /(?!\*) | [()\[\],=<>!+*%~:]""",
    re.X,
)


def where(frame: pl.LazyFrame, condition: str) -> pl.LazyFrame:
    """Rows for which an SQL expression holds: `lang = 'ko' AND lang_score < 0.7`. Names with a dot stand in double quotes.

    UsageError where it cannot be read, names a column that is not there, or holds words other than columns, `WORDS` and `FUNCTIONS`.
    """
    import polars as pl

    _short(condition)
    with questions():
        _known(condition, frame.collect_schema().names())
        return frame.filter(pl.sql_expr(condition))


def _known(condition: str, columns: Collection[str]) -> None:
    """Every word of a condition is a column or one of the known ones: polars reads what stands after FROM as it parses."""
    at = 0
    while at < len(condition):
        token = TOKEN.match(condition, at)
        if token is None:
            raise UsageError(f"cannot be asked: {condition[at : at + 40]}", HINT)
        at = token.end()
        name, word = token["name"], token["word"]
        if name is not None and name.replace('""', '"') not in columns:
            raise UsageError(f"there is no column {name!r}", did_you_mean(name, sorted(columns)))
        if word is None or word.lower() in WORDS:
            continue
        if token["call"] and word.lower() not in FUNCTIONS:
            raise UsageError(f"there is no function {word!r}", did_you_mean(word, sorted(FUNCTIONS)))
        if not token["call"] and word not in columns:
            raise UsageError(f"there is no column {word!r}", did_you_mean(word, sorted(columns)))


HINT = "text in single quotes, column names with a dot in double ones"


@contextmanager
def questions() -> Iterator[None]:
    """Faults of polars as UsageError: what was asked cannot be read, or does not fit the columns."""
    import polars as pl

    try:
        yield
    except pl.exceptions.PolarsError as fault:
        line = re.sub(
            r'\[".*', "[...]", str(fault).partition("This error occurred")[0], flags=re.S
        )  # no values of rows
        line = " ".join(line.split())[:300]
        regex = "write it as Rust's regex crate reads it, or ask for the words as they are (literal)"
        raise UsageError(f"cannot be asked: {line}", regex if "regex" in line else HINT) from None


# -- patterns --------------------------------------------------------------------------------------------------------------

TEXT = {name for names in TEXT_FIELDS.values() for name in names} | {"note", "locator"}
"""Columns that are searched."""


def grep(frame: pl.LazyFrame, pattern: str, columns: Sequence[str] = (), literal: bool = False) -> pl.LazyFrame:
    """Rows in which a text column holds `pattern`: a regular expression (Rust's: linear time, no look-around), or the words
    themselves where `literal`. `columns`: default all that hold text of the corpus, messages and metadata included."""
    import polars as pl

    _short(pattern)
    schema = frame.collect_schema()
    for name in columns:
        if name not in schema:
            raise UsageError(f"there is no column {name!r}", did_you_mean(name, schema.names()))
    wanted = columns or [name for name in schema if name in TEXT]
    found = [held for name in wanted if (held := _holds(pl.col(name), schema[name], pattern, literal)) is not None]
    if not found:
        raise UsageError("no column of these rows holds text", "name one that does with columns")
    return frame.filter(pl.any_horizontal(found))


def _holds(value: pl.Expr, kind: Any, pattern: str, literal: bool) -> pl.Expr | None:
    """Does a value of this type hold the pattern anywhere? None for types without text."""
    import polars as pl

    if kind == pl.String:
        return value.str.contains(pattern, literal=literal).fill_null(False)
    if isinstance(kind, pl.List):
        inner = _holds(pl.element(), kind.inner, pattern, literal)
        return None if inner is None else value.list.eval(inner).list.any().fill_null(False)
    if isinstance(kind, pl.Struct):
        parts = [
            own
            for field in kind.fields
            if (own := _holds(value.struct.field(field.name), field.dtype, pattern, literal)) is not None
        ]
        return pl.any_horizontal(parts) if parts else None
    return None


def _short(words: str) -> None:
    if len(words) > PATTERN:
        raise UsageError(f"a pattern or condition of {len(words):,} characters", f"write at most {PATTERN:,}")


def matches(row: dict[str, Any] | None, pattern: str, literal: bool = False) -> bool:
    """Does a text column of a row hold the pattern, as `grep` says?"""
    import polars as pl

    if row is None:
        return False
    texts = list(_texts({name: value for name, value in row.items() if name in TEXT}))
    _short(pattern)
    with questions():
        return bool(pl.Series(texts, dtype=pl.String).str.contains(pattern, literal=literal).any())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def first_span(text: str, pattern: str, literal: bool = False) -> tuple[int, int] | None:
    """Where a text first holds the pattern, in characters, as `grep` finds it; None where it does not, or holds nothing there."""
    import polars as pl

    with questions():
        held = pl.Series([text], dtype=pl.String)
        at = held.str.find(pattern, literal=literal).item()  # in bytes of UTF-8
        found = pattern if literal or at is None else held.str.extract(pattern, 0).item()
    if at is None or not found:
        return None
    start = len(text.encode()[:at].decode())
    return start, start + len(found)
