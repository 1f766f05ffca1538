"""The same store on S3: a real local server process, one path syntax."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from pipeline.errors import DamagedStore, RootLocked
from pipeline.storage.artefacts import fetch
from pipeline.storage.files import filesystem
from pipeline.storage.ledger import Ledger
from pipeline.storage.lock import RootLock
from pipeline.storage.store import Store
from tests.s3 import served


@pytest.fixture(scope="module")
def bucket():
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
    with served("mill") as path:
        yield path


def test_a_store_lives_on_s3(bucket, make_documents, tmp_path):
    table = make_documents([f"문서 {i}" for i in range(300)])
    ledger = Ledger.rows(table["id"].to_pylist())
    remote, local = Store(f"{bucket}/runs/corpus"), Store(tmp_path / "corpus")
    there = remote.put(0, table, ledger, key="k", input_ids=table["id"])
    here = local.put(0, table, ledger, key="k", input_ids=table["id"])
    assert there.content_hash == here.content_hash
    for store in (remote, local):
        store.commit_manifest({"shape": "DOCUMENT", "key": "k"}, [0])
    assert remote.content_hash == local.content_hash
    assert remote.read(0).equals(table) and remote.find(table["id"][17].as_py()) == (0, 17)
    assert remote.scan().count_rows() == 300 and remote.scan().to_table().equals(local.scan().to_table())
    data = bytearray(remote.fs.read("shards/00000.arrow"))
    data[len(data) // 2] ^= 1
    remote.fs.write("shards/00000.arrow", bytes(data))
    with pytest.raises(DamagedStore, match="00000.arrow is damaged"):
        remote.scan().to_table()
    remote.fs.write("shards/00000.arrow", remote.fs.read("shards/00000.arrow")[:-1])
    with pytest.raises(DamagedStore, match="00000.arrow has .* bytes instead of"):
        remote.files()


def test_shards_and_artefacts_are_replaced_and_removed(bucket, make_documents, tmp_path):
    store = Store(f"{bucket}/runs/other")
    table = make_documents(["a", "b"])
    for shard in (0, 1):
        part = table.slice(shard, 1)
        store.put(shard, part, Ledger.rows(part["id"].to_pylist()), key="k")
    store.commit_manifest({"shape": "DOCUMENT", "key": "k"}, [0])
    assert store.shards() == [0] and not store.fs.exists("shards/00001.arrow")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(b"123")
    store.put_artefact(tmp_path / "model", Ledger.rows([]), key="k")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    assert (store.artefact() / "w.bin").read_bytes() == b"123"


def test_a_takedown_on_s3_leaves_what_a_local_one_does(bucket, make_documents, tmp_path):
    """Forgotten from a root on object storage: the same rows, ledgers and hashes as from a local one, and the list beside them."""
    from pipeline.deletion import forgotten, takedown

    table = make_documents(
        [f"문서 {i}" for i in range(60)], url=[f"http://{'shop' if i % 3 else 'other'}.example/{i}" for i in range(60)]
    )
    marks = [("domain", forgotten.mark("domain", "shop.example"))]
    left = []
    for root in (f"{bucket}/takedown", str(tmp_path / "root")):
        store = Store(f"{root}/corpus")
        for number in range(3):
            rows = table.slice(20 * number, 20)
            store.put(number, rows, Ledger.rows(rows["id"]), key="k", stage="quality")
        store.commit_manifest(
            {"stage": "quality", "shape": "DOCUMENT", "key": "k", "options": {}, "lineage": {}}, [0, 1, 2]
        )
        found = takedown.find(root, marks)
        takedown.begin(filesystem(root), found, marks)
        takedown.carry_out(root, found.lost)
        takedown.end(filesystem(root))
        assert takedown.pending(filesystem(root)) is None and forgotten.load(filesystem(root)).at(
            "http://shop.example/1"
        )
        left.append(
            (
                store.table().to_pylist(),
                store.ledgers().to_pylist(),
                [receipt.taken for receipt in store.receipts().values()],
                store.require()["takedowns"],
            )
        )
    assert left[0] == left[1] and len(left[0][0]) == 20


def test_damage_on_s3_is_found_and_taken_away(bucket, make_documents, tmp_path):
    """Sizes by listings, hashes by `verify`, and a read that refuses: as on a local disk."""
    from pipeline.errors import DamagedStore
    from pipeline.storage import proof, verify

    store = Store(f"{bucket}/verify/corpus")
    table = make_documents([f"문서 {i}" for i in range(40)])
    for number in range(2):
        part = table.slice(20 * number, 20)
        store.put(number, part, Ledger.rows(part["id"]), key="k", stage="test")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").write_bytes(bytes(range(256)) * 9)
    store.put_artefact(tmp_path / "model", Ledger.rows([]), key="k")
    store.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": "k"}, [0, 1])
    manifest = store.require()
    assert (
        not proof.wrong_sizes(proof.committed_sizes(manifest), store.sizes())
        and not verify.verify(f"{bucket}/verify").faults
    )
    for name in (
        "shards/00001.arrow",
        "ledger/00001.arrow",
        "index/00000.ids",
        "artefact/w.bin",
        "receipts/00000.json",
        "manifest.json",
    ):
        data = store.fs.read(name)
        store.fs.write(name, data[:90] + bytes([data[90] ^ 1]) + data[91:])
        (fault,) = verify.verify(f"{bucket}/verify").faults
        assert (fault.path, fault.kind) == (
            f"{bucket}/verify/corpus/{name}",
            "damaged",
        ) and f"{bucket}/verify/corpus" in fault.hint
        if name.startswith("shards"):
            with pytest.raises(DamagedStore, match="00001.arrow"):
                store.read(1)
        store.fs.write(name, data[:-3])
        if name != "manifest.json":
            assert list(proof.wrong_sizes(proof.committed_sizes(manifest), store.sizes())) == [name]
        store.fs.write(name, data)
    store.fs.delete("ledger/00001.arrow")
    found = verify.verify(f"{bucket}/verify")
    verify.repair(f"{bucket}/verify", found)
    assert (
        [fault.kind for fault in found.faults] == ["missing"]
        and list(store.receipts()) == [0]
        and not store.fs.exists("shards/00001.arrow")
    )


FETCH = "import sys; from pipeline.storage.store import Store; sys.stdin.readline(); print((Store(sys.argv[1]).artefact() / 'deep/w.bin').stat().st_size)"


@pytest.mark.slow
def test_an_artefact_wanted_by_several_at_once_is_fetched_once(bucket, tmp_path, repo):
    store = Store(f"{bucket}/runs/model")
    (tmp_path / "model/deep").mkdir(parents=True)
    (tmp_path / "model/deep/w.bin").write_bytes(os.urandom(300_000))
    store.put_artefact(tmp_path / "model", Ledger.rows([]), key="k")
    cache = tmp_path / "cache"
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(repo)}
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", FETCH, store.path],
            cwd=repo,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for one in crowd:
        one.stdin.write("go\n"), one.stdin.flush()
    assert [one.communicate()[0].strip() for one in crowd] == ["300000"] * 8 and not any(
        one.returncode for one in crowd
    )
    receipt = store.receipt("artefact")
    assert sorted(path.name for path in (cache / "maetdol").iterdir()) == [
        receipt.content_hash,
        f"{receipt.content_hash}.lock",
    ]


def test_an_artefact_that_is_fetched_is_held_against_its_hashes(bucket, tmp_path, monkeypatch):
    from pipeline.errors import DamagedStore

    store = Store(f"{bucket}/runs/changed")
    (tmp_path / "model/deep").mkdir(parents=True)
    (tmp_path / "model/deep/w.bin").write_bytes(b"weights")
    store.put_artefact(tmp_path / "model", Ledger.rows([]), key="k")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store.fs.write("artefact/deep/w.bin", b"changed")
    with pytest.raises(DamagedStore, match="not what its receipt says"):
        store.artefact()
    store.fs.delete("artefact/deep/w.bin")
    with pytest.raises(DamagedStore, match="missing"):
        store.artefact()


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out", "a//b", "", ".", "a\\..\\b"])
def test_a_receipt_that_names_a_file_outside_is_refused(name, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from pipeline.errors import DamagedStore

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DamagedStore, match="outside of the artefact"):
        fetch(Store("memory://x").fs, "memory://x", SimpleNamespace(content_hash="ab" * 16, files={name: "0" * 32}))
    assert not list(tmp_path.iterdir())


class Faulty:
    """An object storage that raises the given faults, one a call, and then answers."""

    def __init__(self, *faults):
        self.faults, self.calls = list(faults), 0

    def cat_file(self, key, **_):
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return b"data"


def answers():
    from botocore import exceptions as boto
    from s3fs.errors import translate_boto_error

    def answer(code):
        return translate_boto_error(boto.ClientError({"Error": {"Code": code, "Message": f"said {code}"}}, "GetObject"))

    passing = {
        "endpoint down": boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), "timeout": boto.ReadTimeoutError(endpoint_url="x"), "slow down": answer("SlowDown"),
        "503": answer("503"), "internal": answer("InternalError"), "torn": ConnectionResetError("reset"), "short": __import__("aiohttp").ClientPayloadError("cut"),
    }  # fmt: skip
    final = {
        "no credentials": (boto.NoCredentialsError(), "AWS_ACCESS_KEY_ID"), "denied": (answer("AccessDenied"), "may read and write"), "bucket": (answer("NoSuchBucket"), "make the bucket"),
        "region": (answer("PermanentRedirect"), "AWS_DEFAULT_REGION"), "region in the header": (answer("AuthorizationHeaderMalformed"), "AWS_DEFAULT_REGION"), "bad key": (answer("InvalidAccessKeyId"), "credentials"),
    }  # fmt: skip
    return passing, final


def test_faults_of_object_storage_are_asked_again_or_one_line_with_the_hint(monkeypatch):
    pytest.importorskip("s3fs")
    from pipeline.errors import InfraError, SourceError
    from pipeline.storage import files

    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    passing, final = answers()
    for name, fault in passing.items():
        fs = Faulty(fault, fault)
        monkeypatch.setattr(files.Remote, "fsspec", fs)
        assert files.filesystem("s3://b/x").read("y") == b"data" and fs.calls == 3, name
        fs = Faulty(*[fault] * 9)
        monkeypatch.setattr(files.Remote, "fsspec", fs)
        with pytest.raises(InfraError, match="object storage failed at s3://b/x") as caught:
            files.filesystem("s3://b/x").read("y")
        assert fs.calls == files.STORAGE_TRIES and "\n" not in caught.value.message, name
    for name, (fault, hint) in final.items():
        fs = Faulty(fault, fault)
        monkeypatch.setattr(files.Remote, "fsspec", fs)
        with pytest.raises(SourceError) as caught:
            files.filesystem("s3://b/x").read("y")
        assert hint in caught.value.hint and fs.calls == 1 and "\n" not in caught.value.message, name
    monkeypatch.setattr(files.Remote, "fsspec", Faulty(FileNotFoundError("no key")))
    with pytest.raises(FileNotFoundError):
        files.filesystem("s3://b/x").read("y")


def test_an_upload_in_parts_whose_end_was_answered_by_nobody_is_put_again(monkeypatch):
    """Its end, asked for a second time, is that of an upload the storage no longer knows."""
    pytest.importorskip("s3fs")
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    from pipeline.errors import SourceError
    from pipeline.storage import files

    def answer(code):
        return translate_boto_error(ClientError({"Error": {"Code": code, "Message": "said so"}}, "Complete"))

    class Parts:
        def __init__(self, *faults):
            self.faults, self.put = list(faults), []

        def put_file(self, path, key):
            if self.faults:
                raise self.faults.pop(0)
            self.put.append((key, open(path, "rb").read()))

    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    fs = Parts(answer("NoSuchUpload"))
    monkeypatch.setattr(files.Remote, "fsspec", fs)
    with files.filesystem("s3://b/x").create("big.arrow") as handle:
        handle.write(b"whole")
    assert fs.put == [("b/x/big.arrow", b"whole")]
    monkeypatch.setattr(files.Remote, "fsspec", Parts(answer("NoSuchBucket")))
    with pytest.raises(SourceError, match="no bucket"), files.filesystem("s3://b/x").create("big.arrow"):
        pass


RACER = """
import sys
from pipeline.errors import RootLocked
from pipeline.storage.files import filesystem
from pipeline.storage.lock import RootLock
filesystem(sys.argv[1]).exists("x")
print("ready", flush=True)
for line in sys.stdin:
    try:
        with RootLock(filesystem(line.strip())) as lock:
            print("held", flush=True)
            sys.stdin.readline()
            lock.check()
    except RootLocked:
        print("refused", flush=True)
        sys.stdin.readline()
    print("over", flush=True)
