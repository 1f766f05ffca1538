"""What mkdocs asks while it builds: options, filters and rules are written into the pages from the code that declares them.

A line `<!-- about: STAGE -->` becomes the docstring of that stage, `<!-- options: STAGE -->` the table of its inputs and
options, `<!-- members: STAGE KIND -->` the table of the files of a registry, such as quality's filters.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

ASKED = re.compile(r"^<!-- (about|options|members): ([a-z_ ]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its tables in place."""
    return ASKED.sub(
        lambda found: {"about": about, "options": options, "members": members}[found[1]](*found[2].split()), markdown
    )


def about(name: str) -> str:
    """What the stage's class says of itself, under a heading."""
    from pipeline.engine import catalog

    return "## In detail\n\n" + (inspect.getdoc(catalog.stage(name)) or "")


def options(name: str) -> str:
    """Inputs and options of a stage, as two tables."""
    from pipeline.engine import catalog
    from pipeline.flags import fields_of

    stage = catalog.stage(name)
    lines = ["## Inputs and output", "", "| Input | Shape | |", "|---|---|---|"]
    for port, declared in stage.ports.items():
        how = ", ".join(word for word, yes in (("several", declared.many), ("optional", declared.optional)) if yes)
        lines.append(f"| `{port}` | {_cell(declared.shape)} | {how} |")
    if not stage.ports:
        lines.append("| `from` | files, folders, globs, URLs | |")
    lines += ["", f"Output: {stage.output_shape or 'the shape of its input (see above)'}.", "", "## Options", ""]
    lines += ["| Option | Default | Meaning |", "|---|---|---|"]
    for word, (_, declared) in fields_of(stage).items():
        lines.append(f"| `{word}` | {_default(declared)} | {_cell(declared.description or '')} |")
    if stage.also:
        lines += ["", "Also read: " + ", ".join(f"`{theirs}` as `{ours}`" for theirs, ours in stage.also.items()) + "."]
    return "\n".join(lines)


def members(stage: str, kind: str) -> str:
    """Every file of a registry: its name and the first line of its class's docstring."""
    from pipeline.engine import catalog

    rows = [(name, catalog.member(stage, kind, name)) for name in catalog.members(stage, kind)]
    lines = [f"| {kind.removesuffix('s').capitalize()} | What it looks at |", "|---|---|"]
    lines += [f"| `{name}` | {_cell((inspect.getdoc(one) or '').splitlines()[0])} |" for name, one in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _default(declared: Any) -> str:
    from pipeline.options import group_of

    if declared.is_required():
        return "needed"
    value = declared.get_default(call_default_factory=True)
    if value is None or value == () or value == "" or group_of(declared):
        return "none"
    text = ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    return f"`{_cell(text)}`" if len(text) < 60 else "see `maetdol explain`"
