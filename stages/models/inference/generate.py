"""Answers from a local checkpoint: batched Hugging Face inference, the same for a student, a teacher and a report.

What comes out depends on the weights, the prompt, the sampling and the seed: every answer draws from a stream of its own,
seeded by (seed, prompt, number of the sample), so that neither its neighbours in the batch nor the order of the prompts
change it, apart from the last bits that padding can move on some hardware. torch's global random state is not touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import UsageError
from stages.models.chat.calls import CallNotation
from stages.models.chat.template_lock import check_lock
from stages.models.chat.templates import Chat, ChatFault, load_tokenizer
from stages.models.inference.chain import ChainLink, assemble, chain_of, four_bit_of, open_link
from stages.models.inference.device import arithmetic, number_type, patient
from stages.models.inference.grammar import AnswerGrammar, Grammar, Grammars, HeldToGrammars
from stages.models.inference.streamed import Listener, Pieces, check_alone, spelled
from stages.models.inference.token_scores import TokenScore, TokenScores


class Generation(NamedTuple):
    """One answer. `finish`: `stop` (ended by itself), `length` (cut), `over_context` (the prompt does not fit), or the
    reason of a prompt no template may see (`chat.control_token`, `chat.empty`, ...); the text is empty in the last two."""

    text: str
    finish: str
    tokens: int
    """Tokens made, the one that ends the answer included."""
    prompt_tokens: int
    scores: tuple[TokenScore, ...] | None = None
    """Of each token, the one that ends the answer left out; only where `SamplingParams.logprobs` wants them."""


class Prompt(NamedTuple):
    """What an answer is made to: token ids (int32), or the reason why there are none."""

    ids: np.ndarray | str
    calls: CallNotation | None = None
    """Calls of tools are to be read from the answer, so that the marks they are made of stay in its text."""
    grammar: Grammar | None = None
    behind: tuple[int, ...] | None = None
    """The last ids of a text that the answer goes on with, so that its first blank belongs to it; None where it begins anew."""

    @property
    def size(self) -> int:
        return 0 if isinstance(self.ids, str) else len(self.ids)


class SamplingParams(NamedTuple):
    """How answers are drawn. `temperature` 0 is greedy."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    """Strings that end an answer; they are cut off."""
    frequency_penalty: float = 0.0
    """Taken from a token's score for every time the answer has it already (OpenAI's definition)."""
    presence_penalty: float = 0.0
    """Taken once from the score of every token the answer has already."""
    logprobs: int | None = None
    """Log-probabilities of the tokens are wanted, and of so many of the likeliest beside each."""

    def assistable(self) -> bool:
        """Whether a draft model may help: greedy, nothing depends on what was made so far, and no scores are wanted."""
        return self.temperature == 0 and self.logprobs is None and not (self.frequency_penalty or self.presence_penalty)


class Generator:
    """A model, with adapters on it if given, ready to answer.

    `model` and `adapters` are artefact folders (or `Link`s); any order, the cards decide. `four_bit` loads the base in NF4;
    None does so where the last adapter was trained that way. The tokenizer is the last artefact's own unless given; one
    that renders the lock's probe otherwise is refused (UsageError). `batch` prompts are answered at a time.
    """

    def __init__(
        self,
        model: Path | str | ChainLink,
        adapters: Sequence[Path | str | ChainLink] = (),
        *,
        tokenizer: Path | str | None = None,
        template: str | None = None,
        four_bit: bool | None = None,
        dtype: str = "auto",
        threads: int = 2,
        batch: int = 8,
        draft: Path | str | None = None,
    ):
        links = [part if isinstance(part, ChainLink) else open_link(Path(part)) for part in (model, *adapters)]
        self.chain = chain_of(links)
        self.threads, self.batch = threads, batch
        patient()
        self.chat_template = Chat(load_tokenizer(tokenizer or tokenizer_of(self.chain), template))
        check_lock(self.chain[-1].card.get("template_lock"), self.chat_template, f"the model in {self.chain[-1].path}")
        with arithmetic(threads) as device:
            self.device = device
            wanted = four_bit_of(self.chain) if four_bit is None else four_bit
            self.model = assemble(self.chain, dtype=number_type(dtype, device), device=device, four_bit=wanted)
        self.draft = _draft(draft, self.tokenizer, device, dtype) if draft is not None else None
        self.before: PromptCache | None = None
        self.context = int(getattr(self.model.config, "max_position_embeddings", 0)) or 1 << 30

    @classmethod
    def around(cls, model: Any, chain: Sequence[ChainLink], *, threads: int = 2, batch: int = 8) -> Generator:
        """A generator over a `model` already put together from `chain`."""
        self = cls.__new__(cls)
        self.chain, self.threads, self.batch, self.model = list(chain), threads, batch, model
        self.chat_template = Chat(load_tokenizer(tokenizer_of(chain)))
        self.device = model.device
        self.draft = self.before = None
        self.context = int(getattr(model.config, "max_position_embeddings", 0)) or 1 << 30
        return self

    def remember(self) -> None:
        """From now on compute once what one prompt has in common with the one before it, as the turns of a conversation have."""
        self.before = PromptCache(self.model)

    @property
    def tokenizer(self) -> Any:
        return self.chat_template.tokenizer

    def chat(
        self,
        conversations: Sequence[Sequence[dict[str, Any]]],
        sampling: SamplingParams = SamplingParams(),
        n: int = 1,
        tools: Sequence[str | None] | None = None,
        on_text: Callable[[int, int, str], bool] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[list[Generation]]:
        """`n` answers to each conversation (rows of MESSAGES), in the order given; `tools` are the schemas beside each, as JSON text.
        `on_text` and `seeds` as in `answer`."""
        prompts = []
        for messages, given in zip(conversations, tools or [None] * len(conversations), strict=True):
            try:
                ids = self.chat_template.prompt(messages, given)
            except ChatFault as fault:
                ids = fault.reason
            prompts.append(Prompt(ids))
        return self.answer(prompts, sampling, n, on_text, seeds)

    def complete(
        self, texts: Sequence[str], sampling: SamplingParams = SamplingParams(), n: int = 1
    ) -> list[list[Generation]]:
        """`n` continuations of each text (no template; `opening` in front)."""
        encoded = [
            self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] for text in texts
        ]
        return self.answer([Prompt(np.asarray(self.opening + ids, np.int32)) for ids in encoded], sampling, n)

    @property
    def opening(self) -> list[int]:
        """What a text without a template begins with: the begin-of-sequence token where the tokenizer has one."""
        return [self.tokenizer.bos_token_id] if self.tokenizer.bos_token_id is not None else []

    @cached_property
    def grammars(self) -> Grammars:
        """What JSON schemas and calls are compiled by. UsageError where llguidance is not installed."""
        size = self.model.get_output_embeddings().weight.shape[0]
        return Grammars(self.tokenizer, size, self.stops())

    def answer(
        self,
        prompts: Sequence[Prompt],
        sampling: SamplingParams,
        n: int = 1,
        on_text: Callable[[int, int, str], bool] | None = None,
        seeds: Sequence[int] | None = None,
        on_score: Callable[[int, int, TokenScore], None] | None = None,
    ) -> list[list[Generation]]:
        """`n` answers to each prompt, in the order given.

        `on_text(prompt, sample, piece)` gets every piece of every answer while it is made, and says whether more of it is wanted; a batch
        ends where none of its answers is. `on_score` gets what `sampling.logprobs` asks for, each token before the piece it ends. `seeds`:
        one for each prompt, in place of the one of `sampling`.
        """
        # Longest prompts first, so that padding is small and a lack of memory shows at once.
        answers: dict[tuple[int, int], Generation] = {}
        jobs = []
        for index, prompt in enumerate(prompts):
            fault = prompt.ids if isinstance(prompt.ids, str) else ("over_context" if prompt.size >= self.context else None)  # fmt: skip
            if sampling.max_new_tokens == 0 and not isinstance(prompt.ids, str):
                fault = "length"
            for sample in range(n):
                if fault:
                    answers[index, sample] = Generation("", fault, 0, prompt.size)
                else:
                    jobs.append((index, sample))
        jobs.sort(key=lambda job: (-prompts[job[0]].size, job))
        # transformers drafts for one prompt at a time.
        size = 1 if self.draft is not None and sampling.assistable() else self.batch
        with arithmetic(self.threads):
            for some in self._together(jobs, prompts, sampling, size):
                callbacks = [partial(on_text, *job) for job in some] if on_text else None
                scored = [partial(on_score, *job) for job in some] if on_score else None
                streams = [(seeds[index] if seeds else sampling.seed, sample) for index, sample in some]
                made = self._batch([prompts[index] for index, _ in some], streams, sampling, callbacks, scored)
                answers.update(zip(some, made))
        return [[answers[index, sample] for sample in range(n)] for index in range(len(prompts))]

    def _room(self, prompt: Prompt, sampling: SamplingParams) -> int:
        """Tokens that the answer to a prompt may have."""
        return min(sampling.max_new_tokens, self.context - prompt.size)

    def _together(
        self, jobs: list[tuple[int, int]], prompts: Sequence[Prompt], sampling: SamplingParams, size: int
    ) -> list[list[tuple[int, int]]]:
        """`jobs`, longest prompts first, in batches of up to `size` whose answers have the same room: beside a prompt that nearly fills
        the context a short one would be cut with it."""
        batches: list[list[tuple[int, int]]] = []
        last = 0
        for job in jobs:
            room = self._room(prompts[job[0]], sampling)
            if batches and room == last and len(batches[-1]) < size:
                batches[-1].append(job)
            else:
                batches.append([job])
            last = room
        return batches

    def _batch(
        self,
        prompts: list[Prompt],
        streams: list[tuple[int, int]],
        sampling: SamplingParams,
        on_text: list[Any] | None = None,
        on_score: list[Any] | None = None,
    ) -> list[Generation]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        rows: list[Any] = [prompt.ids for prompt in prompts]
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, width - len(row) :] = torch.from_numpy(row.astype(np.int64))
            mask[number, width - len(row) :] = 1
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=self._room(prompts[0], sampling),
            eos_token_id=self.stops(),
            pad_token_id=self.tokenizer.pad_token_id,
            use_cache=True,
        )
        scores = TokenScores(len(rows), sampling.logprobs) if sampling.logprobs is not None else None
        helped: dict[str, Any] = {"streamer": scores} if scores is not None else {}
        if self.draft is not None and sampling.assistable() and not any(prompt.grammar for prompt in prompts):
            helped = {"assistant_model": self.draft}
        listener = None
        if on_text is not None:
            check_alone(self.draft)
            pieces = [Pieces(self.tokenizer, sampling.stop, prompt.calls, prompt.behind) for prompt in prompts]
            listener = Listener(pieces, on_text, set(self.stops()), scores, on_score)
            helped = {"streamer": listener, "stopping_criteria": StoppingCriteriaList([listener])}
        kept = self.before if len(prompts) == 1 and self.draft is None else None
        if kept is not None:
            helped |= kept.shared_with(rows[0])
        shaped = self._shaped(prompts, width, streams, sampling)
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=ids.to(self.device), attention_mask=mask.to(self.device), generation_config=config,
                logits_processor=LogitsProcessorList([scores, *shaped] if scores is not None else shaped), **helped,
            )  # fmt: skip
        if kept is not None:
            kept.ids = out[0].tolist()
        found: Sequence[Any] = scores.rows if scores is not None else [None] * len(rows)
        made = [
            self._read(row[width:].tolist(), prompt, scored, sampling.stop)
            for row, prompt, scored in zip(out, prompts, found)
        ]
        if listener is not None:
            for number, answer in enumerate(made):
                listener.close(number, answer.text)
        return made

    def _shaped(
        self, prompts: list[Prompt], width: int, streams: list[tuple[int, int]], sampling: SamplingParams
    ) -> list[Any]:
        """What changes the scores of the next token, in this order: grammars, penalties, the draw."""
        shaped: list[Any] = []
        if any(prompt.grammar for prompt in prompts):
            stops = set(self.stops())
            held = [AnswerGrammar(one.grammar, self.tokenizer, stops) if one.grammar else None for one in prompts]
            shaped.append(HeldToGrammars(width, held))
        if sampling.frequency_penalty or sampling.presence_penalty:
            shaped.append(Penalise(width, sampling))
        if sampling.temperature > 0:
            rows: list[Any] = [prompt.ids for prompt in prompts]
            shaped.append(Draw(rows, streams, sampling, self._room(prompts[0], sampling)))
        return shaped

    def stops(self) -> list[int]:
        """Ids that end an answer: the tokenizer's end token, what the template ends one with, and those the checkpoint names."""
        named = getattr(self.model.generation_config, "eos_token_id", None)
        named = named if isinstance(named, list) else [named]
        return sorted({int(value) for value in (*self.chat_template.stops(), *named) if value is not None})

    def _read(
        self, made: list[int], prompt: Prompt, scores: list[TokenScore] | None, stop: tuple[str, ...]
    ) -> Generation:
        ends = set(self.stops())
        at = next((i for i, token in enumerate(made) if token in ends), None)
        kept = made if at is None else made[:at]
        text = spelled(self.tokenizer, kept, prompt.calls, prompt.behind)
        finish, count = ("length" if at is None else "stop"), len(kept) + (at is not None)
        cut = min((text.find(word) for word in stop if word in text), default=-1)
        if cut >= 0:  # what was made beyond, beside longer answers, is not part of this one
            pieces = Pieces(self.tokenizer, stop, prompt.calls, prompt.behind)
            kept = kept[: pieces.ends_at(kept)]
            text, finish, count = text[:cut], "stop", len(kept)
        return Generation(text, finish, count, prompt.size, None if scores is None else tuple(scores[: len(kept)]))


