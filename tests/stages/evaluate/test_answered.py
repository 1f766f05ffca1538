"""Questions from local files in the forms they come in, answered by likelihood; problems by generation; a judge in both orders."""

import doctest
import json
import lzma
import tarfile

import numpy as np
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import SourceError, UsageError
from pipeline.storage.store import Store
from stages.evaluate import Evaluate, choices, problems
from tests.stages.conftest import GRAINS

torch = pytest.importorskip("torch")

FORMS = {
    "kobest boolq": ({"paragraph": "쌀은 곡식이다.", "question": "쌀은 곡식인가?", "label": 1}, " 예", 2),
    "kobest copa": (
        {
            "premise": "비가 왔다.",
            "question": "결과",
            "alternative_1": "땅이 젖었다.",
            "alternative_2": "땅이 말랐다.",
            "label": 0,
        },
        " 땅이 젖었다.",
        2,
    ),
    "kobest copa, table": (
        {
            "ID": "1",
            "sentence": "비가 왔다.",
            "question": "원인",
            "1": "구름이 꼈다.",
            "2": "땅이 젖었다.",
            "Answer": "1",
        },
        " 구름이 꼈다.",
        2,
    ),
    "kobest hellaswag": (
        {"context": "ㄱ", "ending_1": "a", "ending_2": "b", "ending_3": "c", "ending_4": "d", "label": 2},
        " c",
        4,
    ),
    "kobest boolq, table": ({"ID": "1", "Text": "쌀", "Question": "곡식인가?", "Answer": "TRUE"}, " 예", 2),
    "kobest wic": ({"word": "배", "context_1": "배를 탔다.", "context_2": "배를 먹었다.", "label": 0}, " 아니오", 2),
    "kobest sentineg": ({"sentence": "좋다.", "label": 1}, " 긍정", 2),
    "arc": (
        {"question": "What grinds?", "choices": {"text": ["a mill", "a cup"], "label": ["A", "B"]}, "answerKey": "A"},
        " a mill",
        2,
    ),
    "arc, nested": (
        {
            "question": {"stem": "What?", "choices": [{"text": "x", "label": "1"}, {"text": "y", "label": "2"}]},
            "answerKey": "2",
        },
        " y",
        2,
    ),
    "llm-foundry": ({"query": "Question: What?", "choices": ["x", "y"], "gold": 1}, " y", 2),
    "hellaswag": ({"ctx": "He", "endings": ["a", "b", "c", "d"], "label": "3"}, " d", 4),
    "piqa": ({"goal": "grind", "sol1": "mill", "sol2": "cup", "label": 0}, " mill", 2),
    "plain": ({"prompt": "?", "choices": ["x", "y", "z"], "answer": 1}, " y", 3),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_with_its_right_answer(form, tmp_path):
    row, right, count = FORMS[form]
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    [question] = choices.load(path).questions
    assert question.answers[question.right] == right and len(question.answers) == count


def test_examples_and_forms_of_problems(tmp_path):
    assert doctest.testmod(problems).failed == 0
    rows = [
        {"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2"},
        {"context": "2 + 2?", "chain_of_thought": "2 + 2 = 4", "answer": "4"},
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(rows), "utf-8")
    found = problems.load(path, shots=1)
    texts, asked = problems.prompts(found)
    assert len(texts) == len(asked) == 1 and texts[0].count("####") == 1 and texts[0].endswith("Answer:")
    assert problems.scores([f"so it is {asked[0].answer}.", ""], [asked[0], asked[0]]).tolist() == [1.0, 0.0]


PLAIN = {"prompt": "?", "choices": ["x", "y"], "answer": 0}
FAULTS = {
    "no known form of a question .fields who": {"who": 1},
    "1 answers to choose from": {**PLAIN, "choices": ["x"]},
    "choices is no list of answers": {**PLAIN, "choices": None},
    "answer 1 is empty": {**PLAIN, "choices": ["x", " "]},
    "the right answer is number 2, there are 2": {**PLAIN, "answer": 2},
    "the right answer is number -1": {**PLAIN, "answer": -1},
    "answer is 'x', which is no whole number": {**PLAIN, "answer": "x"},
    "answer is 0.5, which is no whole number": {**PLAIN, "answer": 0.5},
    "prompt is missing": {**PLAIN, "prompt": None},
    "the question is empty": {**PLAIN, "prompt": " "},
    "alternative_2 is missing": {"premise": "비", "question": "결과", "alternative_1": "a", "label": 0},
    "neither 원인 nor 결과": {
        "premise": "비",
        "question": "왜",
        "alternative_1": "a",
        "alternative_2": "b",
        "label": 0,
    },
    "the right answer is number -1, there are 2": {
        "sentence": "비",
        "question": "결과",
        "1": "a",
        "2": "b",
        "Answer": "0",
    },
    "ending_4 is missing": {"context": "ㄱ", "ending_1": "a", "ending_2": "b", "ending_3": "c", "label": 2},
    "neither true nor false": {"Text": "쌀", "Question": "곡식인가?", "Answer": "perhaps"},
    "is none of the labels A, B": {
        "question": "What?",
        "choices": {"text": ["x", "y"], "label": ["A", "B"]},
        "answerKey": "C",
    },
    "choices have no text and label": {"question": "What?", "choices": ["x", "y"], "answerKey": "A"},
    "gold is missing|gold is None": {"query": "What?", "choices": ["x", "y"], "gold": None},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_row_that_cannot_be_asked_is_named_with_its_fault(fault, tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(PLAIN) + "\n\n" + json.dumps(FAULTS[fault], ensure_ascii=False), "utf-8")
    with pytest.raises(SourceError, match=f"row 2: .*({fault})"):
        choices.load(path)


@pytest.mark.parametrize(
    "name, content, fault",
    [
        ("q.jsonl", b"", "holds no question"),
        ("q.jsonl", b"[]", "holds no question"),
        ("q.jsonl", b"{", "cannot read .* as rows"),
        ("q.jsonl", b"1\n2", "row 1: no JSON object"),
        ("q.jsonl", b"\xff\xfe", "cannot read .* as rows"),
        ("q.parquet", b"no parquet", "cannot read .* as rows"),
        ("q.tsv", b"prompt\tchoices\n", "holds no question"),
    ],
)
def test_a_file_that_holds_no_questions_is_named(name, content, fault, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=fault):
        choices.load(tmp_path / name)
    with pytest.raises(SourceError, match=fault.replace("question", "problem")):
        problems.load(tmp_path / name)


def test_what_is_not_there_or_too_little_is_said(tmp_path):
    with pytest.raises(SourceError, match="cannot read"):
        choices.load(tmp_path / "none.jsonl")
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(PLAIN), "utf-8")
    with pytest.raises(SourceError, match="row 1: no problem with a number"):
        problems.load(path)
    with pytest.raises(UsageError, match="too few questions to show 1"):
        choices.load(path, shots=1)
    path.write_text(json.dumps({"question": "1 + 1?", "answer": "#### 2"}), "utf-8")
    with pytest.raises(UsageError, match="too few problems to show 1"):
        problems.load(path, shots=1)


def test_quotation_marks_and_odd_line_ends_are_part_of_a_text(tmp_path):
    path = tmp_path / "q.tsv"
    path.write_text('sentence\tlabel\n"맷돌\t1\n두\u2028번째\t0\n', "utf-8")
    assert [question.prompt for question in choices.questions(path)] == [
        '문장: "맷돌 긍부정:',
        "문장: 두\u2028번째 긍부정:",
    ]


def test_real_sets_are_read_whole(shared, tmp_path):
    with lzma.open(shared / "H-bench-open.tar.xz") as packed, tarfile.open(fileobj=packed) as tar:
        tar.extractall(tmp_path, filter="data")
    counts = {
        path: len(choices.load(tmp_path / path).questions)
        for path in (
            "llmfoundry/world_knowledge/arc_easy.jsonl",
            "kobest/v1.0/COPA/test.tsv",
            "kobest/v1.0/HellaSwag/test.tsv",
            "kobest/v1.0/BoolQ/test.tsv",
        )
    }
    assert list(counts.values()) == [2376, 1000, 500, 1404]
    boolq = choices.load(tmp_path / "kobest/v1.0/BoolQ/test.tsv").questions
    assert sum(q.right for q in boolq) == 705, "TRUE and True alike"
    assert all(
        one.answer for one in problems.load(tmp_path / "llmfoundry/symbolic_problem_solving/gsm8k.jsonl").problems
    )


@pytest.fixture(scope="module")
def grains(tmp_path_factory):
    """Questions the tiny Llama was pretrained on: which English word belongs to a grain."""
    names = list(GRAINS.values())
    rows = []
    for n, (grain, name) in enumerate(GRAINS.items()):
        wrong = [other for other in names if other != name]
        for k in range(3):
            answers = [f"{name}.", f"{wrong[(n + k) % 7]}."][:: 1 if (n + k) % 2 else -1]
            rows.append(
                {
                    "prompt": f"{10 * n + k}: how do you call {grain}? It is",
                    "choices": answers,
                    "answer": answers.index(f"{name}."),
                }
            )
    path = tmp_path_factory.mktemp("grains") / "grains.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return path


def answers_of(folder, given):
    from stages.evaluate.measure import Reader
    from stages.models.encoder import Encoder
    from stages.models.inference.chain import load_model

    model, encoder = load_model(folder, dtype=torch.float32, device=torch.device("cpu")).eval(), Encoder(folder)
    return model, choices.answered(Reader(model, torch.device("cpu"), torch.float32, 8, 3), encoder, given, 64)


def test_likelihoods_are_what_brute_force_says(grains, base_store):
    """One answer at a time through the Hugging Face tokenizer, prompt and answer as one text."""
    from transformers import AutoTokenizer

    folder, given = base_store.artefact(), choices.load(grains)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, found = answers_of(folder, given)
    for number, question in enumerate(given.questions):
        sums, tokens = [], []
        for answer in question.answers:
            front = tokenizer(question.prompt, add_special_tokens=False)["input_ids"]
            ids = tokenizer(question.prompt + answer, add_special_tokens=False)["input_ids"]
            whole = torch.tensor([[tokenizer.bos_token_id, *ids]])
            with torch.no_grad():
                logps = model(input_ids=whole).logits[0, :-1].log_softmax(-1).gather(-1, whole[0, 1:, None])[:, 0]
            sums.append(float(logps[len(front) :].sum()))
            tokens.append(len(ids) - len(front))
        texts = [answer.strip() for answer in question.answers]
        for way, sizes in (
            ("right", [len(t.encode()) for t in texts]),
            ("right_sums", [1, 1]),
            ("right_characters", [len(t) for t in texts]),
            ("right_tokens", tokens),
        ):
            assert getattr(found, way)[number] == float(
                np.argmax(np.array(sums) / np.array(sizes)) == question.right
            ), way
    assert found.whole.all() and choices.chance(given) == 0.5


def test_ways_of_comparing_answers_of_different_lengths_differ_as_they_should():
    """-6 over 4 letters of 12 bytes and 3 tokens, against -5 over 9 letters of 9 bytes and 2 tokens."""
    sums, owner, right = np.array([-6.0, -5.0]), np.array([0, 0]), np.array([0])
    by = {
        name: choices._likeliest(sums / np.array(sizes), owner, right)[0]
        for name, sizes in {"sum": [1, 1], "letters": [4, 9], "bytes": [12, 9], "tokens": [3, 2]}.items()
    }
    assert by == {"sum": 0.0, "letters": 0.0, "bytes": 1.0, "tokens": 1.0}


@pytest.mark.parametrize(
    "scores, right, share",
    [
        ([-5, -5], 0, 0.5),
        ([-5, -5], 1, 0.5),
        ([-5, -5, -5], 2, 1 / 3),
        ([-5, -5, -4], 0, 0),
        ([-4, -5, -5], 0, 1),
        ([np.nan, -5], 0, 0),
    ],
)
def test_a_tie_counts_its_share(scores, right, share):
    assert choices._likeliest(np.array(scores, float), np.zeros(len(scores), int), np.array([right])).tolist() == [
        share
    ]


def test_equal_answers_are_a_tie_wherever_they_lie_in_the_batch():
    class Reader:
        """Gives equal rows sums that differ in their last bits, as padding does."""

        def sums(self, rows):
            return np.array([-float(len(row.ids)) - n * 1e-12 for n, row in enumerate(rows)]), np.array([1] * len(rows))

    class Letters:
        bos = None

        def encode(self, texts):
            return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]

    given = choices.Choices(
        "same",
        [choices.Question("The same", (" yes", " yes"), right) for right in (0, 1)]
        + [choices.Question("q", (" a", " bb"), 0)],
    )
    assert choices.answered(Reader(), Letters(), given, 64).right_sums.tolist() == [0.5, 0.5, 1.0]


