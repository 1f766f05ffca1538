"""Personal data: found at corpus speed, right next to Hangul, and replaced, masked, hashed or dropped in every text field."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from pipeline.engine.stage import Inputs, Port, ShardStage, Work
from pipeline.errors import did_you_mean
from pipeline.options import CONTENT, SECRET
from stages.pii.actions import ACTIONS, Action
from stages.pii.entities import BY_NAME, BY_PRESIDIO, ENTITIES, NAMED, PATTERNED


class Pii(ShardStage):
    """Find personal data in every text-bearing field and replace, mask, hash, exchange or drop it.

    Looked at are all fields of the shape: of a document its text, title, url, blocks and meta values, of chats and pairs
    every message. Blocks move with the text. Without options every kind that patterns can find becomes its typed tag
    (`<EMAIL>`), public hotlines alone stay. A kind named in `mask`, `hash`, `surrogate`, `replace`, `drop` or `keep` gets
    that action, the others `action`. The ledger holds position, kind, rule, score and replacement of every finding, never
    the value. A second run changes nothing.
    """

    version: ClassVar[int] = 6
    redacts: ClassVar[bool] = True

    entities: tuple[str, ...] = ()
    """Kinds looked for; default: all of email, phone, phone_service, card, iban, ip, ip_private, mac, url_credentials, crypto,
    secret, us_ssn, kr_rrn, kr_frn, kr_passport, kr_driver_license, kr_brn, kr_corp, kr_health_insurance, kr_bank_account,
    kr_plate, kr_address; person and place need `names`. Kinds named in a list below are looked for too."""
    action: Action = "replace"
    "What happens to a kind that no list below names: replace by its tag, mask, hash, surrogate, drop the row, keep."
    replace: tuple[str, ...] = ()
    "Kinds replaced by their tag."
    mask: tuple[str, ...] = ()
    "Kinds whose letters and digits become `*`, separators left."
    hash: tuple[str, ...] = ()
    "Kinds replaced by a keyed hash, equal for equal values; needs `key_env`."
    surrogate: tuple[str, ...] = ()
    "Kinds replaced by a value of the same shape that is nobody's; one value, one surrogate within a row, unlinkable across rows."
    drop: tuple[str, ...] = ()
    "Kinds whose presence drops the row, with the reason `pii.<kind>`."
    keep: tuple[str, ...] = ()
    "Kinds left in place; the ledger has their spans. phone_service (public hotlines) is kept unless another list names it."
    max_count: int | None = Field(None, ge=0)
    "Rows with more findings than this (kept kinds not counted) are dropped as `pii.count`; default: no limit."
    min_score: float = Field(0.5, ge=0.05, le=1.0)
    "Least score, 0 to 1. At 0.5 a number that only its form speaks for needs a label beside it."
    key_env: Annotated[str | None, SECRET] = None
    "Environment variable, or path of a file, with the key of `hash`: 16 bytes or more. Never the key itself."
    names: Literal["off", "rules", "model"] = "off"
    "Names: off; rules, Korean and English names beside a title or label; model, a named-entity model where rules or titles point."
    model: Annotated[str | None, CONTENT] = None
    "Folder of the model for `names: model`: a spaCy pipeline, or a transformers token classifier (safetensors)."
    recognizers: Annotated[str | None, CONTENT] = None
    "YAML file of further recognisers in presidio's format; they run in presidio's AnalyzerEngine on every text (slow: some 1 ms per KB)."

    ports = {"of": Port("DOCUMENT|CHAT|PAIR")}
    output_shape = None

    @field_validator("entities", "replace", "mask", "hash", "surrogate", "drop", "keep", mode="before")
    @classmethod
    def _known(cls, names: Any) -> Any:
        given = [names] if isinstance(names, str) else list(names or ())
        return tuple(dict.fromkeys(_entity(name) for name in given))

    @field_validator("key_env")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]{1,63}|[./~][^\n]*", name):
            raise ValueError(
                "give the NAME of an environment variable (capitals) or the path of a file, never the key itself"
            )
        return name

    @model_validator(mode="after")
    def _one_action_each(self) -> Pii:
        chosen: dict[str, str] = {}
        for action in ACTIONS:
            for name in getattr(self, action):
                if chosen.setdefault(name, action) != action:
                    raise ValueError(f"{name} stands under {chosen[name]} and under {action}: give it one action")
        if "hash" in self.actions().values() and self.key_env is None:
            raise ValueError("hash needs key_env, the name of the environment variable that holds the key")
        if (self.names == "model") != (self.model is not None):
            raise ValueError("names: model and model: FOLDER go together")
        return self

    def actions(self) -> dict[str, str]:
        """Action per kind looked for, in the order of the kinds."""
        named = {name: action for action in ACTIONS for name in getattr(self, action)}
        wanted = set(self.entities or PATTERNED) | set(named)
        if not self.entities and self.names != "off":
            wanted |= set(NAMED)
        return {e.name: named.get(e.name) or e.default or self.action for e in ENTITIES if e.name in wanted}

    def needs(self) -> tuple[str, ...]:
        used = ("presidio-analyzer",) if self.recognizers else ()
        return used + (("spacy", "transformers") if self.names == "model" else ())

    def plan(self) -> Any:
        """What `stages.pii.rewrite` needs to treat a batch; loads models, keys and recognisers."""
        from stages.pii.actions import secret_key
        from stages.pii.find import finder
        from stages.pii.rewrite import RewritePlan

        actions = self.actions()
        key = secret_key(self.key_env) if self.key_env and "hash" in actions.values() else None
        find, further = finder(self, frozenset(actions))
        actions |= dict.fromkeys(further, self.action)
        return RewritePlan(find, actions, key, self.max_count)

    def worker(self, inputs: Inputs, shard: int) -> Callable[[pa.RecordBatch], Work]:
        plan = self.plan()
        return lambda batch: _work(batch, plan)

    def work(self, batch: pa.RecordBatch) -> Work:
        return _work(batch, self.plan())


def _work(batch: pa.RecordBatch, plan: Any) -> Work:
    from stages.pii.rewrite import readable_rows, rewritten

    return rewritten(batch, plan, readable_rows(batch))


def _entity(name: Any) -> str:
    """A kind by its own or presidio's name."""
    if isinstance(name, str):
        if name in BY_NAME:
            return name
        if name.upper() in BY_PRESIDIO:
            return BY_PRESIDIO[name.upper()].name
    raise ValueError(f"no kind of personal data is called {str(name)[:40]!r}; {did_you_mean(str(name), list(BY_NAME))}")
