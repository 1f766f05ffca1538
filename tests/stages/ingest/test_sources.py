"""Which files a source names, and under which names: the same on every machine and disk."""

from __future__ import annotations

import json
import os
import socket

import pytest

from pipeline.errors import SourceError
from stages.ingest.sources import listing, opened
from tests.s3 import served


def names(*entries) -> list[str]:
    return [file.name for file in listing([str(entry) for entry in entries])]


@pytest.fixture
def tree(tmp_path):
    for name in ("raw/b/2.txt", "raw/a.txt", "raw/.hidden/x.txt", "raw/.secret", "raw/c.tmp", "other/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_a_folder_a_file_a_glob(tree):
    assert names(tree / "raw") == ["a.txt", "b/2.txt"]
    assert names(tree / "raw/b/2.txt") == ["2.txt"]
    assert names(tree / "*/*.txt") == ["other/a.txt", "raw/a.txt"]
    assert names(tree / "raw/**/*.txt")[:2] == ["a.txt", "b/2.txt"]
    assert names(tree / "r*") == ["raw/a.txt", "raw/b/2.txt"]


def test_names_do_not_depend_on_where_the_root_lies(tree, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    os.rename(tree / "raw", elsewhere / "raw")
    moved = listing([str(elsewhere / "raw")])
    monkeypatch.chdir(elsewhere)
    assert [(f.name, f.digest) for f in moved] == [(f.name, f.digest) for f in listing(["raw"])]


def test_two_roots_with_one_name_are_told_apart_and_a_file_named_twice_is_one(tree):
    assert names(tree / "raw", tree / "other") == ["a.txt", "a.txt~2", "b/2.txt"]
    assert names(tree / "raw/a.txt", tree / "raw/a.txt") == ["a.txt"]


def test_contents_decide_the_digest(tree):
    before = listing([str(tree / "raw/a.txt")])[0].digest
    (tree / "raw/a.txt").write_text("other words")
    assert listing([str(tree / "raw/a.txt")])[0].digest != before


def test_nothing_there_is_one_clear_error(tree):
    with pytest.raises(SourceError, match="names no file"):
        listing([str(tree / "nowhere/*.warc.gz")])


def test_a_saved_dataset_is_its_rows_alone(tmp_path):
    folder = tmp_path / "set" / "train"
    folder.mkdir(parents=True)
    for name in ("data-00000-of-00001.arrow", "cache-1.arrow", "dataset_info.json"):
        (folder / name).write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (tmp_path / "set" / "dataset_dict.json").write_text("{}")
    assert names(tmp_path / "set") == ["train/data-00000-of-00001.arrow"]


@pytest.fixture(scope="module")
def bucket():
    """A bucket on a real S3 server process on loopback."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    import fsspec

    with served("raw-bucket") as path:
        fs = fsspec.filesystem("s3", client_kwargs={"endpoint_url": os.environ["AWS_ENDPOINT_URL"]})
        for name in ("in/a.txt", "in/b/c.jsonl"):
            fs.pipe_file(f"raw-bucket/{name}", f'{{"text": "words of {name}"}}'.encode())
        yield path


def test_object_storage_is_listed_and_read_as_a_disk_is(bucket, ingest, rows):
    assert names(f"{bucket}/in") == ["a.txt", "b/c.jsonl"]
    assert names(f"{bucket}/in/*.txt") == ["a.txt"] and names(f"{bucket}/in/a.txt") == ["a.txt"]
    with opened(listing([f"{bucket}/in/a.txt"])[0]) as handle:
        assert b"words of in/a.txt" in handle.read()
    with pytest.raises(SourceError, match="names no file"):
        listing([f"{bucket}/none/*.txt"])
    assert [row["source"] for row in rows(ingest(f"{bucket}/in"))] == ["a.txt", "b/c.jsonl"]


def odd_folder(tmp_path):
    """A folder with a sound file, a pipe, a socket, links within, out of it and to a device, and a name of CP949 bytes."""
    import os

    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("root:x:0:0")
    (folder / "a.txt").write_text("sound words")
    os.mkfifo(folder / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "socket.txt"))
    (folder / "within.txt").symlink_to("a.txt")
    (folder / "out.txt").symlink_to("../secret.txt")
    (folder / "zero.txt").symlink_to("/dev/zero")
    (folder / "nowhere.txt").symlink_to("none")
    with open(os.fsencode(folder) + b"/" + "한글".encode("cp949") + b".jsonl", "wb") as out:
        out.write('{"text": "한글 파일"}\n'.encode())
    return folder


def test_only_regular_files_of_the_folder_are_read(tmp_path, ingest, rows, reasons):
    """A pipe would hang, /dev/zero never end, and a link out of the folder make a document of what nobody gave."""
    store = ingest(odd_folder(tmp_path))
    assert sorted(row["text"] for row in rows(store)) == ["sound words", "sound words", "한글 파일"]
    assert reasons(store) == {None: 3, "ingest.not_a_file": 4, "ingest.open_failed": 1}
    notes = " ".join(note or "" for note in store.ledgers()["note"].to_pylist())
    assert all(word in notes for word in ("a named pipe", "a socket", "a device", "a link out of the folder"))


def test_links_out_of_the_folder_are_read_where_asked(tmp_path, ingest, rows, reasons):
    store = ingest(odd_folder(tmp_path), follow_links=True)
    assert "root:x:0:0" in [row["text"] for row in rows(store)] and reasons(store)["ingest.not_a_file"] == 3


@pytest.mark.parametrize("wild, out, folders", [("", 0, 3), ("/*", 0, 3), ("/*/*.txt", 2, 0)])
def test_links_to_folders_are_accounted_for(tmp_path, ingest, rows, reasons, wild, out, folders):
    """Out of the folder, back into it and to itself: none is entered, whichever way the files are named."""
    for name in ("in/own/deep", "beside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in/own/a.txt").write_text("sound words")
    for name in ("s.txt", "t.txt"):
        (tmp_path / "beside" / name).write_text("root:x:0:0")
    (tmp_path / "in/outside").symlink_to("../beside")
    (tmp_path / "in/within").symlink_to("own/deep")
    (tmp_path / "in/self").symlink_to(".")
    store = ingest(f"{tmp_path / 'in'}{wild}")
    assert [row["text"] for row in rows(store)] == ["sound words"]
    notes = [note or "" for note in store.ledgers()["note"].to_pylist()]
    assert (
        sum("a link out of the folder" in note for note in notes) == out
        and sum("a link to a folder" in note for note in notes) == folders
    )
    assert reasons(store) == {None: 1, **({"ingest.not_a_file": out + folders} if out + folders else {})}


def test_a_name_that_is_no_utf8_is_shown_by_replacement_and_known_by_its_bytes(tmp_path, ingest, rows):
    import os

    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"\xb1.txt", b"\xb2.txt"):
        with open(os.fsencode(folder) + b"/" + name, "wb") as out:
            out.write(b"words")
    found = rows(ingest(folder))
    assert [row["source"] for row in found] == ["\ufffd.txt"] * 2 and len({row["id"] for row in found}) == 2
    assert [row["id"] for row in rows(ingest(folder, "again"))] == [row["id"] for row in found]


def test_a_file_of_a_folder_is_looked_at_once(tmp_path, monkeypatch):
    """A million files are listed at every run: what is asked of the disk for each more of them is its status, and nothing else."""
    asked, looks = [0], []
    for name in ("stat", "lstat", "readlink", "open", "access"):

        def counted(*args, ask=getattr(os, name), **more):
            asked[0] += 1
            return ask(*args, **more)

        monkeypatch.setattr(os, name, counted)
    for count in (20, 50):
        for number in range(count):
            path = tmp_path / f"{count}/in/deeper/{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("words")
        for given in (f"{tmp_path}/{count}", f"{tmp_path}/{count}/in/deeper/*.txt"):
            asked[0] = 0
            assert len(listing([given], digest=lambda marks: [""] * len(marks))) == count
            looks.append(asked[0])
    assert looks[2] - looks[0] == 30, "a folder"
    assert looks[3] - looks[1] == 2 * 30, "a glob asks whether it is a folder too"
