"""The documentation of installed packages: real text, never imported, the same on every run."""

from __future__ import annotations

import sys

import pytest

from stages.ingest.readers import packages
from stages.ingest.readers.packages import Packages


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """One distribution on the path, with metadata, a licence and a module that would raise when imported."""
    info = tmp_path / "querns-2.0.dist-info"
    (info / "licenses").mkdir(parents=True)
    (tmp_path / "querns").mkdir()
    files = {
        "querns-2.0.dist-info/METADATA": "Metadata-Version: 2.4\nName: Querns\nVersion: 2.0\nLicense-Expression: MIT\nProject-URL: Home, https://querns.example\n"
        "Description-Content-Type: text/markdown; charset=UTF-8\n\n# 맷돌\n\nHand mills for everyone.\n",
        "querns-2.0.dist-info/licenses/LICENSE": "Permission is granted to grind. Write to miller@querns.example\n",
        "querns/__init__.py": '"""Mills that one hand turns."""\nraise RuntimeError("imported")\n' + "# padding\n" * 30,
        "querns/tests/test_mill.py": '"""Tests are no documentation."""\n' + "# padding\n" * 30,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (info / "RECORD").write_text(
        "".join(f"{name},sha256=x{number},{len(text.encode())}\n" for number, (name, text) in enumerate(files.items()))
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def documents(options):
    from stages.ingest.readers import read_file
    from stages.ingest.readers.texts import read

    found = {}
    for file in packages.listing(options):
        for raw in read_file(file, 1 << 20):
            found[file.name] = read(raw).values
    return found


def test_readme_licence_and_docstring_of_one_distribution(installed):
    found = documents(Packages(names=["querns"]))
    assert sorted(found) == [
        "installed-packages/querns/info/METADATA",
        "installed-packages/querns/info/licenses/LICENSE",
        "installed-packages/querns/querns/__init__.py",
    ]
    readme = found["installed-packages/querns/info/METADATA"]
    assert (
        readme["text"].startswith("# 맷돌")
        and readme["title"] == "Querns"
        and readme["licence"] == "MIT"
        and readme["url"] == "https://querns.example"
    )
    assert "miller@querns.example" in found["installed-packages/querns/info/licenses/LICENSE"]["text"]
    module = found["installed-packages/querns/querns/__init__.py"]
    assert module["text"] == "Mills that one hand turns." and module["title"] == "querns" and module["licence"] == "MIT"
    assert "querns" not in sys.modules


def test_kinds_and_limits():
    every = packages.listing(Packages())
    assert (
        len(every) > 100
        and {f.within for f in every} == {"readme", "licence", "docstring"}
        and not any("/maetdol/" in f.name for f in every)
    )
    assert every == packages.listing(Packages()) and [f.name for f in every] == sorted(f.name for f in every)
    few = packages.listing(Packages(max_files=10))
    assert len(few) == 10 and {f.within for f in few} == {"readme"}
    small = packages.listing(Packages(max_bytes=50_000))
    assert sum(f.size for f in small) <= 50_000
    assert {f.within for f in packages.listing(Packages(kinds=("licence",), max_files=20))} == {"licence"}


def test_what_a_package_adds_to_the_path_is_not_listed(tmp_path, monkeypatch):
    """Ray puts copies of other libraries on sys.path when it is imported: the listing must not change by that."""
    inside = tmp_path / "site-packages" / "carrier" / "thirdparty_files"
    info = inside / "stowaway-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stowaway\nVersion: 1.0\n\nA description.\n" * 20)
    (info / "RECORD").write_text("stowaway-1.0.dist-info/METADATA,sha256=abc,1200\n")
    before = packages.listing(packages.Packages())
    monkeypatch.setattr(sys, "path", [str(inside), *sys.path])
    assert packages.listing(packages.Packages()) == before
    monkeypatch.setattr(sys, "path", [str(inside), str(tmp_path / "site-packages"), *sys.path])
    assert not [file for file in packages.listing(packages.Packages()) if "stowaway" in file.name]
