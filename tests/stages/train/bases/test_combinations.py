"""Objective x method x architecture x template class: each combination trains, and a plain library finds in its artefact what the run says.

Every architecture comes with the template its family writes. Of the 456 combinations a third is run: the method changes from one
combination to the next, so that every pair of architecture (with its template), objective and method is met. MAETDOL_TURN=1 and =2 run the
other two thirds.

One run: what is asked for of every row is what the template writes of its answers; the held-out figures before the first step are those of
the base in plain transformers, those after the last step those of the artefact reloaded in plain transformers and PEFT, and those of the
adapter merged; the loss falls. With `-s` the table of tests/bench/train/RESULTS.md is printed.
"""

import importlib.util
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.errors import UsageError
from stages.models.chat.templates import DEFAULT
from stages.models.inference.folder import ModelFolder

torch = pytest.importorskip("torch")
TRL = importlib.util.find_spec("trl")
CPU = torch.device("cpu")

FAMILIES = {
    "Llama": "llama3_2", "Mistral": "mistral", "Mixtral": "mistral", "Qwen2": "qwen2_5", "Qwen3": "qwen3", "Qwen3Moe": "qwen3_training",
    "Gemma2": "gemma", "Gemma3Text": "gemma3", "Phi3": "phi3", "Cohere": "cohere", "Cohere2": "cohere2", "Granite": "granite",
    "GraniteMoe": "granite", "Exaone4": "exaone", "GptOss": "gptoss", "Olmo2": "olmo", "SmolLM3": "smollm", "Glm4": "glm4moe",
    "DeepseekV3": "deepseekv3",
}  # fmt: skip
"""By architecture the template: a file of TRL's, or one of `OWN`."""
ROLES = "{% for m in messages %}OPEN{% if m.role == 'assistant' %}{% generation %}{{ BEFORE + m.content + END }}{% endgeneration %}{% else %}{{ m.content + END }}{% endif %}\n{% endfor %}{% if add_generation_prompt %}PROMPT{% endif %}"


def roles(opening, end, before="''", marked=True):
    """A template of one mark in front of a turn and one behind it."""
    text = (
        ROLES.replace("OPEN", opening.replace("ROLE", "{{ m.role }}"))
        .replace("END", f"'{end}'")
        .replace("BEFORE", before)
    )
    text = text.replace("PROMPT", opening.replace("ROLE", "assistant"))
    return text if marked else re.sub(r"{% (end)?generation %}", "", text)


OWN = {
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m.role not in ('user', 'assistant') or (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles alternate') }}{% elif m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
        " ", "</s>",
    ),
    "granite": (roles("<|start_of_role|>ROLE<|end_of_role|>", "<|end_of_text|>", marked=False), "", "<|end_of_text|>"),
    "exaone": (roles("[|ROLE|]", "[|endofturn|]", marked=False), "", "[|endofturn|]"),
    "olmo": (DEFAULT, "", "</s>"),
    "smollm": (roles("<|im_start|>ROLE\n", "<|im_end|>", "'<think>\n\n</think>\n'"), "<think>\n\n</think>\n", "<|im_end|>"),
}  # fmt: skip
"""Where TRL ships none: one of the same class (no system turn and alternating roles; role marks; an own end mark; plain, marked; an empty
reasoning written), what it writes before an answer, and what ends one."""
CALL = '{"name": "look", "arguments": {"q": "x"}}'
CALLED = {
    "qwen2_5": f"<tool_call>\n{CALL}\n</tool_call><|im_end|>",
    "qwen3": f"<tool_call>\n{CALL}\n</tool_call><|im_end|>",
    "qwen3_training": f"<think>\n\n</think>\n\n<tool_call>\n{CALL}\n</tool_call><|im_end|>",
    "llama3_2": '{"name": "look", "parameters": {"q": "x"}}<|eot_id|>',
    "gptoss": ' to=functions.look<|channel|>commentary json<|message|>{"q": "x"}<|call|>',
    "glm4moe": "\n<think></think>\n<tool_call>look\n<arg_key>q</arg_key>\n<arg_value>x</arg_value>\n</tool_call><|observation|>",
    "deepseekv3": '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{"q": "x"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>',
}
"""What is learnt of a turn that calls a tool; templates without are not given such rows, or lose them."""
THOUGHT = {
    "qwen3": "<think>\nfirst of all\n</think>\n\n{}<|im_end|>",
    "qwen3_training": "<think>\nfirst of all\n</think>\n\n{}<|im_end|>",
    "gptoss": "<|channel|>analysis<|message|>first of all<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "glm4moe": "\n<think>first of all</think>\n{}<|user|>",
}
"""What is learnt of the last answer where it has reasoning; the other templates leave it out."""
LOST = {"gemma": {"system": "chat.system"}, "mistral": {"system": "chat.system"}}
TOOLS = '[{"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}}]'
MARKS = re.compile(
    r"<[|｜][^<>]+[|｜]>|<(?:start|end)_of_turn>|\[\|\w+\|\]|\[/?INST\]|\[gMASK\]|<sop>|</?think>|</?tool_call>"
)
"""What a family's tokenizer has as tokens of its own."""

