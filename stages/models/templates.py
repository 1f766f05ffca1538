"""Chat templates: one rendering for training and for inference, and which of its tokens are trained.

A conversation reaches a model only through a template, so the template is part of the model: `stages.models.lock` holds it
to that. The template comes from the tokenizer folder (its `chat_template`); a tokenizer without one gets `DEFAULT`, which
speaks neither Korean nor English: three role marks, and the tokenizer's own end-of-sequence token after every turn, so that
generation stops where training taught it to.

Which tokens are trained is decided on characters, never by searching for token ids: where the template carries
`{% generation %}` marks their spans are used, and any other template is measured by rendering the conversation up to each
assistant turn and taking what that turn adds.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Sequence

import numpy as np

from pipeline.errors import UsageError

ROLES = ("system", "user", "assistant")
MARKS = ("<|system|>", "<|user|>", "<|assistant|>")
"""What `DEFAULT` writes before a turn. A tokenizer that lists them as symbols of its own spends one token on each."""

DEFAULT = (
    "{{ bos_token if bos_token is defined and bos_token else '' }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% elif message['role'] == 'system' %}{{ '<|system|>\n' + message['content'] + eos_token }}"
    "{% else %}{{ '<|user|>\n' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""The template of a tokenizer that brings none."""

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class ChatFault(ValueError):
    """A conversation that cannot be rendered; `reason` is its ledger word."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Encoded(NamedTuple):
    """A rendered conversation: token ids (int32, length n) and which of them are answers to be trained (bool, length n)."""

    ids: np.ndarray
    trained: np.ndarray


class Chat:
    """A tokenizer with its template. UsageError when the tokenizer cannot end a turn or give character offsets."""

    def __init__(self, tokenizer: Any, template: str | None = None):
        if tokenizer.eos_token_id is None:
            raise UsageError("the tokenizer has no end-of-sequence token, so a turn could never end", "add an eos_token to its tokenizer_config.json")
        if not tokenizer.is_fast:
            raise UsageError("the tokenizer gives no character offsets (it is a slow one)", "save it with a tokenizer.json beside it")
        self.tokenizer = tokenizer
        self.template = template or tokenizer.chat_template or DEFAULT
        if isinstance(self.template, dict):
            self.template = self.template.get("default") or next(iter(self.template.values()))
        self.marked = bool(GENERATION.search(self.template))
        self._control = control_tokens(tokenizer, self.template)

    def render(self, messages: Sequence[dict[str, str]], prompt: bool = False) -> str:
        """The text of a conversation; `prompt` opens the next assistant turn."""
        return self._render(messages, prompt)[0]

    def prompt(self, messages: Sequence[dict[str, str]]) -> np.ndarray:
        """Token ids (int32) of a conversation with the next assistant turn opened. ChatFault as in `encode`."""
        self.check(messages)
        text = self.render(messages, prompt=True)
        return np.asarray(self.tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int32)

    def encode(self, messages: Sequence[dict[str, str]], turns: int | None = None) -> Encoded:
        """Ids and trained mask: the answers of the last `turns` assistant turns (None: all) with the token that ends each.

        ChatFault: `chat.empty`, `chat.role`, `chat.no_answer`, `chat.control_token`, `chat.template`.
        """
        self.check(messages)
        if not any(message["role"] == "assistant" for message in messages):
            raise ChatFault("chat.no_answer")
        text, spans = self._render(messages, False)
        spans = spans if self.marked else self._spans(messages, text)
        spans = spans if turns is None else spans[-turns:]
        out = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        starts = np.asarray([start for start, _ in out["offset_mapping"]], dtype=np.int64)
        trained = np.zeros(len(starts), dtype=bool)
        for start, end in spans:
            # By a token's first character: every byte-fallback token of one character falls on the same side.
            trained |= (starts >= start) & (starts < end)
        return Encoded(np.asarray(out["input_ids"], dtype=np.int32), trained)

    def check(self, messages: Sequence[dict[str, str]]) -> None:
        """ChatFault for a conversation no template may see: text that spells a control token would forge a turn."""
        if not messages:
            raise ChatFault("chat.empty")
        for message in messages:
            if message["role"] not in ROLES:
                raise ChatFault("chat.role")
            if not (message["content"] or "").strip():
                raise ChatFault("chat.empty")
            if self._control.search(message["content"]):
                raise ChatFault("chat.control_token")

    def _render(self, messages: Sequence[dict[str, str]], prompt: bool) -> tuple[str, list[tuple[int, int]]]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts, spans = render_jinja_template(
                conversations=[[{"role": m["role"], "content": m["content"]} for m in messages]],
                chat_template=self.template,
                return_assistant_tokens_mask=self.marked,
                add_generation_prompt=prompt,
                **self.tokenizer.special_tokens_map,
            )
        except TemplateError:
            raise ChatFault("chat.template") from None
        return texts[0], [tuple(span) for span in spans[0]] if self.marked else []

    def _spans(self, messages: Sequence[dict[str, str]], text: str) -> list[tuple[int, int]]:
        spans = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.render(messages[:index], prompt=True)
            after = self.render(messages[: index + 1])
            if not after.startswith(before) or not text.startswith(after):
                raise ChatFault("chat.template")
            spans.append((len(before), len(after)))
        return spans


def control_tokens(tokenizer: Any, template: str) -> re.Pattern:
    """What text of the corpus must not spell: special and added tokens, and the role marks the template writes."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if not token.content.isspace()]
    words = {*added, *tokenizer.all_special_tokens, *(mark for mark in MARKS if mark in template)}
    return re.compile("|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w)) if word) or r"(?!)")


def load_tokenizer(folder: Any, template: str | None = None) -> Any:
    """The Hugging Face tokenizer in `folder`, its template set (`template`, its own, or `DEFAULT`). UsageError when it is none.

    Never runs code from the folder. An exported tokenizer of size 0 or 1 is what transformers silently makes of a
    SentencePiece model without its configuration, so it is refused here.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as fault:
        raise UsageError(f"{folder} holds no tokenizer: {str(fault).splitlines()[0]}", "give a store made by `maetdol tokenizer` or a Hugging Face tokenizer folder") from None
    if len(tokenizer) < 8:
        raise UsageError(f"the tokenizer in {folder} is empty", "export it again: tokenizer.json or tokenizer.model with tokenizer_config.json")
    tokenizer.chat_template = template or tokenizer.chat_template or DEFAULT
    if tokenizer.pad_token_id is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "card.json")
"""What a tokenizer folder is made of; its template stands in `chat_template.jinja`."""


def copy_tokenizer(folder: Any, tokenizer: Any, out: Any) -> None:
    """The tokenizer files of `folder` into `out` byte by byte, with the template `tokenizer` was given.

    Copied, not saved again: what transformers writes for a tokenizer it has read is not always what it read.
    """
    import shutil
    from pathlib import Path

    for name in FILES:
        if (Path(folder) / name).is_file():
            shutil.copyfile(Path(folder) / name, Path(out) / name)
    (Path(out) / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
