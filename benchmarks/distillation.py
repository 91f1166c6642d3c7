"""What a teacher is worth: the same small student, trained for the same steps alone and with a teacher.

Trains a teacher on the standard library's source, then for each seed a small student on the same text, once on the
text alone and once with the teacher, and prints the validation losses (mean cross-entropy of a token; the teacher has
no part in it) and how often the student would choose the teacher's token. Goal: with the teacher every student ends
better.

`python benchmarks/distillation.py` takes about twenty minutes on two busy cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SPEC: Mapping[str, Any] = {
    "data": {
        "train": [{"type": "python_stdlib"}],
        "validation": [{"type": "python_stdlib", "split": "validation"}],
        "tokenizer": {"type": "bpe", "vocab_size": 2048},
        "seq_len": 128,
    },
    "batch": {"global_batch_size": 16, "micro_batch_size": 8},
    "schedule": {"type": "cosine", "warmup": "20 steps", "min_lr_ratio": 0.1},
    "evaluation": {"max_samples": 256},
    "precision": "fp32",
    "zero": {"stage": 0},
    "hardware": {"gpu": "cpu", "num_nodes": 1, "gpus_per_node": 2},
    "launch": {"type": "local"},
}
TEACHER_SIZES = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 8}
STUDENT_SIZES = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}


def main() -> int:
    """Prints the losses; returns 1 when a student ended worse with its teacher."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teacher-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=200, help="steps of a student")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--soft-weight", type=float, default=0.9)
    parser.add_argument("--teacher", type=Path, help="an export to use for the teacher instead of training one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        teacher = given.teacher.absolute() if given.teacher else taught(folder, given.teacher_steps)
        lesson = {"temperature": given.temperature, "soft_weight": given.soft_weight}
        task = {"type": "distill", "teacher": {"pretrained": str(teacher)}, **lesson}
        gains = [compare(folder, seed, given.steps, task) for seed in range(1, given.seeds + 1)]
    print(f"gain over {given.seeds} seeds: mean {statistics.mean(gains):.4f}, least {min(gains):.4f}")
    return int(min(gains) <= 0)


def taught(folder: Path, steps: int) -> Path:
    """Trains the teacher and returns its export."""
    metrics = train(folder, "teacher", TEACHER_SIZES, {"type": "pretrain"}, steps, seed=0)
    print(f"teacher after {steps} steps: {metrics['loss']:.4f}", flush=True)
    return folder / "runs" / "teacher" / "export"


def compare(folder: Path, seed: int, steps: int, task: Mapping[str, Any]) -> float:
    """Trains a student alone and with the teacher; returns by how much its validation loss is lower with it."""
    alone = train(folder, f"alone-{seed}", STUDENT_SIZES, {"type": "pretrain"}, steps, seed)
    helped = train(folder, f"taught-{seed}", STUDENT_SIZES, task, steps, seed)
    gain = alone["loss"] - helped["loss"]
    print(
        f"seed {seed}, {steps} steps: alone {alone['loss']:.4f}, with the teacher {helped['loss']:.4f}, "
        f"gain {gain:.4f}, agreement {helped['agreement']:.3f}",
        flush=True,
    )
    return gain


def train(
    folder: Path, name: str, sizes: Mapping[str, int], task: Mapping[str, Any], steps: int, seed: int
) -> dict[str, float]:
    """Trains a run by the command line and returns the metrics of its last evaluation."""
    rate = 2.0e-3 if name == "teacher" else 4.0e-3
    own = {
        "name": name,
        "seed": seed,
        "model": {"architecture": "llama", "config": {**sizes, "tie_word_embeddings": True}},
        "task": task,
        "horizon": f"{steps} steps",
        "optimizer": {"type": "adamw", "lr": rate, "betas": [0.9, 0.95], "weight_decay": 0.1, "clip_norm": 1.0},
        "export": {},
    }
    spec = folder / f"{name}.json"
    spec.write_text(json.dumps({**SPEC, **own}))
    command = [sys.executable, "-m", "zerotrain", "train", str(spec)]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    lines = (folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
    return [row["metrics"] for row in map(json.loads, lines) if row["kind"] == "eval"][-1]


if __name__ == "__main__":
    sys.exit(main())