"""
DEAD = {"token": "d" * 32, "host": "elsewhere", "boot": "another", "pid": 7, "started": "1", "by": "creation"}


@pytest.mark.parametrize("rounds", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_of_two_processes_on_object_storage_exactly_one_holds_a_lock(rounds, bucket, repo):
    """Pairs over a fresh lock and over those of dead holders. moto honours `If-None-Match: *`; that real S3 decides it in one
    step is its documentation's word and is not shown here."""
    env = {**os.environ, "PYTHONPATH": str(repo)}
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, bucket],
            cwd=repo,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    watch = threading.Timer(60 + 20 * rounds, lambda: [one.kill() for one in pair])  # a hang ends, and is red
    watch.start()

    def both(line):
        for one in pair:
            one.stdin.write(line + "\n"), one.stdin.flush()
        return sorted(one.stdout.readline().strip() for one in pair)

    try:
        assert [one.stdout.readline().strip() for one in pair] == ["ready", "ready"]
        for number in range(rounds):
            for name, seen in (("fresh", 0), ("null", None), ("old", time.time() - 3600), ("ahead", time.time() + 1e6)):
                root = filesystem(f"{bucket}/race/{number}-{name}")
                if name != "fresh":
                    root.write("lock.json", json.dumps({**DEAD, "seen": seen}).encode())
                assert both(root.path("")) == ["held", "refused"], (number, name)
                assert both("let go") == ["over", "over"] and root.names("") == [], (number, name)
    finally:
        watch.cancel()
        [one.kill() for one in pair], [one.wait() for one in pair]


