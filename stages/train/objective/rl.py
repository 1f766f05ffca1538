"""Online RL against reward functions and a reward model, by TRL's trainers: answers are drawn, judged, and compared with one another.

TRL owns the algorithm (sampling, advantages, clipping, the divergence from the base). This room gives it what it leaves open: the
prompts of the store with the held-out ones kept back, one template with its lock, who judges answers (`stages.train.objective.judging`), a curve with
held-out reward before and after, and an artefact that says what it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from pipeline.errors import InfraError, UsageError, WorkError
from pipeline.storage.ledger import Ledger
from stages.models.chat.templates import Chat, ChatFault
from stages.models.holdout import held_out, prompt_key
from stages.models.inference.device import number_type
from stages.models.inference.generate import Generator, SamplingParams
from stages.train.engine.arguments import reporting, settings
from stages.train.engine.checkpoint import Checkpoints, State
from stages.train.engine.schedule import StepPlan
from stages.train.engine.state import Kept, kept, remembering, resume, scratch_folder
from stages.train.objective.judging import Judge
from stages.train.workers.world import World


class Prompts:
    """Prompts of CHAT or PAIR stores: what stands before the last answer. They and `room` for an answer come to `width` tokens at most;
    where that is `measured`, to what the longest prompt that fits comes to."""

    def __init__(self, stores: Sequence[Any], chat: Chat, width: int, room: int, share: float, measured: bool = False):
        self.width = width
        self.ids: list[str] = []
        self.reasons: list[str | None] = []
        found: list[tuple[list[dict[str, Any]], str | None]] = []
        own: list[str | None] = []
        sizes: list[int] = []
        for store in stores:
            column = "messages" if store.shape == "CHAT" else "prompt"
            for shard in store.shards():
                for batch in store.batches(shard):
                    rows = [_question(messages or []) for messages in batch.column(column).to_pylist()]
                    answered = batch.column("messages" if column == "messages" else "chosen").to_pylist()
                    own += [_answer(messages or []) for messages in answered]
                    tools = batch.column("tools").to_pylist() if "tools" in batch.schema.names else [None] * len(rows)
                    self.ids += batch.column("id").to_pylist()
                    held = held_out([prompt_key(messages) for messages in batch.column(column).to_pylist()], share)
                    measures = [_measure(chat, row, shown, width - room) for row, shown in zip(rows, tools)]
                    self.reasons += [
                        why or ("train.held_out" if out else None) for (_, why), out in zip(measures, held)
                    ]
                    sizes += [size for size, why in measures if why is None]
                    found += zip(rows, tools)
        if measured:
            self.width = max(sizes, default=width - room) + room
        # Of each prompt: its messages, and the tools it may call.
        self.train = [found[n] for n, why in enumerate(self.reasons) if why is None]
        self.held = [found[n] for n, why in enumerate(self.reasons) if why == "train.held_out"]
        # Of each prompt: what the row itself answers, if it does.
        self.answers = [own[n] for n, why in enumerate(self.reasons) if why is None]
        self.held_answers = [own[n] for n, why in enumerate(self.reasons) if why == "train.held_out"]
        self._trained_rows = [n for n, why in enumerate(self.reasons) if why is None]

    def __len__(self) -> int:
        return len(self.train)

    @property
    def held_rows(self) -> int:
        return len(self.held)

    def ledger(self, used: np.ndarray) -> pa.Table:
        reasons = list(self.reasons)
        for n, reached in zip(self._trained_rows, used):
            reasons[n] = None if reached else "train.not_reached"
        return Ledger.rows(self.ids, out=[None] * len(reasons), reason=reasons)


def _question(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    last = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=len(messages))
    return messages[:last]


def _answer(messages: list[dict[str, Any]]) -> str | None:
    """The last answer of a row."""
    return next((message["content"] for message in reversed(messages) if message["role"] == "assistant"), None)


def _measure(chat: Chat, messages: list[dict[str, str]], tools: str | None, most: int) -> tuple[int, str | None]:
    """Tokens of a prompt, and why it cannot be used."""
    try:
        size = len(chat.prompt(messages, tools))
    except ChatFault as fault:
        return 0, fault.reason
    return size, "chat.over_context" if size > most else None


class Trained(NamedTuple):
    """The model after RL, its new adapter's name (None: all weights), the curve, and which prompts were drawn on."""

    model: Any
    adapter: str | None
    history: list[dict[str, Any]]
    used: np.ndarray