class PromptCache:
    """Keys and values of the last prompt and its answer, of which the next one keeps what it has in common."""

    def __init__(self, model: Any):
        self.model = model
        self.ids: list[int] = []
        self._cache: Any = None

    def shared_with(self, prompt: np.ndarray) -> dict[str, Any]:
        """`past_key_values` for this prompt, cut to what it begins with; none where the model's layers cannot be cut (windows, states,
        virtual tokens)."""
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        if getattr(self.model, "peft_config", None) and self.model.active_peft_config.is_prompt_learning:
            return {}
        if self._cache is None:
            self._cache = DynamicCache(config=self.model.config)
        if any(type(layer) is not DynamicLayer for layer in self._cache.layers):
            return {}
        # One token at least has to be asked for; the last one made was never read.
        same = min(len(self.ids), len(prompt), int(self._cache.get_seq_length())) - 1
        least = next((at for at in range(max(0, same)) if self.ids[at] != prompt[at]), max(0, same))
        if (more := int(self._cache.get_seq_length()) - least) > 0:
            self._cache.crop(-more)
        self.ids = self.ids[:least]  # all that is sure of the cache until this answer is made: it may be interrupted
        return {"past_key_values": self._cache}


class Penalise:
    """Takes the penalties for tokens an answer has already from their scores. A logits processor."""

    def __init__(self, width: int, sampling: SamplingParams):
        self.width, self.frequency, self.presence = width, sampling.frequency_penalty, sampling.presence_penalty

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        made = input_ids[:, self.width :]
        counts = torch.zeros_like(scores).scatter_add_(1, made, torch.ones_like(made, dtype=scores.dtype))
        return scores - self.frequency * counts - self.presence * (counts > 0)


