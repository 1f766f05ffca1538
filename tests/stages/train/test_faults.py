"""Every proof against its fault, put in on purpose: what passes on sound rows is refused with the fault in them."""

import numpy as np
import pytest

from pipeline.engine.pool import Inline
from pipeline.engine.stage import Inputs
from pipeline.errors import UsageError, WorkError
from pipeline.schema import child_id
from pipeline.storage.store import Store
from stages.models.chat.templates import DEFAULT, Chat
from stages.train import Train
from stages.train import data_check as doctor
from stages.train.objective.conversations import Conversations, Pairs
from stages.train.objective.corpus import TokenRows

torch = pytest.importorskip("torch")
CPU = torch.device("cpu")


def faults(findings):
    return {finding.check for finding in findings if finding.fault}


def packed_row(tokenizer, texts, before=(1,), after=(2,), number=0):
    ids, docs = [], []
    for n, text in enumerate(texts):
        tokens = [*before, *tokenizer(text, add_special_tokens=False)["input_ids"], *after]
        docs.append(
            {
                "id": child_id(f"d{number}-{n}", "test", "row", n),
                "start": len(ids),
                "end": len(ids) + len(tokens),
                "offset": 0,
            }
        )
        ids += tokens
    return {"id": child_id("row", "test", "row", number), "input_ids": ids, "docs": docs}


@pytest.fixture
def corpus_of(make_rows_store, tokenizer, sentences_of):
    def make(**framing):
        lines = sentences_of(5, 40)
        rows = [packed_row(tokenizer, lines[n : n + 2], number=n, **framing) for n in range(0, 40, 2)]
        return TokenRows([make_rows_store("TOKENS", rows)], None, 0.0, len(tokenizer))

    return make


def chats_of(make_rows_store, *conversations):
    rows = [{"id": child_id("c", "test", "row", n), "messages": messages} for n, messages in enumerate(conversations)]
    return make_rows_store("CHAT", rows)


def asked(n=0):
    return [{"role": "user", "content": f"{n}: 쌀은?"}, {"role": "assistant", "content": "It is rice."}]


# -- double BOS, ends, masks -------------------------------------------------------------------------------------------


def test_documents_with_two_begin_tokens_are_refused(corpus_of, tokenizer):
    assert not faults(doctor.examine(corpus_of(), tokenizer, "clm", 0.5))
    found = doctor.examine(corpus_of(before=(1, 1)), tokenizer, "clm", 0.5)
    assert faults(found) == {"begin tokens per segment"}
    with pytest.raises(UsageError, match="begin-of-sequence token more than once"):
        doctor.refuse(found)


def test_a_template_that_writes_a_second_begin_token_is_refused(chat_store, base_store, do_train, tmp_path):
    twice = tmp_path / "twice.jinja"
    twice.write_text("{{ bos_token }}" + DEFAULT, "utf-8")
    options = {"objective": "sft", "max_steps": 1, "threads": 1, "max_length": 64}
    bare = chat_store, {**options, "template": str(twice)}
    with pytest.raises(UsageError, match="another chat template|begin-of-sequence token more than once"):
        do_train(*bare, base=[base_store])
    found = doctor.examine(
        Conversations([chat_store], Chat(doctored(base_store), twice.read_text()), 64, 0.0, pack=True),
        doctored(base_store),
        "sft",
        0.5,
    )
    assert faults(found) == {"begin tokens per segment"}


LLAMA2 = "{% for m in messages %}{% if m.role=='user' %}{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"


def test_a_begin_token_before_every_turn_is_the_templates_own(make_rows_store, tokenizer):
    two = [*asked(1), *asked(2)]
    data = Conversations([chats_of(make_rows_store, *[two] * 8)], Chat(tokenizer, LLAMA2), 128, 0.0, pack=True)
    assert len(data) and not faults(doctor.examine(data, tokenizer, "sft", 0.5))