def reinforce(
    stage: Any, model: Any, config: Any, questions: Prompts, chat: Chat, judge: Judge, plan: StepPlan, seed: int, chain: Any,
    checkpoints: Checkpoints, alive: Callable[[], bool], on_step: Callable[[dict[str, Any]], None], world: World = World(),
) -> Trained:  # fmt: skip
    """Train `model` (a plain causal one; `config` is the new adapter's, or None) with TRL, from the last checkpoint if there is
    one. WorkError where it ends in no number."""
    import datasets
    from transformers.trainer_callback import PrinterCallback

    judge.agree(chat, questions.answers)
    found = kept(checkpoints, world)
    before = found.more()
    drawn = set(torch.nonzero(before.tensors["drawn"])[:, 0].tolist()) if found.state else set()
    history = [before.scalars["first"] if found.state else _held(0, model, chain, questions, judge, stage)]

    def reward(prompts: list, completions: list, **_: Any) -> list[float]:
        numbers = [asks[0]["row"] for asks in prompts]
        drawn.update(numbers)
        answers = [{"role": "assistant", "content": answer[0]["content"]} for answer in completions]
        return judge.score(
            [[*questions.train[row][0], answer] for row, answer in zip(numbers, answers)],
            [questions.train[row][1] for row in numbers],
            [questions.answers[row] for row in numbers],
        ).tolist()

    # TRL is told which prompt it is alone: what it says is rendered by this house's template (`asking`).
    given = datasets.Dataset.from_list(
        [{"prompt": [{"role": "user", "content": "", "row": row}]} for row in range(len(questions))]
    )

    def more(trainer: Any) -> State:
        return State({"drawn": torch.tensor([row in drawn for row in range(len(questions))])}, {"first": history[0]})

    with scratch_folder(checkpoints.sink, world.rank) as folder:
        trainer = _trainer(stage, model, config, reward, given, chat, questions, plan, seed, folder, found, more, world)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_watch(alive, on_step, plan))
        log = resume(trainer, found, folder, plan.steps)
    for line in log:
        if "reward" in line:
            history.append(
                {
                    "kind": "train",
                    "step": line["step"],
                    "loss": line.get("loss", 0.0),
                    "reward": line["reward"],
                    "kl": line.get("kl"),
                    "learning_rate": line.get("learning_rate"),
                }
            )
    made = trainer.accelerator.unwrap_model(trainer.model)
    if not all(torch.isfinite(p).all() for p in made.parameters()):
        raise WorkError("rl ended with weights that are not numbers", "lower learning_rate, or raise rl.beta")
    history.append(_held(plan.steps, made, chain, questions, judge, stage))
    used = np.asarray([row in drawn for row in range(len(questions))])
    return Trained(made, "default" if config is not None else None, history, used)


