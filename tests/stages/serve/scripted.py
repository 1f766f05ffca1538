"""A small model that says what a test writes down, behind the real endpoint."""

import asyncio
import threading
from contextlib import contextmanager

import torch

from stages.models.inference.generate import Generator, SamplingParams
from stages.serve.app import ChatApi
from stages.serve.worker import ChatWorker
from tests.stages.models.chat.test_turns import letters

byte_tokenizer = letters.__wrapped__

MARKS = ["<|im_start|>", "<|im_end|>", "[TOOL_CALLS]"]
CHANNELS = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"]


class Script(torch.nn.Module):
    """In place of a model's last layer: the tokens of a text one after another, and then the end token; each is far likelier than the
    others, which are alike."""

    def __init__(self, ids: list[int], end: int, size: int):
        super().__init__()
        self.ids, self.end, self.size, self.step = ids, end, size, 0
        self.weight = torch.zeros(size, 1)

    def forward(self, hidden):
        token = self.ids[self.step] if self.step < len(self.ids) else self.end
        self.step += 1
        scores = torch.zeros(*hidden.shape[:2], self.size)
        scores[..., token] = 20.0
        return scores


class ScriptedModel:
    """A tiny Llama with a token a byte whose last layer is a `Script`, under `template`."""

    def __init__(self, folder, template, marks=()):
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = byte_tokenizer()
        tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
        config = LlamaConfig(
            vocab_size=len(tokenizer) + 3, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            max_position_embeddings=4096, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder)
        self.generator = Generator(folder, threads=1)

    def says(self, text: str) -> None:
        """The next answer."""
        ids = self.generator.tokenizer(text, add_special_tokens=False)["input_ids"]
        size = self.generator.model.config.vocab_size
        self.generator.model.lm_head = Script(ids, self.generator.stops()[0], size)

    def ask(self, **request):
        """What OpenAI's client gets: a completion, or the list of its chunks."""
        with running(self.generator) as client:
            return asyncio.run(_asked(client, request))


async def _asked(client, request):
    request = {"model": "mill", "messages": [{"role": "user", "content": "콩?"}], **request}
    got = await client().chat.completions.create(**request)
    return [chunk async for chunk in got] if request.get("stream") else got


@contextmanager
def running(generator):
    """What makes OpenAI's client, over the endpoint in this process."""
    import httpx
    from openai import AsyncOpenAI

    worker = ChatWorker(generator, 16)
    thread = threading.Thread(target=worker.run)
    thread.start()
    app = ChatApi(worker, SamplingParams(64), "mill", None).app(True)

    def client():
        transport = httpx.ASGITransport(app)
        return AsyncOpenAI(base_url="http://localhost/v1", api_key="none", max_retries=0, http_client=httpx.AsyncClient(transport=transport))  # fmt: skip

    try:
        yield client
    finally:
        worker.end()
        thread.join()


def joined(chunks):
    """(content, reasoning, calls as (name, arguments), finish) of streamed chunks."""
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    content = "".join(delta.content or "" for delta in deltas)
    reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [call.index for call in calls] == list(range(len(calls)))
    return content, reasoning, [(c.function.name, c.function.arguments) for c in calls], chunks[-1].choices[0].finish_reason  # fmt: skip
