"""Tables are opened by their consumers' own readers: the same rows, columns and ids in the same order; killed, an export goes on."""

import hashlib
import io
import json
import tarfile

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyarrow import csv

from pipeline.errors import SourceError, StoreError, UsageError
from pipeline.schema import fitted
from pipeline.storage.files import filesystem
from stages.export import columns, files
from stages.export.commands import StoreExport

TEXTS = [f'{n}번째 글이다.\n"맷돌", mill\tstone {"콩" * (n % 7)}' for n in range(60)]


def entry(key, value, kind=None):
    return {"key": key, "value": value, "type": kind}


@pytest.fixture
def store(make_store, tmp_path):
    """Three shards of 20 documents with line breaks, quotes, commas, an empty text, a null, and `meta` of several types."""
    metas = [
        [entry("site", f"s{n % 3}"), entry("votes", str(n), "json"), entry("ok", "true" if n % 2 else "false", "json")]
        + ([entry("score", f"{n}.5" if n % 4 else str(n), "json"), entry("site", "second")] if n % 5 else [])
        + ([entry("author", '{"name": "지은"}', "json")] if n == 7 else [])
        for n in range(60)
    ]
    texts = [*TEXTS[:58], "", None]
    langs = [("ko", "en", None)[n % 3] for n in range(60)]
    return make_store(tmp_path / "corpus", texts, 3, lang=langs, meta=metas, title=[f"t{n}" for n in range(60)])


def export(store, out, **options):
    assert StoreExport(store=store.path, out=str(out), **options).run() == 0
    return json.loads(filesystem(out).read("export.json"))


def paths(out, page):
    return [str(out / name) for part in page["parts"] for name in part["files"]]


def whole(store):
    return fitted(pa.concat_tables(store.read(shard) for shard in store.shards()), store.schema)


def digests(out):
    return {
        p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*") if p.is_file()
    }


def test_parquet(store, tmp_path):
    from datasets import load_dataset

    page = export(store, tmp_path / "out", to="parquet", size=3000)
    found = paths(tmp_path / "out", page)
    assert len(found) > 3 and page["rows"] == 60
    table = pa.concat_tables(map(pq.read_table, found))
    assert table.to_pylist() == whole(store).to_pylist() and table.schema.names == store.schema.names
    data = load_dataset("parquet", data_files=found, split="train", cache_dir=str(tmp_path / "cache"))
    assert data.to_list() == whole(store).to_pylist()
    assert pl.read_parquet(found).equals(pl.from_arrow(whole(store)))


def test_json_lines(store, tmp_path):
    from datasets import load_dataset

    page = export(store, tmp_path / "out", to="jsonl.zst", size=3000)
    found, rows = paths(tmp_path / "out", page), whole(store).to_pylist()
    lines = [json.loads(line) for path in found for line in zstandard.open(path, "rt", encoding="utf-8")]
    assert lines == rows and list(lines[0]) == store.schema.names
    data = load_dataset("json", data_files=found, split="train", cache_dir=str(tmp_path / "cache"))
    assert data["text"] == [row["text"] for row in rows] and data["id"] == [row["id"] for row in rows]


def test_csv(store, tmp_path):
    page = export(store, tmp_path / "out", to="csv", size=3000, meta="flat")
    read = csv.ParseOptions(newlines_in_values=True)
    kinds = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    tables = [csv.read_csv(path, parse_options=read, convert_options=kinds) for path in paths(tmp_path / "out", page)]
    rows = whole(store).to_pylist()
    for name in ("id", "text", "lang", "title"):
        assert [v for table in tables for v in table[name].to_pylist()] == [row[name] for row in rows], name
    assert [v for table in tables for v in table["meta.votes"].to_pylist()] == list(range(60))
    assert pl.read_csv(paths(tmp_path / "out", page)[0])["text"].to_list() == [
        r["text"] for r in rows[: len(tables[0])]
    ]


def test_a_folder_of_datasets(store, tmp_path):
    from datasets import load_from_disk

    export(store, tmp_path / "out", to="datasets", size=3000)
    data = load_from_disk(str(tmp_path / "out"))
    assert data.to_list() == whole(store).to_pylist() and data.column_names == store.schema.names
    again = load_from_disk(str(tmp_path / "out"))
    assert data._fingerprint == again._fingerprint


