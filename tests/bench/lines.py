"""Lines and statements by room, of two commits: `python tests/bench/lines.py BEFORE AFTER`, a Markdown table.

Statements are counted by the parser, so that another line length or formatter changes nothing; docstrings count as none.
"""

import ast
import io
import subprocess
import sys
import tarfile
from collections import Counter


def room(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "stages" and len(parts) > 2 else parts[0]


def statements(source: str) -> int:
    def is_text(node: ast.stmt) -> bool:
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

    return sum(isinstance(node, ast.stmt) and not is_text(node) for node in ast.walk(ast.parse(source)))


def counted(commit: str) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Files, lines and statements by room of the Python files of a commit."""
    files, lines, found = Counter(), Counter(), Counter()
    packed = subprocess.run(
        ["git", "archive", commit, "pipeline", "stages", "tests"], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if member.name.endswith(".py") and (handle := archive.extractfile(member)) is not None:
                source, name = handle.read().decode("utf-8"), room(member.name)
                files[name] += 1
                lines[name] += len(source.splitlines())
                found[name] += statements(source)
    return files, lines, found


def main() -> None:
    before, after = (counted(commit) for commit in sys.argv[1:3])
    print("| room | files | lines | statements |\n|---|---|---|---|")
    names = sorted({*before[0], *after[0]} - {"tests"})
    rows = [(name, [name]) for name in names] + [("all but tests", names), ("tests", ["tests"])]
    for title, some in rows:
        cells = []
        for one, other in zip(before, after):
            first, last = sum(one[name] for name in some), sum(other[name] for name in some)
            change = f" ({(last - first) / first:+.0%})" if first else " (new)"
            cells.append(f"{first:,} -> {last:,}{change}")
        print(f"| {title} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