def test_a_prompt_too_long_loses_its_beginning_and_is_counted(grains, base_store):
    given = choices.load(grains)
    long = given._replace(
        questions=[
            q._replace(prompt="맷돌이 돌아간다. " * 30 + q.prompt) if n < 5 else q
            for n, q in enumerate(given.questions)
        ]
    )
    _, found = answers_of(base_store.artefact(), long)
    assert found.whole.tolist() == [False] * 5 + [True] * (len(given.questions) - 5)


def test_the_harness_finds_the_same_likelihoods_in_the_checkpoint(grains, base_store):
    """lm-evaluation-harness loads the artefact's folder as it lies: `lm_eval --model hf --model_args pretrained=STORE/artefact`."""
    huggingface = pytest.importorskip(
        "lm_eval.models.huggingface", reason="lm-evaluation-harness is not installed (pip install lm-eval)"
    )
    from lm_eval.api.instance import Instance

    from stages.models.encoder import Encoder

    folder, given = base_store.artefact(), choices.load(grains, shots=1)
    asked = [
        (prompt, answer)
        for prompt, question in zip(choices.prompts(given), given.questions)
        for answer in question.answers
    ]
    harness = huggingface.HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", batch_size=4, max_length=64, add_bos_token=True
    )
    theirs = harness.loglikelihood([Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(asked)])
    encoder = Encoder(folder)
    model, found = answers_of(folder, given)
    for number, question in enumerate(given.questions):
        scores = np.array([theirs[2 * number + n][0] for n in range(2)]) / [
            len(answer.strip().encode()) for answer in question.answers
        ]
        assert found.right[number] == float(np.argmax(scores) == question.right)
    for (prompt, answer), (total, _) in zip(asked[:8], theirs):
        [(context, ids)] = choices.parted(encoder, prompt, [answer])
        whole = torch.tensor([[encoder.bos, *context.tolist(), *ids.tolist()]])
        with torch.no_grad():
            logps = model(input_ids=whole).logits[0, :-1].log_softmax(-1).gather(-1, whole[0, 1:, None])[:, 0]
        assert float(logps[-len(ids) :].sum()) == pytest.approx(total, abs=1e-3)