def _trainer(
    stage: Any, model: Any, config: Any, reward: Any, given: Any, chat: Chat, questions: Prompts, plan: StepPlan, seed: int, folder: str, found: Kept, more: Callable[[Any], State], world: World
) -> Any:  # fmt: skip
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    each, passes, wanted = (
        stage.per_device_train_batch_size,
        stage.gradient_accumulation_steps,
        stage.rl.num_generations,
    )
    if each * world.size * passes != stage.global_batch_size:
        raise UsageError(
            f"{stage.global_batch_size} answers a step cannot be shared by {world.size} workers in passes of {each}",
            f"set global_batch_size to a multiple of {each * world.size}",
        )
    if each * world.size % wanted:
        raise UsageError(
            f"{each * world.size} answers in a pass of all workers are no multiple of num_generations {wanted}",
            f"set per_device_train_batch_size x workers to a multiple of {wanted}",
        )
    # No objective here weighs how evenly experts are used; TRL would, and asks configurations for names they do not have (Granite-MoE).
    wanted_options = {
        "per_device_train_batch_size": each, "gradient_accumulation_steps": passes, "num_generations": wanted,
        "max_completion_length": stage.rl.max_completion_length, "temperature": stage.rl.temperature, "beta": stage.rl.beta, "logging_steps": stage.logging_steps,
        "router_aux_loss_coef": 0.0, "gradient_checkpointing": stage.gradient_checkpointing, "log_completions": False, "report_to": reporting(stage),
    }  # fmt: skip
    chosen, options = (GRPOTrainer, GRPOConfig) if stage.rl.algorithm == "grpo" else (RLOOTrainer, RLOOConfig)
    made = asking(remembering(chosen, found, more), questions, chat)(
        model=model,
        reward_funcs=reward,
        args=options(**settings(stage, plan, seed, folder, number_type(stage.dtype, model.device)) | wanted_options),
        train_dataset=given,
        processing_class=chat.tokenizer,
        peft_config=config,
    )
    for parameter in made.model.parameters():
        if parameter.requires_grad and parameter.dtype == torch.bfloat16 and stage.method == "qlora":
            parameter.data = parameter.data.float()  # TRL rounds them; this house keeps what is trained in fp32
    torch.set_num_threads(stage.threads)  # accelerate chooses a number of its own for groups on processors
    if made.ref_model is not None:
        # TRL reads the reference from the folder the model came from, which is not what adapters merged into it made of it.
        made.ref_model.load_state_dict(model.state_dict())
    return made


def asking(kind: type, questions: Prompts, chat: Chat) -> type:
    """`kind`, a trainer of TRL's, whose prompts are rows of `questions`: TRL itself would render neither tools nor reasoning of a row."""

    class Asking(kind):  # type: ignore[misc, valid-type]
        def _tokenize_prompts(self, prompts: list) -> tuple[list[list[int]], None, dict]:
            return [chat.prompt(*questions.train[asks[0]["row"]]).tolist() for asks in prompts], None, {}

    return Asking


def _watch(alive: Callable[[], bool], on_step: Callable[[dict[str, Any]], None], plan: StepPlan) -> Any:
    from transformers import TrainerCallback

    class ProgressCallback(TrainerCallback):
        """Tells the bar of every step, and ends the run when its driver is gone."""

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not alive():
                raise InfraError("the driver of this training is gone", "run again")
            on_step({"step": state.global_step, "steps": plan.steps})

    return ProgressCallback()


def _held(step: int, model: Any, chain: Any, questions: Prompts, judge: Judge, stage: Any) -> dict[str, Any]:
    """Mean reward of greedy answers to held-out prompts; `loss` is its negative."""
    held = questions.held[: stage.eval_rows or None]
    conversations, tools = [messages for messages, _ in held], [shown for _, shown in held]
    if not held:
        return {"kind": "held_out", "step": step, "weight": 0, "loss": 0.0}
    was = model.training
    model.eval()
    answers = Generator.around(model, chain, threads=stage.threads, batch=stage.per_device_train_batch_size).chat(
        conversations, SamplingParams(stage.rl.max_completion_length), tools=tools
    )
    model.train(was)
    found = judge.score(
        [[*question, {"role": "assistant", "content": made[0].text}] for question, made in zip(conversations, answers)],
        tools,
        questions.held_answers[: len(held)],
    )
    return {
        "kind": "held_out",
        "step": step,
        "weight": len(found),
        "loss": -float(found.mean()),
        "reward": float(found.mean()),
        **{f"reward {name}": mean for name, mean in judge.means.items()},
    }