METHODS = ("full", "lora", "qlora")
OBJECTIVES = ("clm", "mlm", "sft", "dpo", "kto", "orpo", "reward", "rl")
TURN = int(os.environ.get("MAETDOL_TURN", "0"))
CELLS = [
    (architecture, objective, METHODS[(row + column + TURN) % 3])
    for row, architecture in enumerate(FAMILIES)
    for column, objective in enumerate(OBJECTIVES)
]
QUICK = (("Gemma3Text", "sft"), ("Qwen3Moe", "dpo"), ("Cohere", "orpo"))
"""Run by `make test` too."""
WINDOWED = ("Mistral", "Qwen2", "Gemma2", "Gemma3Text", "Cohere2", "Exaone4", "GptOss")
HEADLESS = ("Cohere", "Cohere2", "Granite", "GraniteMoe")
REFUSED = {
    **{(name, "mlm"): "looks back 16 tokens, so it cannot read both ways" for name in WINDOWED},
    **{(name, "reward"): "cannot carry a reward's head" for name in HEADLESS},
}
"""What cannot be right, and the words it is refused with."""
RATES = {"full": 3e-3, "lora": 1e-2, "qlora": 1e-2}
BETA = 0.5
OPTIONS = {
    "clm": {},
    "mlm": {"max_steps": 12},
    "sft": {"sft.packing": True},
    "dpo": {"dpo.beta": BETA},
    "kto": {"kto.beta": BETA},
    "orpo": {},
    "reward": {},
    "rl": {
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "rl.num_generations": 2,
        "rl.max_completion_length": 6,
        "rl.rewards": [{"length": {"most": 3}}],
    },
}
WORDS = {"보리": "barley", "쌀": "rice", "콩": "beans", "밀": "wheat", "조": "millet", "수수": "sorghum"}


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


CALLING = turn("assistant", "", tool_calls=[{"id": "c12345678", "name": "look", "arguments": '{"q": "x"}'}])
RESULT = turn("tool", "21 C", name="look", tool_call_id="c12345678")


def conversations():
    """(kind, messages, tools) of every kind, six each; the last turn is an answer."""
    for number, (korean, english) in enumerate(WORDS.items()):
        asked, answer = turn("user", f"{number}: {korean}는 영어로?"), turn("assistant", f"It is {english}.")
        yield "one", [asked, answer], None
        yield "two", [turn("user", f"{number}?"), turn("assistant", "Wait."), asked, answer], None
        yield "system", [turn("system", f"Be brief {number}."), asked, answer], None
        yield "tools", [asked, CALLING, RESULT, answer], TOOLS
        yield "reasoning", [asked, {**answer, "reasoning": "first of all"}], None


