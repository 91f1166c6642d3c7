"""Kills, signals and damaged files at random moments of real runs, and the loss curves that come of them.

    python benchmarks/faults.py --faults 200 --seed 1

Each run trains on two ranks through the command line and meets up to ten faults. After each it goes on by itself or by
`zerotrain resume`. At its end every loss is compared, bit by bit, with an uninterrupted run of the same spec, and every
checkpoint is read and compared with its manifest. Prints one line per fault and run; exits 1 when anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zerotrain.hardware.probe import descendants
from zerotrain.runs.attempts import attempts
from zerotrain.runs.catalogue import Checkpoint, altered_files, catalogue
from zerotrain.runs.ending import is_finished
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory

STEPS = 600

Layout = tuple[int, str, bool]
"""ZeRO stage, precision, and whether checkpoints are written while training goes on."""
FAULTS_PER_RUN = 10
_MOST_STARTS = 5
"""Of a run that meets no more faults: what is still not at its end then will never be."""

SPEC: dict[str, Any] = {
    "name": "tiny",
    "model": {
        "architecture": "llama",
        "config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
        "dropout": 0.1,
    },
    "data": {
        "train": [{"type": "python_stdlib", "max_documents": 12}],
        "tokenizer": {"type": "bytes"},
        "seq_len": 64,
    },
    "batch": {"global_batch_size": 4, "micro_batch_size": 2},
    "horizon": f"{STEPS} steps",
    "optimizer": {"type": "adamw", "lr": 1.0e-3},
    "schedule": {"type": "cosine"},
    "checkpoint": {"save_every": "5 steps", "keep_last": 3, "verify": "full"},
    "hardware": {"gpus_per_node": 2},
    "health": {"hang": "15 seconds"},
    "launch": {"type": "local", "max_restarts": 1000, "restart_delay": "1 seconds"},
}


@dataclass
class Trial:
    """A run that is interfered with."""

    directory: Path
    draw: random.Random
    process: subprocess.Popen[bytes] | None = None

    @property
    def run(self) -> RunDirectory:
        return RunDirectory(self.directory / "runs" / "tiny")

    def start(self) -> None:
        """Trains, or goes on."""
        arguments = ("resume", str(self.run.root)) if self.run.record.exists() else ("train", "spec.yaml")
        with (self.directory / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "zerotrain", *arguments],
                cwd=self.directory,
                env={**os.environ, "PYTHONFAULTHANDLER": "1"},
                stdout=output,
                stderr=output,
            )

    def is_over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def workers(self) -> list[int]:
        assert self.process is not None
        return sorted(pid for pid in descendants(self.process.pid) if _is_worker(pid))

    def wait(self, condition: Callable[[], Any], seconds: float = 300) -> bool:
        """Returns True once a condition holds, False when the process has ended before."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.is_over():
                return False
            if time.monotonic() > deadline:
                self._give_up()
            time.sleep(0.005)
        return True

    def _give_up(self) -> None:
        """Keeps what there is of a run that no longer moves, with the stacks of its ranks, and ends."""
        for pid in self.workers():
            _kill(pid, signal.SIGABRT)
        time.sleep(5)
        kept = Path(tempfile.mkdtemp(prefix="zerotrain-fault-"), "trial")
        shutil.copytree(self.directory, kept)
        self.end(signal.SIGKILL)
        sys.exit(f"a run no longer moves; the stacks of its ranks are in {kept / 'runs' / 'tiny' / 'logs'}")

    def wait_for_a_moment(self) -> bool:
        """Waits for a random moment: of the start, or of the training that follows."""
        number = max((attempt.number for attempt in attempts(self.run)), default=0)
        if self.draw.random() < 0.25:
            time.sleep(self.draw.uniform(0, 8))
            return not self.is_over()
        last = max(curve(self.run), default=0)
        fresh = self.wait(lambda: self.workers() and max(curve(self.run), default=0) > last) or number == 0
        time.sleep(self.draw.uniform(0, 3))
        return fresh and not self.is_over()

    def end(self, number: int) -> None:
        """Signals the launcher and waits until all have ended."""
        assert self.process is not None
        family = [self.process.pid, *descendants(self.process.pid)]
        for pid in family if number == signal.SIGKILL else family[:1]:
            _kill(pid, number)
        self.process.wait(timeout=120)