def test_rows_lost_for_any_reason_are_counted_and_refused(make_rows_store, tokenizer):
    rows = (
        [asked(n) for n in range(4)]
        + [[{"role": "user", "content": "x"}]] * 3
        + [[{"role": "user", "content": "x <|user|>"}, {"role": "assistant", "content": "y"}]] * 3
    )
    data = Conversations([chats_of(make_rows_store, *rows)], Chat(tokenizer), 64, 0.0, pack=True)
    found = {one.check: one for one in doctor.examine(data, tokenizer, "sft", 0.5)}["rows left out"]
    assert (
        found.value == "3 chat.no_answer, 3 chat.control_token"
        and "60% of the rows would be left out (3 chat.no_answer, 3 chat.control_token)" in found.fault
    )
    assert not faults(doctor.examine(data, tokenizer, "sft", 0.6))


def test_reasoning_that_the_template_leaves_out_is_counted_and_noted(make_rows_store, tokenizer):
    thought = [asked(1)[0], {**asked(1)[1], "reasoning": "rice is 쌀"}]
    store = chats_of(make_rows_store, asked(0), thought, [*thought, *asked(2)])
    check = "rows whose reasoning the template leaves out"
    data = Conversations([store], Chat(tokenizer), 128, 0.0, pack=True)
    assert {one.check: one for one in doctor.examine(data, tokenizer, "sft", 0.5)}[check].value == 2
    assert data.ledger(np.ones(len(data), bool))["note"].to_pylist() == [
        None,
        *["reasoning that the template leaves out"] * 2,
    ]
    telling = DEFAULT.replace(
        "{{ message['content'] + eos_token }}",
        "{{ (message['reasoning_content'] or '') + message['content'] + eos_token }}",
    )
    whole = Conversations([store], Chat(tokenizer, telling), 128, 0.0, pack=True)
    assert (
        telling != DEFAULT
        and {one.check: one for one in doctor.examine(whole, tokenizer, "sft", 0.5)}[check].value == 0
    )
    rows = [
        {
            "id": child_id("p", "test", "row", n),
            "prompt": [one[0]],
            "chosen": [one[1]],
            "rejected": [{"role": "assistant", "content": "corn"}],
        }
        for n, one in enumerate((asked(0), thought))
    ]
    pairs = Pairs([make_rows_store("PAIR", rows)], Chat(tokenizer), 128, 0.0)
    assert pairs.unseen() == [False, True]


def doctored(store):
    from stages.models.chat.templates import load_tokenizer

    return load_tokenizer(store.artefact())


def test_documents_that_never_end_are_refused(corpus_of, tokenizer, make_rows_store, sentences_of):
    assert faults(doctor.examine(corpus_of(after=()), tokenizer, "clm", 0.5)) == {"documents whose end is trained"}
    one_long = [
        packed_row(tokenizer, [line], number=n, before=(), after=()) for n, line in enumerate(sentences_of(5, 20))
    ]
    assert not faults(
        doctor.examine(
            TokenRows([make_rows_store("TOKENS", one_long)], None, 0.0, len(tokenizer)), tokenizer, "clm", 0.5
        )
    ), "pieces of one text"


@pytest.mark.parametrize("template, check", [
    # The marks leave out the token that ends the turn.
    (DEFAULT.replace("{{ message['content'] + eos_token }}{% endgeneration %}", "{{ message['content'] }}{% endgeneration %}{{ eos_token }}"), "answers whose end is trained"),
    # The marks stand around the whole conversation.
    ("{% generation %}" + DEFAULT.replace("{% generation %}", "").replace("{% endgeneration %}", "") + "{% endgeneration %}", "conversations without a mask"),
])  # fmt: skip
def test_a_template_with_marks_in_the_wrong_place_is_refused(template, check, chat_store, tokenizer):
    assert not faults(
        doctor.examine(Conversations([chat_store], Chat(tokenizer), 64, 0.0, pack=True), tokenizer, "sft", 0.5)
    )
    data = Conversations([chat_store], Chat(tokenizer, template), 64, 0.0, pack=True)
    assert check in faults(doctor.examine(data, tokenizer, "sft", 0.5))


