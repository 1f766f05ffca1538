"""DPO at three shares of prompts that SFT has seen, three seeds each, on the base of a finished quickstart.

    maetdol run configs/quickstart.yaml
    python tests/bench/dpo/overlap.py runs/quickstart runs/bench-overlap

Every run is a recipe of three steps (dpo, train, evaluate) over the stores of that quickstart, with its options. What is equal
in all of them: the number of prompts asked for, the number of steps, and what is measured on: one set of pairs made of every
prompt, of which the held-out fifth (by prompt, the same fifth that SFT and DPO hold out) is looked at, and the held-out
conversations. Finished runs are not made again. Prints a line per run and the means, as rows of a table.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pipeline.engine.recipe import parse
from pipeline.engine.run import run
from pipeline.storage.store import Store

SHARES = (0.0, 0.5, 1.0)
SEEDS = (17, 18, 19)
PROMPTS = 220
STEPS = 60
MEASURES = ("preference accuracy", "chosen log-probability", "rejected log-probability", "loss on answers")
PAIRS = {
    "truncated": "keep",
    "match_length": True,
    "length_ratio": 3,
    "sampling": {"max_tokens": 96, "temperature": 0.8, "batch": 32},
}


def recipe(root: Path, steps: list[dict], seed: int):
    return parse({"name": root.name, "root": str(root), "seed": seed, "steps": steps, "run": {"pool": "inline"}})


def main(base: str, out: str) -> None:
    where = {name: f"{os.path.abspath(base)}/{name}" for name in ("sft-unique", "sft-rows", "pretrain", "sft-model")}
    made_of = {"of": where["sft-unique"], "student": [where["pretrain"], where["sft-model"]]}
    common = Path(out).absolute() / "common"
    run(recipe(common, [{"dpo": {**made_of, **PAIRS}}], SEEDS[0]))
    found: dict[float, list[dict]] = {share: [] for share in SHARES}
    for seed in SEEDS:
        for share in SHARES:
            root = Path(out).absolute() / f"overlap-{share:g}-seed-{seed}"
            steps = [
                {"dpo": {**made_of, **PAIRS, "sft": where["sft-rows"], "sft_overlap": share, "max_prompts": PROMPTS}},
                {"train": {"name": "model", "objective": "dpo", "method": "qlora", "of": "dpo", "base": [where["pretrain"], where["sft-model"]],
                           "beta": 1.0, "max_steps": STEPS, "learning_rate": 1.0e-3, "dpo.sft_weight": 0.5, "holdout": 0.2}},
                {"evaluate": {"of": [where["sft-unique"], f"{common}/dpo"], "model": [where["pretrain"], where["sft-model"], "model"], "rows": 400, "samples": 0}},
            ]  # fmt: skip
            run(recipe(root, steps, seed))
            report = json.loads((root / "evaluate/artefact/report.json").read_text())
            manifest = Store(root / "dpo").require()
            measured = {model["name"]: model["metrics"] for model in report["models"]}
            counts = report["models"][-1]["counts"]
            found[share].append(measured["dpo"])
            row = [
                f"{share:g}",
                str(seed),
                f"{manifest['sft_overlap']['share']:.3f}",
                f"{manifest['rows']}",
                *(f"{measured['dpo'][name]:.3f}" for name in MEASURES),
            ]
            print(
                "| " + " | ".join(row) + f" | {counts['pairs']} pairs, {counts['conversations']} conversations",
                flush=True,
            )
    before = measured["sft"]
    print("| before | | | | " + " | ".join(f"{before[name]:.3f}" for name in MEASURES) + " |")
    for share, runs in found.items():
        told = [
            f"{statistics.mean(r[name] for r in runs):.3f} ± {statistics.stdev(r[name] for r in runs):.3f}"
            for name in MEASURES
        ]
        print(f"| {share:g}, mean of {len(runs)} | | | | " + " | ".join(told) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:3])