class Family:
    """A template: its text, its tokenizer, stores of rows, and what is to be learnt of them."""

    def __init__(self, name, folder, trained_text, pack, make_rows_store):
        self.name, self.folder, self._trained_text = name, folder, trained_text
        self.template = (
            OWN[name][0]
            if name in OWN
            else (Path(TRL.origin).parent / f"chat_templates/{name}.jinja").read_text("utf-8")
        )
        self.tokenizer = self._tokenizer()
        self.kinds, self.wanted, chats, pairs, texts = {}, {}, [], [], []
        for number, (kind, messages, tools) in enumerate(conversations()):
            row = {"id": f"{number:032x}", "tools": tools}
            chats.append({**row, "messages": messages})
            other = turn("assistant", "No, who knows.")
            pairs.append({**row, "prompt": messages[:-1], "chosen": messages[-1:], "rejected": [other]})
            self.kinds[row["id"]] = kind
            if not self.lost(kind):
                of_pair = [self.asked(kind, messages[-1:]), self.answers([other["content"]])]
                self.wanted[row["id"]] = (of_pair, [self.asked(kind, messages)])
            texts += [message["content"] for message in messages]
        documents = ["\n".join(texts[at : at + 4]) for at in range(0, len(texts), 4)]
        tokens = make_rows_store("TOKENS", pack(self.tokenizer, documents, 64))
        pairs, chats = make_rows_store("PAIR", pairs), make_rows_store("CHAT", chats)
        self.stores = {"CHAT": chats, "PAIR": pairs, "TOKENS": tokens}

    def of(self, objective):
        """The store an objective trains on."""
        return self.stores[
            "TOKENS" if objective in ("clm", "mlm") else "CHAT" if objective in ("sft", "rl") else "PAIR"
        ]

    def answers(self, answers):
        """What is learnt of a conversation of these answers."""
        if self.name not in OWN:
            return self._trained_text(self.name, answers)
        _, before, end = OWN[self.name]
        return "".join(before + answer + end for answer in answers)

    def asked(self, kind, messages):
        """What is learnt of a conversation."""
        said = [message["content"] for message in messages if message["role"] == "assistant" and message["content"]]
        if kind == "reasoning" and self.name in THOUGHT:
            return THOUGHT[self.name].format(said[0])
        return (CALLED[self.name] if CALLING in messages else "") + self.answers(said)

    def lost(self, kind):
        """The reason for which a row of this kind is left out, if it is."""
        return LOST.get(self.name, {}).get(kind) or (
            "chat.tools" if kind == "tools" and self.name not in CALLED else None
        )

    def _tokenizer(self):
        """Byte-level BPE of what the template writes, the family's marks tokens of their own."""
        from transformers import PreTrainedTokenizerFast

        from stages.models.chat.templates import Chat, ChatFault
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        special = ["<unk>", "<s>", "</s>", "<pad>"]

        def trained(marks, texts):
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(
                vocab_size=SIZE, special_tokens=special, initial_alphabet=alphabet, show_progress=False
            )
            raw.train_from_iterator(texts, trainer)
            made = PreTrainedTokenizerFast(
                tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
            )
            made.chat_template = self.template
            if marks:
                made.add_special_tokens({"extra_special_tokens": marks})
            return made

        chat, texts = Chat(trained([], [self.template])), []
        for _, messages, tools in conversations():
            try:
                texts.append(chat.render(messages, tools=tools))
            except ChatFault:
                continue
        marks = sorted({mark for text in texts for mark in MARKS.findall(text)} - {"<s>", "</s>"})
        return trained(marks, [MARKS.sub(" ", text) for text in texts])


SIZE = 600
"""Tokens of a family's tokenizer, its marks aside."""