def kill_one_rank(trial: Trial) -> bool:
    """SIGKILL of one rank; the launcher starts all again."""
    return trial.wait_for_a_moment() and _kill_one(trial)


def kill_one_rank_while_saving(trial: Trial) -> bool:
    """SIGKILL of one rank within 60 ms of the beginning of a save: while writing, renaming, removing old ones."""
    before = {path.name for path in trial.run.checkpoints.glob("*")} if trial.run.checkpoints.is_dir() else set()
    begun = trial.wait(lambda: any(path.name not in before for path in trial.run.checkpoints.glob("*.partial")))
    time.sleep(trial.draw.uniform(0, 0.06))
    return begun and _kill_one(trial)


def kill_all(trial: Trial) -> bool:
    """SIGKILL of the launcher and all ranks at once, as when a machine is lost."""
    if not trial.wait_for_a_moment():
        return False
    trial.end(signal.SIGKILL)
    return True


def ask_the_launcher_to_stop(trial: Trial) -> bool:
    """SIGTERM: a checkpoint is saved."""
    if not trial.wait_for_a_moment():
        return False
    trial.end(signal.SIGTERM)
    return True


def ask_a_rank_to_stop(trial: Trial) -> bool:
    """SIGUSR1 of one rank, as schedulers send it."""
    moment = trial.wait_for_a_moment() and trial.wait(lambda: len(trial.workers()) == 2)
    workers = trial.workers()
    if not moment or not workers or not all(map(_listens, workers)):
        return False
    _kill(trial.draw.choice(workers), signal.SIGUSR1)
    assert trial.process is not None
    trial.process.wait(timeout=120)
    return True


def stop_one_rank(trial: Trial) -> bool:
    """SIGSTOP of one rank in training, as when a process hangs; the watchdog of the other ends both."""
    if not trial.wait_for_a_moment() or len(trial.workers()) < 2 or not all(map(_listens, trial.workers())):
        return False
    step = max(curve(trial.run), default=0)
    if not trial.wait(lambda: max(curve(trial.run), default=0) > step) or step > STEPS - 200:
        return False
    return _kill(trial.draw.choice(trial.workers()), signal.SIGSTOP)


def damage_a_checkpoint(trial: Trial) -> bool:
    """SIGKILL of all, then a file of the newest checkpoint is truncated, altered by one bit, or removed."""
    if not kill_all(trial):
        return False
    complete, _ = catalogue(trial.run)
    if len(complete) < 2:
        return True
    file = trial.draw.choice(sorted(complete[0].path.glob("*.pt")))
    content = bytearray(file.read_bytes())
    how = trial.draw.choice(["truncate", "flip", "remove"])
    if how == "remove":
        file.unlink()
    elif how == "truncate":
        file.write_bytes(content[: trial.draw.randrange(len(content))])
    else:
        content[trial.draw.randrange(len(content))] ^= 1 << trial.draw.randrange(8)
        file.write_bytes(content)
    return True


FAULTS: Mapping[str, Callable[[Trial], bool]] = {
    function.__name__.replace("_", " "): function
    for function in (
        kill_one_rank,
        kill_one_rank_while_saving,
        kill_all,
        ask_the_launcher_to_stop,
        ask_a_rank_to_stop,
        stop_one_rank,
        damage_a_checkpoint,
    )
}


