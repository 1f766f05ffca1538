"""The README.md of a trained model: what it was made of, by which rows and licences, how it was measured, how it is used.

Its front matter is what the Hub reads (`huggingface_hub.ModelCard`). Everything in it is counted: from receipts, manifests and reports
of evaluation that stand in the same root.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pipeline.errors import MaetdolError
from pipeline.inspection.charts import number
from pipeline.storage.store import ARTEFACT, Store
from stages.models.inference.chain import ChainLink
from stages.models.inference.folder import CARD, page_of

TASKS = {"artefact:encoder": "fill-mask", "artefact:reward": "text-classification"}
"""The Hub's word for what a model does; `text-generation` for all others."""
CLASSES = {
    "artefact:model": "AutoModelForCausalLM", "artefact:adapter": "AutoPeftModelForCausalLM", "artefact:encoder": "AutoModelForCausalLM",
    "artefact:reward": "AutoModelForSequenceClassification",
}  # fmt: skip
DATA = "## What it was trained on"
LICENCES = 12
"""Licences (and languages) of a store that are named; the others are counted together."""


class Figure(NamedTuple):
    """A measure of an evaluation."""

    evaluation: str
    measure: str
    value: float
    interval: list[float] | None


def pages(stores: Sequence[Store]) -> Iterator[tuple[Store, str]]:
    """Every trained model and adapter among the stores of a root, with its page."""
    by_name = {store.name: store for store in stores}
    for store in stores:
        if store.require()["stage"] == "train" and store.receipt(ARTEFACT) is not None:
            yield store, page(store, by_name)


def page(store: Store, stores: dict[str, Store]) -> str:
    """The card of a trained store; `stores` are those of its root, by name."""
    from huggingface_hub import EvalResult, ModelCardData

    receipt, manifest = store.receipt(ARTEFACT), store.require()
    card = json.loads((store.artefact() / CARD).read_text(encoding="utf-8"))
    above = lineage(store, stores)
    measured = list(figures(receipt.content_hash, stores.values()))
    task = TASKS.get(store.shape or "", "text-generation")
    base = bases(manifest)
    licence = base_licence(base, stores)
    head = ModelCardData(
        language=languages(above) or None,
        **licence,
        library_name="peft" if store.shape == "artefact:adapter" else "transformers",
        pipeline_tag=task,
        tags=["maetdol", card["objective"], card["method"]],
        base_model=base[0].removeprefix("hf://").partition("@")[0] if base and base[0].startswith("hf://") else None,
        model_name=store.name,
        eval_results=[
            EvalResult(task_type=task, dataset_type="held-out rows", dataset_name=one.evaluation, metric_type=one.measure, metric_value=one.value)
            for one in measured
        ]
        or None,
    )  # fmt: skip
    parts = [
        f"# {store.name}",
        _made(store, card, base, receipt.notes, _cell(licence.get("license_name") or licence.get("license") or "")),
        f"{DATA}\n\n{_data(above, receipt)}",
        "## How it was measured\n\n" + _measured(measured, receipt.notes),
        "## Use\n\n" + _use(store, base),
        "## Limits\n\n" + _limits(card, above, measured, receipt.notes),
    ]
    return f"---\n{head.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


def bases(manifest: dict[str, Any]) -> list[str]:
    """What it was trained on top of, as its recipe names it."""
    return [entry["store"] for entry in manifest["lineage"].get("base", [])]


def lineage(store: Store, stores: dict[str, Store]) -> list[Store]:
    """The stores its rows came from, the first ones first; those of its base are on the base's own card."""
    found: list[Store] = []

    def visit(one: Store) -> None:
        for port, entries in one.require()["lineage"].items():
            for entry in entries if port != "tokenizer" and (one is not store or port == "of") else ():
                above = stores.get(entry["store"]) or _elsewhere(entry["store"])
                if (
                    above is not None
                    and above.path not in [one.path for one in found]
                    and not (above.shape or "").startswith("artefact:")
                ):
                    if entry["store"] in stores:
                        visit(above)
                    found.append(above)

    visit(store)
    return found


def _elsewhere(path: str) -> Store | None:
    """A store outside of the root, where it is still there; what it was made of is not followed."""
    try:
        store = Store(path) if "/" in path else None
        return store if store is not None and store.manifest() is not None else None
    except MaetdolError:
        return None


def languages(above: Sequence[Store]) -> list[str]:
    """Languages of the rows, most first, as the last store that counts them says."""
    counts = next((found for store in reversed(above) if (found := store.require()["counts"].get("lang"))), {})
    return [word for word in counts if word and 2 <= len(word) <= 3 and word.isalpha() and word != "und"]