def test_tar_files_of_webdataset(store, tmp_path):
    """The layout its reader expects: members of a sample follow each other and share all up to the first point."""
    page = export(store, tmp_path / "out", to="webdataset", size=3000, columns=["id", "text", "lang"])
    samples = {}
    for path in paths(tmp_path / "out", page):
        with tarfile.open(path) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                key, _, kind = member.name.partition(".")
                samples.setdefault(key, {})[kind] = tar.extractfile(member).read().decode()
    rows = whole(store).to_pylist()
    assert list(samples) == [row["id"] for row in rows]
    for sample, row in zip(samples.values(), rows):
        assert json.loads(sample["json"]) == {"id": row["id"], "lang": row["lang"]} and sample.get("txt") == row["text"]


def test_conversations_keep_tool_calls(make_rows_store, tmp_path):
    from datasets import load_dataset

    call = {"id": "c1", "name": "weigh", "arguments": '{"grain": "콩"}'}
    turn = dict.fromkeys(("reasoning", "tool_calls", "name", "tool_call_id", "train"))
    said = [
        {**turn, "role": "user", "content": "콩?"},
        {**turn, "role": "assistant", "content": "", "tool_calls": [call], "train": True},
        {**turn, "role": "tool", "content": "3 kg", "tool_call_id": "c1", "name": "weigh"},
    ]
    chats = make_rows_store("CHAT", [{"id": f"{n:032x}", "messages": said, "tools": "[]"} for n in range(5)])
    for to, builder in (("parquet", "parquet"), ("jsonl.zst", "json")):
        page = export(chats, tmp_path / to, to=to)
        data = load_dataset(
            builder, data_files=paths(tmp_path / to, page), split="train", cache_dir=str(tmp_path / "c")
        )
        assert data[4]["messages"] == said and data[4]["tools"] == "[]" and len(data) == 5


# -- columns -----------------------------------------------------------------------------------------------------------------


def test_columns_are_chosen_and_renamed(store, tmp_path):
    wanted = ["title=name", "id", "meta.author.name=author", "meta=about"]
    page = export(store, tmp_path / "out", to="parquet", columns=wanted, meta="json")
    rows = pq.read_table(paths(tmp_path / "out", page)[0]).to_pylist()
    assert list(rows[0]) == ["name", "id", "author", "about"] and rows[3]["name"] == "t3"
    assert [row["author"] for row in rows[:9]] == [None] * 7 + ["지은", None]
    assert json.loads(rows[6]["about"]) == {"site": "s0", "votes": 6, "ok": False, "score": 6.5}


def test_flat_meta_has_the_types_of_its_values(store, tmp_path):
    page = export(store, tmp_path / "out", to="parquet", columns=["meta", "id"], meta="flat")
    table = pq.read_table(paths(tmp_path / "out", page)[0])
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds == {
        "meta.author": "large_string", "meta.ok": "bool", "meta.score": "double", "meta.site": "large_string",
        "meta.votes": "int64", "id": "large_string",
    }  # fmt: skip
    rows = table.to_pylist()
    assert rows[6] == {
        "meta.author": None, "meta.ok": False, "meta.score": 6.5, "meta.site": "s0", "meta.votes": 6, "id": rows[6]["id"],
    }  # fmt: skip
    assert rows[4]["meta.score"] == 4.0 and rows[5]["meta.score"] is None


def test_values_of_unlike_types_are_text():
    def kinds(*values):
        column = pa.chunked_array([pa.array([[entry("k", v, "json") for v in values]], columns.META)])
        return str(columns.keys_of(iter([column]))["k"])

    assert [kinds("1", "2"), kinds("1", "2.5"), kinds("1", "null"), kinds("true"), kinds("1", "true")] == [
        "int64", "double", "int64", "bool", "large_string",
    ]  # fmt: skip
    assert kinds(str(1 << 70)) == kinds("[1]") == kinds("NaN") == kinds("null") == "large_string"


def test_what_cannot_be_is_refused(store, tmp_path, tiny_tokenizer):
    for options, match in (
        ({"columns": ["txt"]}, "no column 'txt'"),
        ({"columns": ["id", "text=id"]}, "two columns are called 'id'"),
        ({"to": "trl"}, "no form"),
        ({"to": "mds"}, "is for token ids"),
        ({"to": "csv", "unit": "documents"}, "does not use --unit"),
    ):
        with pytest.raises(UsageError, match=match):
            StoreExport(store=store.path, out=str(tmp_path / "out"), **{"to": "parquet", **options}).run()
    with pytest.raises(SourceError, match="artefact"):
        StoreExport(store=tiny_tokenizer.path, out=str(tmp_path / "out")).run()
    for out in (store.path, f"{store.path}/out", str(tmp_path)):
        with pytest.raises(UsageError):
            StoreExport(store=store.path, out=out).run()


