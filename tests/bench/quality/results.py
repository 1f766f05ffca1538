"""RESULTS.md as sections, so that each script writes its own and leaves the others."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parent / "RESULTS.md"
TITLE = "# Quality, measured"


def put(head: str, lines: list[str]) -> str:
    """Set the section `## head` of RESULTS.md; the section as text."""
    page = PAGE.read_text("utf-8") if PAGE.is_file() else TITLE + "\n"
    parts = page.split("\n## ")
    sections = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in parts[1:]}
    sections[head] = "\n" + "\n".join(lines).strip() + "\n"
    PAGE.write_text(
        TITLE + "\n" + "".join(f"\n## {name}\n{body.rstrip()}\n" for name, body in sections.items()), "utf-8"
    )
    return f"## {head}\n{sections[head]}"