def figures(content_hash: str, stores: Any) -> Iterator[Figure]:
    """What the evaluations of a root say of the artefact with this content hash."""
    for store in stores:
        if store.shape != "artefact:evaluation":
            continue
        file = store.artefact() / "report.json"
        report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for model in report.get("models", []):
            if (model.get("chain") or [None])[-1] == content_hash and model.get("name") != "untrained":
                for name, value in model.get("metrics", {}).items():
                    yield Figure(store.name, name, value, model.get("intervals", {}).get(name))


def base_licence(base: Sequence[str], stores: dict[str, Store]) -> dict[str, str]:
    """`license`, and where it has them `license_name` and `license_link`, of the model from elsewhere below `base`, as its own page states
    them; empty where there is none, or none is stated."""
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    for ref in base:
        if ref in stores:
            if found := base_licence(bases(stores[ref].require()), stores):
                return found
        elif (page := page_of(ref)) is not None:
            try:
                data = ModelCard(page.read_text(encoding="utf-8")).data.to_dict()
            except (ValueError, OSError, YAMLError):  # a page that is none says nothing
                continue
            if isinstance(data.get("license"), str):
                names = ("license", "license_name", "license_link")
                return {name: data[name] for name in names if isinstance(data.get(name), str)}
    return {}


def _made(store: Store, card: dict[str, Any], base: list[str], notes: dict[str, Any], licence: str) -> str:
    kind = {"artefact:adapter": "An adapter", "artefact:encoder": "An encoder", "artefact:reward": "A reward model"}
    rows = {
        "Objective": f"{card['objective']}, method {card['method']}",
        "Base": ", ".join(f"`{one}`" for one in base) or "none: trained from scratch",
        "Licence of the base, as its page states it": (licence or "not stated") if base else None,
        "Content hashes below it": ", ".join(f"`{one}`" for one in card.get("made_from") or []) or None,
        "Weights": f"{card['parameters']:,}, {card['trained_parameters']:,} of them trained",
        "Steps": f"{card['steps']:,} ({notes['batch']})" if notes.get("batch") else f"{card['steps']:,}",
        "Rows": notes.get("rows"),
        "Tokens added to the base": notes.get("tokens_added"),
        "Computed in": f"{card['dtype']} on {card['device']}",
        "Chat template": f"`{notes['template']}` (hash of a probe; `chat_template.jinja`)" if notes.get("template") else None,
    }  # fmt: skip
    filled = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
    return f"{kind.get(store.shape or '', 'A language model')} made with Maetdol.\n\n| | |\n| --- | --- |\n{filled}"


def _data(above: Sequence[Store], receipt: Any) -> str:
    lines = ["| store | made by | rows | left out | languages |", "| --- | --- | ---: | ---: | --- |"]
    for store in above:
        page = store.require()
        dropped = sum(n for why, n in page["reasons"].items() if why)
        cells = [store.name, page["stage"], f"{page['rows']:,}", f"{dropped:,}", _shares_of(store, "lang")]
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    lost = {why: n for why, n in receipt.reasons.items() if why}
    reasons = ", ".join(f"{n:,} {why}" for why, n in sorted(lost.items(), key=lambda item: (-item[1], item[0])))
    return (
        "\n".join(lines)
        + f"\n\nOf {receipt.rows_in:,} rows read, not trained on: {reasons or 'none'}.\n\n{_licences(above)}"
    )


def _licences(above: Sequence[Store]) -> str:
    """Of the sources, and of the last store whose rows still say theirs, by share of the rows."""
    counted = [store for store in above if store.require()["counts"].get("licence")]
    listed = [store for store in counted if not store.require()["lineage"].get("of") or store is counted[-1]]
    lines = [f"- {_cell(store.name)}: {_cell(_shares_of(store, 'licence'))}" for store in listed]
    return "Licences, as the sources state them, by share of the rows:\n\n" + ("\n".join(lines) or "- not recorded")


def _shares_of(store: Store, what: str) -> str:
    page = store.require()
    return shares(page["counts"].get(what), page["rows"])