# -- going on ----------------------------------------------------------------------------------------------------------------


def test_a_killed_export_goes_on_with_the_same_bytes(store, tmp_path, monkeypatch):
    export(store, tmp_path / "clean", to="parquet", size=3000)
    out, made = tmp_path / "out", []

    def until(most):
        def run(task, real=files.run_task):
            if len(made) == most:
                raise StoreError("killed")
            made.append(task.number)
            return real(task)

        return run

    real = files.run_task
    monkeypatch.setattr(files, "run_task", until(2))
    with pytest.raises(StoreError):
        StoreExport(store=store.path, out=str(out), to="parquet", size=3000).run()
    assert not (out / "export.json").exists() and len(list((out / "data").iterdir())) == 2
    next((out / "data").iterdir()).write_bytes(b"torn")  # in the middle of a file: its length says so
    monkeypatch.setattr(files, "run_task", lambda task: (made.append(task.number), real(task))[1])
    page = export(store, out, to="parquet", size=3000)
    assert len(made) == 2 + len(page["parts"]) - 1
    assert digests(out) == digests(tmp_path / "clean")
    made.clear()
    export(store, out, to="parquet", size=3000)
    assert made == [] and digests(out) == digests(tmp_path / "clean")


def test_other_options_replace_what_was_there(store, tmp_path):
    out = tmp_path / "out"
    export(store, out, to="parquet", size=3000)
    (out / "mine.txt").write_text("kept")
    export(store, out, to="datasets")
    assert {p.name for p in out.rglob("*") if p.is_file()} == {
        "mine.txt", "README.md", "export.json", "dataset_info.json", "state.json", "data-00000-of-00001.arrow",
    }  # fmt: skip
    export(store, out, to="csv")
    assert {p.name for p in out.rglob("*") if p.is_file()} == {
        "mine.txt", "README.md", "export.json", "corpus-00000-of-00001.csv",
    }  # fmt: skip


def test_a_receipt_deletes_nothing_outside(store, tmp_path):
    """A receipt is data: what it names is deleted inside its folder alone."""
    (tmp_path / "out").mkdir()
    (tmp_path / "mine.txt").write_text("kept")
    part = {
        "key": "",
        "rows": 0,
        "left_out": {},
        "files": {"../mine.txt": {"bytes": 4}, "a/../../mine.txt": {"bytes": 4}},
    }
    (tmp_path / "out" / "export.json").write_text(json.dumps({"parts": [part]}))
    export(store, tmp_path / "out", to="csv")
    assert (tmp_path / "mine.txt").exists()


def test_object_storage_has_the_same_bytes(store, tmp_path):
    page = export(store, tmp_path / "out", to="datasets", size=3000)
    there = export(store, "memory://bucket/out", to="datasets", size=3000)
    assert page == there
    where = filesystem("memory://bucket/out")
    assert {name: hashlib.sha256(where.read(name)).hexdigest() for name in where.sizes("")} == digests(tmp_path / "out")


def test_parts_are_those_of_training(store, tmp_path):
    train, held = (
        export(store, tmp_path / part, to="parquet", part=part, holdout=0.3) for part in ("train", "heldout")
    )
    assert train["rows"] + held["rows"] == 60 and held["rows"] > 5
    assert train["left_out"] == {"export.held_out": held["rows"]}
    from stages.models.holdout import document_keys, held_out

    table = pa.concat_tables(map(pq.read_table, paths(tmp_path / "heldout", held)))
    assert held_out(document_keys(table), 0.3).all()


def test_the_receipt_says_what_was_written(store, tmp_path):
    page = export(store, tmp_path / "out", to="csv", size=3000)
    for part in page["parts"]:
        for name, proof in part["files"].items():
            data = (tmp_path / "out" / name).read_bytes()
            assert proof == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert sum(part["rows"] for part in page["parts"]) == page["rows"] == 60
    assert str(tmp_path) not in (tmp_path / "out" / "export.json").read_text()


@pytest.mark.slow
def test_workers_change_no_byte(store, tmp_path):
    export(store, tmp_path / "one", to="jsonl.zst", size=3000)
    export(store, tmp_path / "two", to="jsonl.zst", size=3000, workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_what_is_written_is_counted():
    sink = io.BytesIO()
    made = files.ExportedFile(sink)
    made.write(pa.py_buffer(b"abc"))
    made.write(memoryview(b"d"))
    assert made.proof() == {"bytes": 4, "sha256": hashlib.sha256(b"abcd").hexdigest()} and sink.getvalue() == b"abcd"