def test_all_labels_masked_is_refused_whole_and_in_part(chat_store, base_store, make_rows_store, tokenizer, do_train):
    blind = "{% for m in messages %}{% generation %}{% if 'rice' in m['content'] %}{{ m['content'] + eos_token }}{% endif %}{% endgeneration %}{% if 'rice' not in m['content'] %}{{ m['content'] }}{% endif %}{% endfor %}"
    data = Conversations([chat_store], Chat(tokenizer, blind), 64, 0.0, pack=True)
    assert "chat.all_masked" in data.reasons and len(data)
    assert "conversations all masked" in faults(doctor.examine(data, tokenizer, "sft", 0.5))


def test_labels_that_reach_into_the_next_document_are_refused(tokens_store, tokenizer, monkeypatch):
    """The fault: labels shifted over the whole row instead of inside each segment."""
    from stages.train.objective import corpus as module

    data = TokenRows([tokens_store], None, 0.2, 512)
    assert not faults(doctor.examine(data, tokenizer, "clm", 0.5))
    right = module.join

    def shifted(parts):
        row = right(parts)
        return row._replace(labels=np.append(row.ids[1:], -100).astype(np.int64))

    monkeypatch.setattr(module, "join", shifted)
    assert "labels in their segment" in faults(doctor.examine(data, tokenizer, "clm", 0.5))


def test_rows_without_labels_are_refused(tokens_store, tokenizer, monkeypatch):
    from stages.train.objective import corpus as module

    data, right = TokenRows([tokens_store], None, 0.2, 512), module.join
    monkeypatch.setattr(
        module, "join", lambda parts: right(parts)._replace(labels=np.full(sum(len(part.ids) for part in parts), -100))
    )
    assert "rows without labels" in faults(doctor.examine(data, tokenizer, "clm", 0.5))


def test_a_context_that_most_rows_do_not_fit_is_refused_with_the_levers(chat_store, tokenizer):
    data = Conversations([chat_store], Chat(tokenizer), 64, 0.0, pack=True)
    width = int(np.quantile([len(part[0]) for part in data._parts], 0.3))
    short = Conversations([chat_store], Chat(tokenizer), width, 0.0, pack=True)
    with pytest.raises(UsageError, match="do not fit") as fault:
        doctor.refuse(doctor.examine(short, tokenizer, "sft", 0.5))
    assert "max_length" in fault.value.hint and "most_lost" in fault.value.hint
    assert not faults(doctor.examine(short, tokenizer, "sft", 1.0))


# -- documents that see each other -------------------------------------------------------------------------------------


def test_documents_that_see_each_other_are_refused(
    tokens_store, base_store, tiny_tokenizer, tiny, do_train, monkeypatch
):
    """The fault: a row as one document, as a kernel that ignores its bounds would give."""
    from stages.models.inference import score
    from stages.models.inference.chain import load_model

    model, data = (
        load_model(base_store.artefact(), dtype=torch.float32, device=CPU),
        TokenRows([tokens_store], None, 0.2, 512),
    )
    clean = doctor.documents_apart(model, data, 3, CPU, torch.float32)
    assert not clean.fault and clean.value < 1e-5
    right = score.states
    monkeypatch.setattr(
        score,
        "states",
        lambda model, batch: right(
            model, batch._replace(mask=None, positions=torch.arange(batch.ids.shape[1]).expand_as(batch.ids))
        ),
    )
    assert doctor.documents_apart(model, data, 3, CPU, torch.float32).value > 1e-2
    with pytest.raises(UsageError, match="documents see each other"):
        do_train(tokens_store, {**tiny, "max_steps": 1}, tokenizer=tiny_tokenizer)


# -- chosen and rejected -----------------------------------------------------------------------------------------------


DPO = {"objective": "dpo", "max_steps": 1, "threads": 1, "holdout": 0.2, "max_length": 64}