def test_a_lock_on_object_storage_is_respected_above_and_below_and_its_loser_stops(bucket):
    with RootLock(filesystem(f"{bucket}/locks/run")) as lock:
        for path in ("locks/run/step", "locks"):
            with pytest.raises(RootLocked, match="locks/run is in use"), RootLock(filesystem(f"{bucket}/{path}")):
                pass
        lock.refresh()
        lock.fs.write("lock.json", json.dumps({**DEAD, "seen": time.time()}).encode())
        with pytest.raises(RootLocked, match="no longer held"):
            lock.refresh()
    assert json.loads(lock.fs.read("lock.json"))["pid"] == 7


def test_a_holder_whose_exclusive_put_was_answered_by_nobody_goes_on(bucket, monkeypatch):
    """The storage did what was asked and the answer was lost: asked again it says that the object is there."""
    from pipeline.storage.files import Remote

    add = Remote.add
    monkeypatch.setattr(Remote, "add", lambda self, name, data: add(self, name, data) and False)
    with RootLock(filesystem(f"{bucket}/locks/lost")) as lock:
        before = lock._alive_at
        for _ in range(2):
            lock.refresh()
        assert lock._alive_at > before and lock.fs.names("") == ["lock.json"]


@pytest.mark.slow
def test_an_endpoint_that_is_down_a_bucket_that_is_missing_and_nobody_s_keys_are_one_line(bucket, repo, tmp_path):
    command = [
        sys.executable,
        "-c",
        "from pipeline.cli import main; main()",
        "ingest",
        "s3://no-such-bucket-here/in",
        str(tmp_path / "out"),
    ]
    there = {**os.environ, "PYTHONPATH": str(repo)}
    down = {**there, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    nobody = {k: v for k, v in there.items() if not k.startswith("AWS_") or k == "AWS_ENDPOINT_URL"} | {
        "AWS_EC2_METADATA_DISABLED": "true",
        "HOME": str(tmp_path),
    }
    for env, code, word in (
        (down, 1, "object storage failed"),
        (there, 2, "no bucket"),
        (nobody, 2, "AWS_ACCESS_KEY_ID"),
    ):
        out = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True, timeout=120)
        assert (
            out.returncode == code
            and word in out.stderr
            and "Traceback" not in out.stderr
            and out.stderr.count("hint:") == 1
        ), out.stderr
        assert not (tmp_path / "out/receipts").exists()