@pytest.fixture(scope="module")
def family(tmp_path_factory, trained_text, pack_documents, make_rows_store):
    """`family(template)` -> its Family, made once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = Family(name, tmp_path_factory.mktemp(name), trained_text, pack_documents, make_rows_store)
        return made[name]

    return get


@pytest.fixture(scope="module")
def base_of(family, made, tmp_path_factory):
    """`base_of(architecture)` -> the folder of a tiny random model with the tokenizer of its family."""
    folders = {}

    def get(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("models") / name
            tokenizer = family(FAMILIES[name]).tokenizer
            made(name, vocab_size=len(tokenizer), max_position_embeddings=1024).save_pretrained(folders[name])
            tokenizer.save_pretrained(folders[name])
        return folders[name]

    return get


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads wait for one another longer than they compute on models as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run_of(monkeypatch):
    """What the last run in this process read: its session and its rows."""
    from stages.train.session import Session

    found, put = SimpleNamespace(), Session._put

    def spy(self, built, data, *rest):
        found.session, found.data = self, data
        return put(self, built, data, *rest)

    monkeypatch.setattr(Session, "_put", spy)
    return found


def spelled(tokenizer, row):
    """The tokens a row asks for, as text."""
    return tokenizer.decode(row.labels[row.labels >= 0].tolist())


def check_masks(run, family, objective, tokenizer):
    """What is asked for of every row is what the template writes of its answers; what is lost is lost for its reason."""
    data = run.data
    if objective in ("clm", "mlm"):
        rows = [data.row(index) for index in range(len(data))]
        assert all(part.labels[:-1].tolist() == part.ids[1:].tolist() for row in rows for part in apart(row))
        return
    for row_id, reason in zip(data.ids, data.reasons):
        lost = family.lost(family.kinds[row_id])
        assert reason == lost if lost else reason in (None, "train.held_out"), family.kinds[row_id]
    if objective == "rl":
        for messages, tools in data.train:
            if all(message["role"] != "tool" for message in messages):
                plain = [{"role": message["role"], "content": message["content"]} for message in messages]
                theirs = tokenizer.apply_chat_template(plain, add_generation_prompt=True)["input_ids"]
                assert theirs == run.session.chat.prompt(messages, tools).tolist()
        return
    sides = [(part,) for part in data._parts] if objective == "sft" else data._pairs
    found = {
        row_id: [spelled(family.tokenizer, side) for side in given]
        for row_id, given in zip(data.ids, sides)
        if given and given[0]
    }
    assert found == {row_id: wanted[objective == "sft"] for row_id, wanted in family.wanted.items() if wanted}


def apart(row):
    """The segments of a row, each by itself: ids and labels."""
    for number in range(1, int(row.segments.max()) + 1):
        inside = row.segments == number
        yield SimpleNamespace(ids=row.ids[inside], labels=row.labels[inside])


def logps(model, part):
    """The log-probabilities of what is asked for, by the model's own logits."""
    logits = model(input_ids=torch.from_numpy(part.ids).long()[None]).logits[0].float().log_softmax(-1)
    labels = torch.from_numpy(part.labels)
    return logits[torch.arange(len(labels)), labels.clamp(min=0)][labels >= 0].double()


@torch.no_grad()
def held_figures(model, run, objective, reference=None):
    """Figures of held-out rows, each computed alone by plain transformers, under the names of the curve."""
    data, held = run.data, range(run.data.held_rows)
    if objective == "rl":
        return {"reward": greedy_reward(model, run)}
    if objective in ("clm", "sft", "mlm"):
        objective = run.session._objective(data)
        rows = [objective._hidden(n, True) if hasattr(objective, "_hidden") else data.row(n, True) for n in held]
        found = torch.cat([logps(model, part) for row in rows for part in apart(row)])
        return {"loss": -float(found.mean())}
    pairs = [data.pair(n, True) for n in held]
    if objective == "reward":
        given = [
            [float(model(input_ids=torch.from_numpy(side.ids).long()[None]).logits) for side in pair] for pair in pairs
        ]
        return dict(zip(("chosen_reward", "rejected_reward"), torch.tensor(given).mean(0).tolist()))
    found = [[logps(model, side) for side in pair] for pair in pairs]
    means = torch.tensor([[side.mean() for side in pair] for pair in found]).mean(0).tolist()
    figures = dict(zip(("chosen_logp", "rejected_logp"), means))
    if reference is not None and objective != "orpo":
        ratios = [[side.sum() - logps(reference, own).sum() for side, own in zip(*both)] for both in zip(found, pairs)]
        figures["margin"] = float(torch.tensor([BETA * (chosen - rejected) for chosen, rejected in ratios]).mean())
    return figures


def greedy_reward(model, run):
    """Mean reward of greedy answers, drawn by transformers' own `generate`."""
    rewards = []
    for messages, tools in run.data.held:
        ids = torch.from_numpy(run.session.chat.prompt(messages, tools)).long()[None]
        stops = run.session.chat.stops()
        made = model.generate(input_ids=ids, max_new_tokens=6, do_sample=False, eos_token_id=stops, pad_token_id=3)
        text = run.session.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip()
        rewards.append(min(1.0, 3 / max(1, len(text)) if text else 1.0))
    return sum(rewards) / len(rewards)