def test_exchanged_sides_are_refused_when_read(pair_store, base_store, do_train, monkeypatch):
    from stages.train.objective import conversations as module

    right = module.encode_pair
    monkeypatch.setattr(
        module,
        "encode_pair",
        lambda chat, prompt, chosen, rejected, *more: right(chat, prompt, rejected, chosen, *more),
    )
    with pytest.raises(UsageError, match="trained as chosen is the store's rejected one"):
        do_train(pair_store, DPO, base=[base_store])


def test_exchanged_sides_are_refused_in_the_loss(pair_store, base_store, do_train, monkeypatch):
    from stages.train.objective.preferences import AnswerLogps, Preference

    right = Preference.answers
    monkeypatch.setattr(
        Preference, "answers", lambda self, *given: AnswerLogps(*(found.flip(1) for found in right(self, *given)))
    )
    with pytest.raises(UsageError, match="pulls towards the rejected"):
        do_train(pair_store, DPO, base=[base_store])


def test_pairs_scored_the_other_way_round_are_refused(pair_store, make_rows_store, tokenizer):
    rows = [{**row, "score_chosen": 9.0, "score_rejected": 2.0} for row in pair_store.table().to_pylist()]
    assert not faults(
        doctor.examine(Pairs([make_rows_store("PAIR", rows)], Chat(tokenizer), 64, 0.0), tokenizer, "dpo", 0.5)
    )
    swapped = [
        {**row, "chosen": row["rejected"], "rejected": row["chosen"], "score_chosen": 2.0, "score_rejected": 9.0}
        for row in rows
    ]
    data = Pairs([make_rows_store("PAIR", swapped)], Chat(tokenizer), 64, 0.0)
    assert faults(doctor.examine(data, tokenizer, "dpo", 0.5)) == {"pairs scored the other way round"}


def test_pairs_that_stand_both_ways_round_are_refused(pair_store, make_rows_store, tokenizer):
    rows = pair_store.table().to_pylist()[:40]
    mirrored = [
        {**row, "id": child_id(row["id"], "test", "mirror", 0), "chosen": row["rejected"], "rejected": row["chosen"]}
        for row in rows[:8]
    ]
    data = Pairs([make_rows_store("PAIR", rows + mirrored)], Chat(tokenizer), 64, 0.0)
    assert faults(doctor.examine(data, tokenizer, "dpo", 0.5)) == {"pairs both ways round"}