def test_questions_to_a_store_on_object_storage(bucket, tmp_path, make_store):
    """The same answers as on disk; polars fetches parts of the files."""
    from pipeline.inspection import query

    texts = [f"text {i} " + ("맷돌" if i % 7 == 0 else "mill") for i in range(300)]
    local = make_store(tmp_path / "root" / "first", texts, shards=3)
    url = f"{bucket}/questions"
    remote = filesystem(f"{url}/first")
    for name in local.fs.sizes(""):
        remote.write(name, local.fs.read(name))
    there = Store(f"{url}/first")
    assert query.take(query.grep(query.rows(there), "맷돌"), 50) == query.take(
        query.grep(query.rows(local), "맷돌"), 50
    )
    assert query.sample(there, 5, 3) == query.sample(local, 5, 3) and query.count(query.ledger(there)) == 300
    table = local.read(0)
    for base, first in ((str(tmp_path / "root"), local), (url, there)):
        second = Store(f"{base}/second")
        ledger = Ledger.rows(table["id"], reason=["test.low"] * 4 + [None] * (len(table) - 4))
        second.put(0, table.slice(4), ledger, key="k", stage="test", input_ids=table["id"])
        lineage = {"of": [{"store": "first", "content_hash": first.content_hash}]}
        second.commit_manifest({"stage": "test", "shape": "DOCUMENT", "key": "k", "lineage": lineage}, [0])
    asked = [query.dropped(Store(f"{base}/second"), base, pattern="mill") for base in (str(tmp_path / "root"), url)]
    assert asked[0] == asked[1] and len(asked[0]) == 3 and asked[0][0]["row"]["text"] == "text 1 mill"