def base_model(folder, method, objective):
    """The base as a run of this method begins with it, in plain transformers."""
    from stages.models.inference.chain import load_model

    model = load_model(folder, dtype=torch.float32, device=CPU, four_bit=method == "qlora").eval()
    if objective == "mlm":
        model.config.is_causal = False
    return model


def reloaded(store, folder, method, objective):
    """The artefact in plain transformers and PEFT."""
    from peft import AutoPeftModelForCausalLM, PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    artefact = store.artefact()
    if objective == "reward":
        return AutoModelForSequenceClassification.from_pretrained(artefact).eval()
    if method == "full" or objective == "mlm":
        return AutoModelForCausalLM.from_pretrained(artefact).eval()
    if method == "lora":
        return AutoPeftModelForCausalLM.from_pretrained(artefact).eval()
    return PeftModel.from_pretrained(base_model(folder, method, objective), artefact).eval()


def differences(found, line):
    return max(abs(value - line[name]) for name, value in found.items())


def fell(lines):
    """Did the loss that was trained fall? Of mlm some eight hidden tokens are held out, whose loss may rise by chance."""
    return sum(line["loss"] for line in lines[-4:]) < sum(line["loss"] for line in lines[:4])


@pytest.mark.parametrize(
    "architecture, objective, method",
    [pytest.param(*cell, marks=() if cell[:2] in QUICK else pytest.mark.slow) for cell in CELLS],
)
def test_it_trains_what_the_template_says_and_is_what_it_says_everywhere(
    architecture, objective, method, family, base_of, run_of, do_train, read_history, table, tmp_path
):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from stages.train.commands import Merge

    folder, rows = base_of(architecture), family(FAMILIES[architecture])
    options = {
        "objective": objective,
        "method": method,
        "threads": 1,
        "holdout": 0.2,
        "max_steps": 4,
        "learning_rate": RATES[method],
        "per_device_train_batch_size": 6,
        **({"lora.r": 4} if method != "full" else {}),
        **OPTIONS[objective],
    }
    if told := REFUSED.get((architecture, objective)):
        with pytest.raises(UsageError, match=told):
            do_train(rows.of(objective), options, base=[ModelFolder(folder)])
        table(architecture, objective, "refused")
        return
    store = do_train(rows.of(objective), options, base=[ModelFolder(folder)])
    held = read_history(store).held
    check_masks(run_of, rows, objective, AutoTokenizer.from_pretrained(store.artefact()))
    base = base_model(folder, method, objective)
    off = [0.0 if objective == "reward" else differences(held_figures(base, run_of, objective), held[0])]
    trained = held_figures(reloaded(store, folder, method, objective), run_of, objective, base)
    off.append(differences(trained, held[-1]))
    if method != "full" and objective not in ("mlm", "reward"):
        merged, chain = tmp_path / "merged", (str(folder), store.path)
        Merge(of=rows.stores["CHAT"].path, folder=str(merged), chain=chain, holdout=0.2, threads=1, rows=4).run()
        into = json.loads((merged / "maetdol.json").read_text())["merged_into"]
        assert into == ("4 bits written out" if method == "qlora" else "full precision")
        off.append(
            differences(held_figures(AutoModelForCausalLM.from_pretrained(merged).eval(), run_of, objective), held[-1])
        )
    table(architecture, objective, f"{method} {held[0]['loss']:.2f} -> {held[-1]['loss']:.2f}", off)
    assert max(off) < 1e-4, off
    assert (
        objective == "rl"
        or held[-1]["loss"] < held[0]["loss"]
        or objective == "mlm"
        and fell(read_history(store).train)
    )
    assert objective != "rl" or any(line["loss"] for line in read_history(store).train)


@pytest.fixture(scope="module")
def table():
    """`table(architecture, objective, cell, off)` collects what is printed at the end."""
    cells, offs = {}, []

    def put(architecture, objective, cell, off=()):
        cells[architecture, objective] = cell
        offs.append(max(off, default=0.0))

    yield put
    print(f"\n{len(cells)} cells, greatest difference {max(offs, default=0.0):.1e}")
    print("| architecture, template |", " | ".join(OBJECTIVES), "|")
    for name, template in FAMILIES.items():
        print(f"| {name}, {template} |", " | ".join(cells.get((name, objective), "") for objective in OBJECTIVES), "|")