def test_shots_stand_in_front_and_never_show_the_question_itself(grains):
    given = choices.load(grains, shots=3)
    for text, question in zip(choices.prompts(given), given.questions):
        *shown, asked = text.split("\n\n")
        assert (
            asked == question.prompt and len(shown) == 3 and not any(one.startswith(question.prompt) for one in shown)
        )
    assert given.name == "grains, 3 shots" and choices.prompts(given) == choices.prompts(given)


def test_evaluate_asks_choices_problems_and_a_judge(grains, chat_store, base_store, sft_store, tmp_path, monkeypatch):
    """The judge here prefers the answer that begins as the reference does; it is asked in both orders."""
    from stages.evaluate import session
    from stages.models.teacher.base import Reply

    sums = tmp_path / "sums.jsonl"
    sums.write_text(
        "\n".join(json.dumps({"question": f"{n} + 1?", "answer": f"#### {n + 1}"}) for n in range(4)), "utf-8"
    )
    seen = []

    class Prefers:
        def answer(self, requests):
            for request in requests:
                seen.append(request.id)
                text = (
                    request.messages[-1][1]
                    if isinstance(request.messages[-1], tuple)
                    else request.messages[-1]["content"]
                )
                a, b = (text.find(f"{word}:\n") for word in ("답변 A", "답변 B"))
                first, second = text[a:b], text[b:]
                said = "tie" if ("It is" in first) == ("It is" in second) else "A" if "It is" in first else "B"
                yield Reply(request.id, request.id, text=json.dumps({"verdict": said}))

        def close(self):
            pass

    monkeypatch.setattr(session, "open_teacher", lambda options, journal: Prefers())
    stage = Evaluate(threads=1, choices=(str(grains),), problems=(str(sums),), shots=(0, 1), samples=8, max_new_tokens=8, solution_tokens=8,
                     judge={"kind": "endpoint", "url": "http://127.0.0.1:1/v1", "model": "judge"})  # fmt: skip
    stage.run(Inputs({"of": [chat_store], "model": [base_store, sft_store]}, 17), Store(tmp_path / "out"), Inline())
    report = json.loads((tmp_path / "out/artefact/report.json").read_text())
    untrained, base, sft = report["models"]
    assert (
        base["choices"]["grains"]["accuracy"] == base["metrics"]["accuracy (grains)"]
        and base["choices"]["grains"]["questions"] == 24
    )
    assert base["choices"]["grains"]["accuracy"] > untrained["choices"]["grains"]["accuracy"]
    assert set(base["choices"]) == {"grains", "grains, 1 shots"} and base["problems"]["sums, 1 shots"]["problems"] == 3
    judged = sft["judged"]
    assert judged["against"] == "pretrained" and judged["win_rate"] > 0.5 and judged["flip_rate"] == 0.0
    assert judged["wins"] + judged["losses"] + judged["ties"] + judged["undecided"] == 8
    assert len(seen) == 16 and {one.rpartition("/")[2] for one in seen} == {"forward", "backward"}
    answered = json.loads((tmp_path / "out/artefact/rows.json").read_text())["questions"]
    assert set(answered) == {"grains", "grains, 1 shots"}, "problems stand in the report with what was written"
    assert sum(answered["grains"]["pretrained"]) / 24 == pytest.approx(base["metrics"]["accuracy (grains)"], abs=1e-5)
