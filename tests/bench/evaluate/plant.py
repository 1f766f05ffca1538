"""Corpora with planted copies and junk, to see whether an ablation tells that a recipe is worth its cost.

    python tests/bench/evaluate/plant.py DATA FOLDER [SEED]    # DATA: the folder of real data; FOLDER gets corpora and recipes
    cd FOLDER && maetdol ablate planted.yaml ... (see RESULTS.md)

The shares below were fixed before the first run and not changed after it. They are shares of the bytes of the raw text, planted
text included. Copies and junk stand in files of their own; what is measured comes from `python` and `cpp` (or, in the quickstart,
from its own two sources), where nothing was planted, and copies are taken of `manuals` alone (quickstart: of its packages).
"""

from __future__ import annotations

import base64
import json
import lzma
import random
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

SEED = 17
"""Of the first planting; another one plants other copies and other junk in the same shares."""
SHARES = {"exact": 0.08, "near": 0.07, "generated": 0.10, "comments": 0.05}
"""30% in all: exact copies, copies with one word in a hundred changed, generated junk, and real one-line comments."""
EDITED = 0.01
MOST = 20_000
"""Characters of a document of the Python manual that are taken, so that its longest pages do not outweigh all else."""


def main(data: Path, folder: Path, seed: int = SEED) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    manuals(data, folder / "manuals")
    write(folder / "python.jsonl", python(data))
    write(folder / "cpp.jsonl", cpp(data))
    recipe(
        folder,
        "planted",
        HERE / "planted.yaml",
        sources=("manuals", "python", "cpp"),
        copied="manuals",
        data=data,
        rng=rng,
    )
    recipe(
        folder, "quickstart-planted", quickstart(), sources=("site", "packages"), copied="packages", data=data, rng=rng
    )


HERE = Path(__file__).resolve().parent


def quickstart() -> str:
    """The quickstart's text steps with one more source."""
    text = (
        (HERE.parents[2] / "configs" / "quickstart.yaml").read_text("utf-8").partition("  # -- tokens and a model")[0]
    )
    text = text.replace(
        "name: quickstart\nroot: runs/quickstart", "name: quickstart-planted\nroot: runs/quickstart-planted"
    )
    text = text.replace(
        "  - quality:\n      of: [site, packages]",
        "  - ingest: {name: planted, from: quickstart-planted}\n  - quality:\n      of: [site, packages, planted]",
    )
    assert text.count("planted") == 5, "the quickstart has changed its shape"
    return text.replace("configs/", f"{HERE.parents[2]}/configs/") + "run: {pool: inline}\n"


def recipe(
    folder: Path, name: str, page: Path | str, sources: tuple[str, ...], copied: str, data: Path, rng: random.Random
) -> None:
    """Write the recipe, bring its own sources up to date, and plant according to how much text they hold."""
    import dataclasses
    import os

    from pipeline.engine.recipe import load
    from pipeline.engine.run import run
    from stages.models.inference.device import patient

    patient()
    (folder / f"{name}.yaml").write_text(page if isinstance(page, str) else page.read_text("utf-8"), "utf-8")
    os.chdir(folder)
    whole = load(f"{name}.yaml")
    run(dataclasses.replace(whole, steps=tuple(step for step in whole.steps if step.name in sources)))
    texts = {
        source: [
            t
            for shard in whole.store(source).shards()
            for b in whole.store(source).batches(shard)
            for t in b.column("text").to_pylist()
        ]
        for source in sources
    }
    clean = sum(len(text.encode()) for found in texts.values() for text in found)
    total = clean / (1 - sum(SHARES.values()))
    (folder / name).mkdir(exist_ok=True)
    made = {
        "exact": lambda: rng.choice(texts[copied]),
        "near": lambda: edited(rng.choice(texts[copied]), rng),
        "generated": lambda: junk(rng),
        "comments": comments(data, rng),
    }
    for kind, share in SHARES.items():
        rows = list(until(made[kind], share * total))
        write(folder / name / f"{kind}.jsonl", rows)
        print(
            f"{name}: {kind}: {len(rows)} documents, {sum(len(r['text'].encode()) for r in rows) / total:.3f} of {total / 1e6:.1f} MB"
        )


def until(make: Callable[[], str], size: float) -> Iterator[dict]:
    """Texts of `make` until they come to `size` bytes."""
    number = 0
    while size > 0:
        text = make()
        size -= len(text.encode())
        yield {"id": f"{number:06d}", "text": text}
        number += 1


def edited(text: str, rng: random.Random) -> str:
    """One word in a hundred replaced by another word of the same text."""
    words = text.split(" ")
    for i in range(len(words)):
        if rng.random() < EDITED:
            words[i] = rng.choice(words)
    return " ".join(words)


KEYWORDS = (
    "buy cheap online best price discount free shipping casino bonus loan credit insurance pills watch replica deal today click here",
    "최저가 무료배송 할인 특가 대출 당일 카지노 보너스 가입 즉시 쿠폰 추천인 코드 이벤트 구매 후기 클릭 바로가기 상담 문의 환불",
)
MENU = (
    "Home",
    "Login",
    "Register",
    "Contact us",
    "Sitemap",
    "홈",
    "로그인",
    "회원가입",
    "고객센터",
    "이용약관",
    "Previous",
    "Next",
    "목록",
)


def junk(rng: random.Random) -> str:
    """Keyword spam, menus, or bytes that are no text, 400 to 4,000 characters of it."""
    size, kind = rng.randint(400, 4000), rng.randrange(3)
    if kind == 0:
        words = rng.choice(KEYWORDS).split()
        return " ".join(rng.choice(words) for _ in range(size // 5))
    if kind == 1:
        return "\n".join(" | ".join(rng.choice(MENU) for _ in range(rng.randint(2, 6))) for _ in range(size // 30))
    return "\n".join(base64.b64encode(rng.randbytes(48)).decode() for _ in range(size // 64))


def comments(data: Path, rng: random.Random) -> Callable[[], str]:
    """Real film reviews of one line."""
    lines = [
        json.loads(line)["text"]
        for _, line in zip(range(40_000), lzma.open(data / "C-nsmc-reviews.jsonl.xz", "rt", encoding="utf-8"))
    ]
    return lambda: rng.choice(lines)


def manuals(data: Path, folder: Path) -> None:
    """HTML of the Debian FAQ and GNOME help, in both languages."""
    for name in ("debian-faq-en", "debian-faq-ko", "gnome-help-en", "gnome-help-ko"):
        with tarfile.open(data / "C-starter" / f"{name}.tar.xz") as archive:
            for member in archive.getmembers():
                if member.isfile() and member.name.endswith(".html"):
                    target = folder / name / Path(member.name).name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]


def python(data: Path) -> Iterator[dict]:
    for line in lzma.open(data / "C-python311-rst-en.jsonl.xz", "rt", encoding="utf-8"):
        row = json.loads(line)
        yield {"id": row["path"], "text": row["text"][:MOST]}


def cpp(data: Path) -> Iterator[dict]:
    """Pages that people translated, without their YAML head."""
    for line in lzma.open(data / "C-cpp-docs-ko.jsonl.xz", "rt", encoding="utf-8"):
        row = json.loads(line)
        if row["translationtype"] == "HT":
            yield {"id": row["path"], "text": row["markdown"].split("\n---\n", 1)[-1]}


def write(path: Path, rows: Iterator[dict] | list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), *map(int, sys.argv[3:4]))