def shares(counts: dict[str, int] | None, rows: int) -> str:
    """Shares of the rows, by a count of some of them; empty where nothing was counted.

    >>> shares({"CC-BY-4.0": 15, "none": 4}, 20), shares({"ko": 999, "en": 1}, 1000), shares({}, 3)
    ('CC-BY-4.0 75%, not known 25%', 'ko 100%, en below 1%', '')
    """
    if not counts or not rows:
        return ""
    named = sorted((-n, word) for word, n in counts.items() if word and word != "none")
    shown = [(word, -n) for n, word in named[:LICENCES]]
    others, unknown = -sum(n for n, _ in named[LICENCES:]), rows + sum(n for n, _ in named)
    shown += [(f"{len(named) - LICENCES} others", others)] if others else []
    shown += [("not known", unknown)] if unknown > 0 else []
    return ", ".join(f"{word} {n / rows:.0%}" if n / rows >= 0.01 else f"{word} below 1%" for word, n in shown)


def _cell(text: str) -> str:
    """Text of a store in a table: no line, no column and no markup of its own."""
    plain = " ".join(text.split()).replace("\\", "\\\\")
    return "".join(f"\\{letter}" if letter in "|`<>[]*#" else letter for letter in plain)


def _measured(measured: Sequence[Figure], notes: dict[str, Any]) -> str:
    first, last = notes.get("first") or {}, notes.get("last") or {}
    lines = []
    if first.get("kind") == last.get("kind") == "held_out" and last.get("weight"):
        lines = [f"Loss on held-out rows: {number(first['loss'])} before training, {number(last['loss'])} after."]
    if not measured:
        return "\n\n".join([*lines, "No evaluation stands beside it."])
    table = ["| evaluation | measure | value | 95% interval |", "| --- | --- | ---: | --- |"]
    for one in measured:
        within = f"{number(one.interval[0])} to {number(one.interval[1])}" if one.interval else ""
        table.append(f"| {_cell(one.evaluation)} | {_cell(one.measure)} | {number(one.value)} | {within} |")
    return "\n\n".join([*lines, "\n".join(table)])


def _use(store: Store, base: list[str]) -> str:
    cls, package = (
        CLASSES.get(store.shape or "", "AutoModelForCausalLM"),
        "peft" if store.shape == "artefact:adapter" else "transformers",
    )
    lines = [
        f"from {package} import {cls}",
        "from transformers import AutoTokenizer",
        "",
        f'model = {cls}.from_pretrained("FOLDER")',
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
    ]
    note = ""
    if store.shape == "artefact:adapter" and len(base) > 1:
        note = f"\n\nIt stands on other adapters ({', '.join(base)}): `maetdol merge` makes one model of them all, which opens so."
    return "```python\n" + "\n".join(lines) + "\n```" + note


def _limits(card: dict[str, Any], above: Sequence[Store], measured: Sequence[Figure], notes: dict[str, Any]) -> str:
    spoken = languages(above)
    lines = [
        f"It was trained on rows of up to {card['width']:,} tokens; nothing is known of longer ones.",
        f"Its rows are in: {', '.join(spoken)}; nothing is known of other languages."
        if spoken
        else "The languages of its rows were not counted.",
        "What it says was not held against any source: it may be wrong, and may repeat what its rows say.",
    ]
    if not measured:
        lines.append("It was not evaluated.")
    unseen = (notes.get("doctor") or {}).get("rows whose reasoning the template leaves out")
    if unseen:
        lines.append(f"The template leaves out the reasoning of {unseen:,} rows: it has not learnt to write it.")
    return "\n".join(f"- {line}" for line in lines)


def merged_page(name: str, chain: Sequence[ChainLink], card: dict[str, Any]) -> str:
    """The card of a model that was merged from a chain: what of, and how near it is. What the parts were trained on is told by the cards
    that lie beside them, section by section."""
    from huggingface_hub import ModelCardData

    head = ModelCardData(
        library_name="transformers", pipeline_tag="text-generation", tags=["maetdol", "merged"], model_name=name
    )
    rows = [
        f"| {_cell(link.path.parent.name if link.path.name == ARTEFACT else link.path.name)} | {link.card.get('objective') or 'from elsewhere'} "
        f"| {link.card.get('method')} | `{link.hash}` |"
        for link in chain
    ]
    near = card["merge_divergence"][card["merged_into"]]
    sections = [
        f"# {name}",
        f"A language model merged with Maetdol from a base and its adapters, into {card['merged_into']}: {near:.2g} nats per token (KL "
        "divergence on held-out answers) from what was trained.",
        "| part | objective | method | content hash |\n| --- | --- | --- | --- |\n" + "\n".join(rows),
    ]
    for link in chain:
        page = link.path / "README.md"
        text = page.read_text(encoding="utf-8") if "objective" in link.card and page.is_file() else ""
        if found := text.partition(DATA)[2].partition("\n## ")[0].strip():
            sections.append(f"## What {_cell(link.path.parent.name)} was trained on\n\n{found}")
    return f"---\n{head.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"
