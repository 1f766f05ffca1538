"""The kernels against presidio's AnalyzerEngine over the same rule book, read by a regular-expression engine."""

import json
import lzma
import random
import subprocess
import sys

import pytest

from stages.pii.entities import BY_NAME, PATTERNED
from stages.pii.kernels.automaton import compile_patterns
from stages.pii.kernels.rules import rule_book

AROUND = ["010", "-", " ", ".", "(", ")", "1234", "00", "1", "192.168", "::", ":", "/", "_", "@", "가", "로", "서울 ", "강남구 ", "역삼동 ", "테헤란로 ", "12", "주민번호 ", "전화 ", "계좌 ",
          "국민은행 ", "신한", "카드 ", "주문번호 ", "버전 ", "ip ", "fax", "여권 ", "차량 ", "사업자 ", "법인등록번호 ", "M", "x", "년", ";", "\n", "\u200b", "０", "－", "＠", "é", "\u1112\u1161",
          " [at] ", "(AT)", " 골뱅이 ", " 점 ", "[dot]", "com", "kr", "홍길동", "한국", "naver", "hong", "]"]  # fmt: skip


@pytest.fixture(scope="module")
def engine():
    from stages.pii.engines.presidio import analyzer

    return analyzer("regex", languages=["en"])


def agree(engine, find, texts):
    from stages.pii.engines.presidio import without_overlaps

    kernel = [[] for _ in texts]
    for f in find(texts):
        kernel[f.item].append((f.start, f.end, BY_NAME[f.entity].presidio))
    for text, found in zip(texts, kernel):
        wanted = [
            (r.start, r.end, r.entity_type)
            for r in without_overlaps(text, engine.analyze(text, "en", score_threshold=0.5))
        ]
        assert found == wanted, [text[a:b] for a, b, _ in set(found) ^ set(wanted)]
    return sum(map(len, kernel))


def walks(seed):
    """Random members of every rule's language."""
    rng = random.Random(seed)
    machines = [compile_patterns([rule.pattern]) for rule in rule_book() if rule.pattern]

    def walk():
        automaton = rng.choice(machines)
        moves = automaton.moves.reshape(-1, automaton.width)
        state, out = 1, bytearray()
        while len(out) < 200:
            steps = [b for b in range(1, 240) if moves[state, automaton.classes[b]]]
            if not steps or (automaton.first[state] != automaton.first[state + 1] and rng.random() < 0.3):
                break
            out.append(rng.choice(steps))
            state = moves[state, automaton.classes[out[-1]]]
        return out.decode("utf-8", "ignore")

    return rng, walk


def test_on_random_text_of_every_rule(engine, find):
    rng, walk = walks(4)
    texts = [
        "".join(rng.choices(AROUND, k=rng.randrange(3))) + walk() + "".join(rng.choices(AROUND, k=rng.randrange(3)))
        for _ in range(700)
    ]
    assert agree(engine, find, texts) > 230


def test_on_random_fragments(engine, find):
    rng = random.Random(9)
    agree(engine, find, ["".join(rng.choices(AROUND, k=rng.randrange(2, 14))) for _ in range(900)])


def test_on_random_mail_addresses(engine, find):
    rng = random.Random(12)
    names = ["hong", "홍길동", "hong.gd", "h", "문의hong", "hong님", "a_b-", ".x", "한국", "x" * 70, ""]
    names += [
        '"ada lovelace"',
        '"a@b"',
        '"a\\"b"',
        '""',
        '="a"',
        '\\"a b\\"',
        '"\\"홍\\"',
        '"a\tb"',
        '"' + "y" * 63 + '"',
        '"가' + "y" * 58 + '"',
    ]
    signs = ["@", "@", "%40", " [at] ", "(AT)", "[@]", "{ at }", " 골뱅이 ", "골뱅이", " @ ", "at", "[at"]
    hosts = ["naver", "한국", "한국전력", "mail-", "-x", "a7", "xn--a1", "도메인a", "co", ""]
    dots = [".", ".", ".", "[dot]", " dot ", " 점 ", "(닷)", " . ", ".."]
    ends = ["com", "kr", "png", "invalid", "한국", "닷컴", "xn--p1", "10", "store", "k", "한국말"]
    around = ["", "", " ", "로", "(", "]", ".", "7", "_", ":", ".kr", " 점 kr"]

    def text():
        words = [rng.choice(kind) for kind in (around, names, signs, hosts, dots, ends, around)]
        if rng.random() < 0.3:
            words[rng.randrange(7)] += rng.choice(rng.choice([names, signs, hosts, dots, ends]))
        return "".join(words)

    assert agree(engine, find, [text() for _ in range(8_000)]) > 250


def test_on_korean_sentences(engine, find, korean):
    source = korean(5)
    texts = [(source.positive() if k % 2 else source.negative()).text for k in range(700)]
    assert agree(engine, find, texts) > 300


def shared_texts(shared, name, key):
    with lzma.open(shared / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line)[key] for line in lines]


def test_on_a_sample_of_real_text(engine, find, shared):
    texts = shared_texts(shared, "C-python311-rst-en.jsonl.xz", "text") + shared_texts(
        shared, "C-cpp-docs-ko.jsonl.xz", "markdown"
    )
    kernel = sorted({f.item for f in find(texts)})
    rng = random.Random(1)
    windows = []
    for item in rng.sample(kernel, 60) + rng.sample(range(len(texts)), 60):
        at = rng.randrange(max(1, len(texts[item]) - 1_500))
        windows.append(texts[item][at : at + 1_500])
    agree(engine, find, windows)


@pytest.mark.slow
def test_on_both_manuals_entire(engine, find, shared):
    for name, key in (("C-python311-rst-en.jsonl.xz", "text"), ("C-cpp-docs-ko.jsonl.xz", "markdown")):
        agree(engine, find, shared_texts(shared, name, key))


@pytest.mark.slow
def test_on_all_shared_texts(shared, repo, tmp_path):
    """Every string of every shared file: pages, manuals, reviews, chats, web archives."""
    script = [sys.executable, str(repo / "tests/bench/pii/differential.py"), "--out", str(tmp_path / "report.json")]
    assert subprocess.run(script, cwd=repo).returncode == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["done"] and report["differences"] == []
    assert (
        sum(corpus["bytes"] for corpus in report["corpora"].values()) > 150e6 and sum(report["kinds"].values()) > 3_000
    )


def test_the_kernels_in_presidio_find_the_same(find):
    from stages.pii.engines.presidio import analyzer, without_overlaps

    text = "메일 hong@example.co.kr로, 010-1234-5678입니다. 주민번호 900101-1234568, 카드 4111-1111-1111-1111"
    results = without_overlaps(text, analyzer("kernel", languages=["ko"]).analyze(text, "ko"))
    assert [(r.start, r.end, r.entity_type) for r in results] == [
        (f.start, f.end, BY_NAME[f.entity].presidio) for f in find([text])
    ]
    assert len(PATTERNED) == len({BY_NAME[name].presidio for name in PATTERNED})
