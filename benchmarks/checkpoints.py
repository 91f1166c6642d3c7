"""What checkpoints cost: how long training stands still, bytes, verification, and coming back from a kill.

    python benchmarks/checkpoints.py

Trains 30 million parameters on two ranks with ZeRO 2 in bf16, saving after every second step: at once, and while
training goes on. Then kills all ranks and resumes, with and without `--verify`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from zerotrain.hardware.probe import descendants
from zerotrain.runs.catalogue import altered_files, catalogue
from zerotrain.runs.history import rows
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record

SPEC: dict[str, Any] = {
    "model": {
        "architecture": "llama",
        "config": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8},
    },
    "data": {
        "train": [{"type": "python_stdlib", "max_documents": 40}],
        "tokenizer": {"type": "bpe", "vocab_size": 4096},
        "seq_len": 256,
    },
    "batch": {"global_batch_size": 8, "micro_batch_size": 2},
    "horizon": "12 steps",
    "optimizer": {"type": "adamw", "lr": 1.0e-4},
    "schedule": {"type": "constant"},
    "precision": "bf16",
    "zero": {"stage": 2},
    "checkpoint": {"save_every": "2 steps", "keep_last": 2},
    "hardware": {"gpus_per_node": 2},
}


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        for name, asynchronous in (("at once", False), ("while training goes on", True)):
            run = _train(directory, name.replace(" ", "-"), asynchronous=asynchronous)
            stalls = [row["seconds"] for row in rows(run, "save")][:-1]  # the last one is always waited for
            step = median(row["step_seconds"] for row in rows(run, "train"))
            share = median(stalls) / step
            print(f"stall per save, written {name}: {median(stalls):.2f} s, {share:.0%} of a step of {step:.2f} s")
        _sizes(run)
        for verify in (False, True):
            print(
                f"SIGKILL to the next step{', with --verify' if verify else ''}: {_comeback(directory, verify):.1f} s"
            )


def _train(directory: Path, name: str, *, asynchronous: bool) -> RunDirectory:
    checkpoint = {**SPEC["checkpoint"], "asynchronous": asynchronous}
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**SPEC, "name": name, "checkpoint": checkpoint}))
    subprocess.run(_command("train", file.name), cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return RunDirectory(directory / "runs" / name)


def _sizes(run: RunDirectory) -> None:
    checkpoint, parameters = catalogue(run)[0][0], read_record(run).model["params"]
    size = checkpoint.manifest.bytes
    print(f"bytes: {size / 1e6:.0f} MB, {size / parameters:.2f} per parameter; 2 + 4 + 8 = 14 are needed")
    start = time.perf_counter()
    assert altered_files(checkpoint) == []
    seconds = time.perf_counter() - start
    print(f"verification in full: {seconds:.2f} s, {size / seconds / 1e9:.1f} GB/s of one process")


def _comeback(directory: Path, verify: bool) -> float:
    """Returns the seconds from a SIGKILL of everything to the first step after the resume."""
    name = f"killed-{int(verify)}"
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump({**SPEC, "name": name}))
    run = RunDirectory(directory / "runs" / name)
    process = subprocess.Popen(_command("train", file.name), cwd=directory, stdout=subprocess.DEVNULL)
    while not catalogue(run)[0]:
        time.sleep(0.1)
    for pid in [process.pid, *descendants(process.pid)]:
        os.kill(pid, signal.SIGKILL)
    killed = time.time()
    process.wait()
    words = ("resume", str(run.root), *(["--verify"] if verify else []))
    subprocess.run(_command(*words), cwd=directory, check=True, stdout=subprocess.DEVNULL)
    return next(row["time"] for row in rows(run, "train") if row["attempt"] == 2) - killed


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "zerotrain", *words]


if __name__ == "__main__":
    main()