def main() -> int:
    """Runs the trials; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    met: Counter[str] = Counter()
    wholes: dict[Layout, dict[int, float]] = {}
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        while met.total() < given.faults:
            layout = draw.choice([0, 1, 2, 3]), draw.choice(["fp32", "bf16"]), draw.random() < 0.5
            if layout not in wholes:
                wholes[layout] = _whole(Path(folder), layout)
            faults = min(FAULTS_PER_RUN, given.faults - met.total())
            bad += _run(Path(folder) / "trial", layout, draw, met, faults, wholes[layout])
    print("\n".join(f"{count:5}  {name}" for name, count in sorted(met.items())))
    print(f"{met.total()} faults, {bad} differences")
    return 1 if bad else 0


def _whole(folder: Path, layout: Layout) -> dict[int, float]:
    trial = _trial(folder / f"whole-{len(list(folder.iterdir()))}", layout, random.Random(0))
    trial.start()
    assert trial.process is not None
    assert trial.process.wait(timeout=600) == 0, (trial.directory / "output.txt").read_text()
    return _losses(trial)


def _run(
    directory: Path,
    layout: Layout,
    draw: random.Random,
    met: Counter[str],
    faults: int,
    whole: Mapping[int, float],
) -> int:
    """Trains one run through its faults; returns how many of its steps and checkpoints are not what they should be."""
    shutil.rmtree(directory, ignore_errors=True)
    trial, name = (
        _trial(directory, layout, draw),
        f"stage {layout[0]} {layout[1]}{', asynchronous' if layout[2] else ''}",
    )
    trial.start()
    for _ in range(faults):
        fault = draw.choice(sorted(FAULTS))
        if FAULTS[fault](trial):
            met[fault] += 1
            print(f"  {name}: {fault} near step {max(curve(trial.run), default=0)}", flush=True)
        if trial.is_over() and not is_finished(trial.run):
            trial.start()
        if is_finished(trial.run):
            break
    for _ in range(_MOST_STARTS):
        assert trial.process is not None
        trial.process.wait(timeout=600)
        if is_finished(trial.run):
            break
        trial.start()
    assert trial.process is not None
    trial.process.wait(timeout=120)
    if not is_finished(trial.run):
        print((trial.directory / "output.txt").read_text(), flush=True)
    losses = _losses(trial)
    different = [step for step in range(1, STEPS + 1) if losses.get(step) != whole[step]]
    unreadable = [checkpoint.path.name for checkpoint in catalogue(trial.run)[0] if _is_unreadable(checkpoint)]
    outcomes = Counter(attempt.outcome for attempt in attempts(trial.run))
    print(f"{name}: {dict(outcomes)}, {len(different)} steps differ, unreadable: {unreadable}", flush=True)
    if different or unreadable:
        shutil.copytree(directory, Path(tempfile.mkdtemp(prefix="zerotrain-fault-")) / "trial")
    return len(different) + len(unreadable)


def _trial(directory: Path, layout: Layout, draw: random.Random) -> Trial:
    directory.mkdir()
    spec = {**SPEC, "zero": {"stage": layout[0]}, "precision": layout[1]}
    spec["checkpoint"] = {**SPEC["checkpoint"], "asynchronous": layout[2]}
    (directory / "spec.yaml").write_text(yaml.safe_dump(spec))
    return Trial(directory, draw)


def _losses(trial: Trial) -> dict[int, float]:
    return {step: row["loss"] for step, row in curve(trial.run).items()}


def _is_unreadable(checkpoint: Checkpoint) -> bool:
    return bool(altered_files(checkpoint))


def _is_worker(pid: int) -> bool:
    try:
        return b"zerotrain.worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _listens(pid: int) -> bool:
    """Tells whether a rank has its handlers: before that a signal kills any Python process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught & 1 << signal.SIGUSR1 - 1)


def _kill_one(trial: Trial) -> bool:
    workers = trial.workers()
    return bool(workers) and _kill(trial.draw.choice(workers), signal.SIGKILL)


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
