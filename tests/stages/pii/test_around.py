"""The audit verb, names, the user's recognisers, and what importing the room costs."""

import json
import lzma
import subprocess
import sys

import pyarrow as pa
import pytest

from pipeline.errors import OptionError, SourceError
from stages.pii import Pii
from stages.pii.commands import Audit
from stages.pii.engines.names import by_rules, windows


def test_audit_fails_on_leaks_and_names_no_value(make_store, tmp_path, capsys):
    make_store(
        tmp_path / "dirty", ["깨끗한 글", "전화 010-1234-5678, 대표번호 1588-1234"], title=[None, "hong@example.com"]
    )
    assert Audit(stores=(str(tmp_path / "dirty"),)).run() == 1
    shown = capsys.readouterr().out
    assert "2 LEAKS" in shown and "phone in text: 1" in shown and "email in title: 1" in shown
    assert "010" not in shown and "hong" not in shown
    assert Audit(stores=(str(tmp_path / "dirty"),), keep=("phone", "email")).run() == 0


def test_audit_finds_nothing_after_the_stage(make_store, make_documents, tmp_path, capsys, korean):
    source = korean(21)
    table = make_documents(["\n".join(source.positive().text for _ in range(8)) for _ in range(40)])
    clean = pa.Table.from_batches([Pii().work(table.combine_chunks().to_batches()[0]).kept])
    make_store(tmp_path / "clean", clean["text"].to_pylist())
    assert Audit(stores=(str(tmp_path / "clean"),)).run() == 0
    assert "nothing found" in capsys.readouterr().out


def test_audit_refuses_what_has_no_rows(tmp_path):
    with pytest.raises(SourceError):
        Audit(stores=(str(tmp_path / "none"),)).run()


@pytest.mark.parametrize(("text", "names"), [
    ("박지성 감독은 웃었다", ["박지성"]), ("김모(33)씨 등", ["김모"]), ("남궁민수 대표이사가", ["남궁민수"]), ("담당자: 서도윤입니다", ["서도윤"]),
    ("Dr. Ada Lovelace said", ["Ada Lovelace"]), ("국방장관과 위원장은 장군님의 손님", []), ("고양이를 기르는 이사회", []), ("따뜻한 마음씨", []),
])  # fmt: skip
def test_names_by_title_age_and_label(text, names):
    assert sorted({text[a:b] for a, b, _, _ in by_rules(text)}) == names


def test_names_on_klue_measured_for_what_the_fallback_is(shared):
    right = made = gold = hit = 0
    with lzma.open(shared / "E-klue-ner-spans.jsonl.xz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            persons = [(s["start"], s["end"]) for s in row["spans"] if s["label"] == "PS"]
            ours = {(a, b) for a, b, _, _ in by_rules(row["text"])}
            made, gold = made + len(ours), gold + len(persons)
            right += sum(any(a < y and b > x for x, y in persons) for a, b in ours)
            hit += sum(any(a < y and b > x for a, b in ours) for x, y in persons)
    assert right / made >= 0.9 and hit / gold >= 0.15


def test_windows_hold_their_triggers_and_leave_the_rest():
    text = "숫자만 있는 문장입니다 " * 40 + "김철수 교수가 왔다. " + "아무 일도 없는 날 " * 40
    (window,) = [w for w in windows(text) if "김철수" in text[slice(*w)]]
    assert window[1] - window[0] < 200 and all(a < b for a, b in windows(text))


def test_names_are_off_unless_asked_for(make_documents):
    rows = make_documents(["김철수 교수는 왔다"]).combine_chunks().to_batches()[0]
    assert Pii().work(rows).kept.equals(rows)
    assert Pii(names="rules").work(rows).kept.column("text").to_pylist() == ["<PERSON> 교수는 왔다"]


def test_a_model_of_spacy_looks_into_windows_only(tmp_path):
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("ko", config={"nlp": {"tokenizer": {"@tokenizers": "spacy.Tokenizer.v1"}}})
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": "PERSON", "pattern": "제임스"}, {"label": "LOC", "pattern": "나주"}]
    )
    nlp.to_disk(tmp_path / "model")
    stage = Pii.build({"names": "model", "model": str(tmp_path / "model")}, "pii")
    texts = pa.array(["담당자 제임스 나주 출신", "제임스"], pa.large_string())
    found = [(f.item, f.entity) for f in stage.plan().find(texts)]
    assert found == [(0, "person"), (0, "place")]


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(OptionError, match="neither a spaCy"):
        Pii.build({"names": "model", "model": str(tmp_path)}, "pii").plan()


RECOGNIZERS = """
recognizers:
  - name: Employee
    type: custom
    supported_languages: [{language: ko, context: [사번]}]
    supported_entity: EMPLOYEE-ID
    patterns: [{name: employee, regex: "EMP-[0-9]{6}", score: 0.6}]
"""


def test_recognizers_of_the_user_run_in_presidio(tmp_path, make_documents):
    (tmp_path / "more.yaml").write_text(RECOGNIZERS, encoding="utf-8")
    stage = Pii.build({"recognizers": str(tmp_path / "more.yaml")}, "pii")
    rows = make_documents(["사번 EMP-123456 메일 a@b.kr"]).combine_chunks().to_batches()[0]
    work = stage.work(rows)
    assert work.kept.column("text").to_pylist() == ["사번 <EMPLOYEE_ID> 메일 <EMAIL>"]
    assert work.ledger["pii.employee_id"].to_pylist() == [1.0] and stage.needs() == ("presidio-analyzer",)
    assert stage.work(work.kept).kept.equals(work.kept)


def test_recognizers_without_a_language_are_english_and_need_no_model(tmp_path, make_documents):
    (tmp_path / "more.yaml").write_text(
        "recognizers:\n  - {name: B, type: custom, supported_entity: BADGE, patterns: [{name: b, regex: 'B-[0-9]{5}', score: 0.4}], context: [badge]}\n"
    )
    rows = make_documents(["my badge is B-12345", "a stranger wrote B-12345"]).combine_chunks().to_batches()[0]
    work = Pii.build({"recognizers": str(tmp_path / "more.yaml")}, "pii").work(rows)
    assert work.kept.column("text").to_pylist() == ["my badge is <BADGE>", "a stranger wrote B-12345"], (
        "context words count"
    )


@pytest.mark.parametrize("page", ["- a", "recognizers: 3", "recognizers: [{name: X, type: nonsense}]", "{"])
def test_recognizers_that_presidio_refuses_are_one_clear_error(tmp_path, page):
    (tmp_path / "bad.yaml").write_text(page, encoding="utf-8")
    with pytest.raises(OptionError, match="recognizers"):
        Pii.build({"recognizers": str(tmp_path / "bad.yaml")}, "pii").plan()


def loaded_after(code: str, repo) -> set[str]:
    heavy = "('numba', 'presidio_analyzer', 'spacy', 'torch', 'transformers', 'polars', 'regex')"
    line = f"import sys; {code}; print(*[m for m in {heavy} if sys.modules.get(m)])"
    done = subprocess.run([sys.executable, "-c", line], cwd=repo, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_room_loads_nothing_heavy_and_presidio_no_torch(repo):
    assert loaded_after("import stages.pii, stages.pii.commands", repo) == set()
    assert "torch" not in loaded_after("from stages.pii.engines.presidio import presidio; presidio()", repo)
