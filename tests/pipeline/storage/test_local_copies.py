"""Options that name files on object storage: copied to a machine once, keyed by content, never another state than the key's."""

import json
import pickle
from multiprocessing import get_context

import pytest

from pipeline.errors import MaetdolError, OptionError
from pipeline.options import identity
from pipeline.storage.files import filesystem
from pipeline.storage.local_copies import LocalCopy
from pipeline.storage.store import Store
from stages.decontaminate import Decontaminate
from stages.quality.filters.bad_words import BadWords
from tests.s3 import served

ITEMS = [
    {"question": f"{word} 가 처음 세워진 해는 언제이며 누가 그 일을 이끌었는가?", "answer": "1443년"}
    for word in ("집현전", "규장각")
]
LINES = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in ITEMS)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("s3") / "requests"


@pytest.fixture(scope="module")
def bucket(log):
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    with served("mill", log) as path:
        yield path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_an_option_on_object_storage_is_the_path_of_a_copy_with_the_key_of_its_content(bucket, tmp_path):
    filesystem(f"{bucket}/lists").write("a/words.txt", b"darn\n")
    (tmp_path / "words.txt").write_bytes(b"darn\n")
    there, here = BadWords(files=[f"{bucket}/lists/a/words.txt"]), BadWords(files=[str(tmp_path / "words.txt")])
    assert identity(there) == identity(here)
    assert there.files[0].startswith(str(tmp_path / "cache")) and there.files[0].endswith("/words.txt")
    mixed = BadWords(files=[str(tmp_path / "words.txt"), f"{bucket}/lists/a/words.txt"])
    assert [open(path).read() for path in mixed.files] == ["darn\n", "darn\n"]


def test_a_folder_is_copied_whole(bucket):
    fs = filesystem(f"{bucket}/sets")
    for name in ("one/test.jsonl", "two/test.jsonl"):
        fs.write(name, LINES.encode())
    stage = Decontaminate(against=(f"{bucket}/sets/",))
    assert {name: (filesystem(stage.against[0]).read(name)) for name in ("one/test.jsonl", "two/test.jsonl")} == {
        "one/test.jsonl": LINES.encode(), "two/test.jsonl": LINES.encode(),
    }  # fmt: skip


def _read_elsewhere(pickled: bytes, cache: str, answers) -> None:
    import os

    os.environ["XDG_CACHE_HOME"] = cache
    try:
        answers.put(open(pickle.loads(pickled).files[0]).read())
    except MaetdolError as fault:
        answers.put(str(fault))


def test_another_machine_fetches_its_own_copy_and_a_second_task_there_asks_nothing(bucket, log, tmp_path):
    filesystem(f"{bucket}/lists").write("words.txt", b"heck\n")
    stage = pickle.dumps(BadWords(files=[f"{bucket}/lists/words.txt"]))
    context = get_context("spawn")
    answers = context.Queue()
    before, counts = len(log.read_text().splitlines()), []
    for _ in range(2):
        process = context.Process(target=_read_elsewhere, args=(stage, str(tmp_path / "other"), answers))
        process.start()
        assert answers.get(timeout=120) == "heck\n"
        process.join()
        counts.append(len(log.read_text().splitlines()) - before)
    assert 0 < counts[0] == counts[1]


def test_what_changes_while_a_run_uses_it_is_not_taken_for_what_was_keyed(bucket, tmp_path, monkeypatch):
    fs = filesystem(f"{bucket}/lists")
    fs.write("moving.txt", b"before\n")
    stage = BadWords(files=[f"{bucket}/lists/moving.txt"])
    pickled = pickle.dumps(stage)
    fs.write("moving.txt", b"after it\n")
    assert open(pickle.loads(pickled).files[0]).read() == "before\n"  # this machine has the copy
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with pytest.raises(OptionError, match="moving.txt was changed while it was in use"):
        pickle.loads(pickled)
    again = BadWords(files=[f"{bucket}/lists/moving.txt"])
    assert open(again.files[0]).read() == "after it\n" and identity(again) != identity(stage)


def test_what_is_not_there_is_one_line(bucket):
    with pytest.raises(OptionError, match=f"there is nothing at {bucket}/none.txt"):
        BadWords(files=[f"{bucket}/none.txt"])


def test_names_that_lead_out_are_refused(monkeypatch):
    fs = filesystem("memory://names")
    fs.write("x/a.txt", b"1")
    monkeypatch.setattr(
        type(fs.fsspec), "find", lambda *_, **__: {"/names/x/../../../a.txt": {"type": "file", "size": 1}}
    )
    with pytest.raises(OptionError, match="leads out of it"):
        LocalCopy.of("memory://names/x")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_reads_evaluation_sets_from_a_bucket(bucket, workers, tmp_path, make_store, monkeypatch):
    from click.testing import CliRunner

    from pipeline.cli import cli

    filesystem(f"{bucket}/eval").write("history.jsonl", LINES.encode())
    texts = [f"{item['question']} {item['answer']}" for item in ITEMS] + ["다른 글입니다."]
    source, out = make_store(tmp_path / "corpus", texts).path, tmp_path / "out"
    words = ["decontaminate", str(source), str(out), "--against", f"{bucket}/eval/history.jsonl", "--workers", workers]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert Store(out).read(0)["text"].to_pylist() == ["다른 글입니다."]