class Draw:
    """Draws each row's next token by inverting its distribution at one uniform number of the row's own stream.

    A logits processor: what it leaves is the drawn token alone, for the greedy choice that follows.
    """

    def __init__(
        self, prompts: Sequence[np.ndarray], streams: Sequence[tuple[int, int]], sampling: SamplingParams, steps: int
    ):
        """`streams`: the seed and the number of the sample of each row."""
        self.sampling, self.step = sampling, 0
        self.uniform = np.stack(
            [stream(seed, prompt, sample).random(steps) for prompt, (seed, sample) in zip(prompts, streams)]
        )

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        chances, order = torch.softmax(scores.float() / self.sampling.temperature, dim=-1).sort(
            dim=-1, descending=True, stable=True
        )
        reached = chances.cumsum(dim=-1)
        # The nucleus: the likeliest tokens up to the one that reaches top_p, itself included.
        reached = reached.masked_fill(reached - chances >= self.sampling.top_p, 0.0)
        drawn = torch.as_tensor(self.uniform[:, self.step], device=scores.device, dtype=reached.dtype)[
            :, None
        ] * reached.amax(dim=-1, keepdim=True)
        at = ((reached <= drawn) & (reached > 0)).sum(dim=-1, keepdim=True).clamp(max=scores.shape[-1] - 1)
        self.step += 1
        return torch.full_like(scores, float("-inf")).scatter(-1, order.gather(-1, at), 0.0)


