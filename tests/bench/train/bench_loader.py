"""Does reading starve training? Tokens per second of the loader alone (mapped shards, packing, masks), beside a training step's.

python tests/bench/train/bench_loader.py STORE [--hidden 144 --layers 4]      # STORE: a pack step's
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    for name, value in {"hidden": 144, "layers": 4, "batch": 16, "steps": 6, "vocabulary": 4096}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from pipeline.storage.store import Store
    from stages.models.chat.rows import collate
    from stages.models.inference.device import quiet
    from stages.models.inference.score import token_logps
    from stages.train.engine.schedule import Positions
    from stages.train.objective.corpus import TokenRows

    quiet()
    torch.set_num_threads(1)
    data, cpu = TokenRows([Store(arguments.store)], None, 0.0, 1 << 30), torch.device("cpu")
    positions, tokens, began, at = Positions(len(data), 0), 0, time.process_time(), 0
    while time.process_time() - began < 3.0:
        rows = [data.row(positions[at + n]) for n in range(arguments.batch)]
        _ = collate(rows, 0, cpu, data.width).mask  # written when asked for
        tokens += sum(len(row.ids) for row in rows)
        at += arguments.batch
    reading = tokens / (time.process_time() - began)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=arguments.vocabulary, hidden_size=arguments.hidden, num_hidden_layers=arguments.layers, num_attention_heads=4,
                                         intermediate_size=arguments.hidden * 8 // 3, tie_word_embeddings=True, attn_implementation="sdpa"))  # fmt: skip
    tokens, began = 0, time.process_time()
    for step in range(arguments.steps):
        rows = [data.row(positions[step * arguments.batch + n]) for n in range(arguments.batch)]
        (-token_logps(model, collate(rows, 0, cpu, data.width)).mean()).backward()
        tokens += sum(len(row.ids) for row in rows)
    training = tokens / (time.process_time() - began)
    print(
        json.dumps(
            {
                "loader, tokens per CPU second": round(reading),
                "training": round(training),
                "times": round(reading / training, 1),
                "rows": len(data),
                "width": data.width,
            }
        )
    )


if __name__ == "__main__":
    main()