def test_pairs_both_ways_round_are_seen_in_a_store_of_any_size(pair_store, tokenizer):
    """The share is that of the pairs looked at."""

    class Mirrored(Pairs):
        def __len__(self):
            return 1_000_000

        def pair(self, index):
            chosen, rejected = super().pair(index // 2 % 100)
            return (rejected, chosen) if index % 2 else (chosen, rejected)

    data = Mirrored([pair_store], Chat(tokenizer), 64, 0.0)
    assert doctor._both_ways(data).fault.endswith("of 2048 pairs stand in the store both ways round")


# -- a skipped epoch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["skipped", "repeated"])
def test_an_epoch_skipped_or_repeated_is_refused(fault, tokens_store, tiny_tokenizer, tiny, tmp_path, monkeypatch):
    """The faults: after a checkpoint the run goes on an epoch later, or its second epoch takes the first rows again."""
    from stages.train.engine import trainer

    inputs = Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17)
    stage = Train(**{**tiny, "num_train_epochs": 3, "per_device_train_batch_size": 32})
    [sound] = stage.run(inputs, Store(tmp_path / "sound"), Inline())
    assert sound.notes["last"]["step"] > 6
    if fault == "skipped":
        right = trainer.Passes.__getitem__
        monkeypatch.setattr(
            trainer.Passes, "__getitem__",
            lambda self, at: right(self, min(at + self.objective.rows // 32, len(self) - 1) if at > 4 else at),
        )  # fmt: skip
    else:
        monkeypatch.setattr(trainer.Positions, "__getitem__", lambda self, at: at % (self.rows // 2))
    with pytest.raises(WorkError, match="rows were not trained on as planned"):
        stage.run(inputs, Store(tmp_path / fault), Inline())


# -- stale caches ------------------------------------------------------------------------------------------------------


def test_shards_packed_with_another_tokenizer_of_the_same_size_are_refused(tokens_store, tokenizer, make_rows_store):
    """The fault: the shards of an older tokenizer, whose ids all exist in the new one."""
    assert not faults(doctor.examine(TokenRows([tokens_store], None, 0.2, 512), tokenizer, "clm", 0.5))
    exchange = np.arange(512)
    exchange[7:] = np.random.default_rng(0).permutation(exchange[7:])
    rows = [{**row, "input_ids": exchange[row["input_ids"]].tolist()} for row in tokens_store.table().to_pylist()]
    stale = TokenRows([make_rows_store("TOKENS", rows)], None, 0.2, 512)
    assert faults(doctor.examine(stale, tokenizer, "clm", 0.5)) == {"tokens that read back"}


def test_shards_of_another_tokenizer_are_refused_by_their_manifest_with_a_base_too(
    tokens_store, base_store, tiny_tokenizer
):
    from stages.models.inference.chain import open_link
    from stages.train.session import check_packed_with

    link = open_link(base_store.artefact())
    assert link.card["tokenizer"] == tiny_tokenizer.content_hash

    class Packed:
        name = "pack"

        def __init__(self, content):
            self.content = content

        def manifest(self):
            return {"lineage": {"tokenizer": [{"content_hash": self.content}]}}

    check_packed_with([Packed(tiny_tokenizer.content_hash)], None, [link])
    for given in ((None, [link]), (tiny_tokenizer, [])):
        with pytest.raises(UsageError, match="packed with another tokenizer"):
            check_packed_with([Packed("of an older one")], *given)


def test_another_template_tokenizer_or_option_is_another_key(
    chat_store, base_store, tokens_store, tiny_tokenizer, tmp_path
):
    """Nothing tokenised is kept apart from its key: what decides the tokens is in it."""
    inputs = Inputs({"of": [chat_store], "base": [base_store]}, 17)
    template = tmp_path / "t.jinja"
    template.write_text(DEFAULT, "utf-8")
    key = Train(objective="sft", template=str(template)).key(inputs)
    template.write_text(DEFAULT + " ", "utf-8")
    assert Train(objective="sft", template=str(template)).key(inputs) != key
    other = Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17, hashes={"tokenizer": ["another"]})
    assert Train().key(other) != Train().key(Inputs({"of": [tokens_store], "tokenizer": [tiny_tokenizer]}, 17))
    assert Train(objective="sft", max_length=64).key(inputs) != Train(objective="sft").key(inputs)


def test_a_store_without_its_columns_is_refused_by_name(make_rows_store, tokenizer):
    import pyarrow as pa

    from pipeline.storage.ledger import Ledger

    store = Store(make_rows_store("CHAT", []).path + "-bare")
    table = pa.table({"id": pa.array([child_id("x", "test", "row", 0)], pa.large_string())})
    store.put(0, table, Ledger.rows(table["id"].to_pylist()), key="test", stage="test", input_ids=table["id"])
    with pytest.raises(UsageError, match="has no column messages"):
        Conversations([store], Chat(tokenizer), 64, 0.0, pack=True)


# -- the view ----------------------------------------------------------------------------------------------------------


def test_the_view_shows_what_is_trained(chat_store, tokenizer):
    data = Conversations([chat_store], Chat(tokenizer), 64, 0.0, pack=False)
    plain = doctor.view(data.row(0), tokenizer, colour=False)
    assert plain.startswith("<s><|user|>") and "⟦It is" in plain.replace("⟧⟦", "") and plain.endswith("⟦</s>⟧")
    painted = doctor.view(data.row(0), tokenizer, colour=True)
    assert painted.count(doctor.GREEN) == 2 and doctor.DIM in painted