def _draft(folder: Path | str, tokenizer: Any, device: Any, dtype: str) -> Any:
    """A draft model that speaks the same tokens. UsageError where its tokenizer is another one."""
    link = open_link(Path(folder))
    theirs = load_tokenizer(tokenizer_of([link]))
    if theirs.get_vocab() != tokenizer.get_vocab():
        raise UsageError(
            f"the draft model in {folder} has another tokenizer than the teacher",
            "take a smaller model of the same family, or leave `draft` out",
        )
    return assemble([link], dtype=number_type(dtype, device), device=device, four_bit=False)


def stream(seed: int, prompt: np.ndarray, sample: int) -> np.random.Generator:
    """The random stream of one answer: a function of the seed, the prompt's tokens and the sample's number alone."""
    key = hashlib.blake2b(prompt.astype("<i4").tobytes(), digest_size=16, key=f"{seed}/{sample}".encode()).digest()
    return np.random.default_rng(np.frombuffer(key, dtype=np.uint64))


def tokenizer_of(chain: Sequence[ChainLink]) -> Path:
    """The folder of the tokenizer a chain was last trained with. UsageError where no link brings one."""
    for link in reversed(chain):
        if (link.path / "tokenizer.json").exists() or (link.path / "tokenizer_config.json").exists():
            return link.path
    raise UsageError(f"no artefact of the chain below {chain[-1].path} brings a tokenizer", "give the tokenizer folder")
