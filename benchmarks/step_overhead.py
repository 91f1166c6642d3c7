"""What a step of zerotrain costs beside a hand-written loop around `deepspeed.initialize`.

Both train the same model on the same samples with the same DeepSpeed configuration, on the same ranks, in turns of a
few steps, so that a machine that speeds up or slows down does so for both. The hand-written loop has its batches in
memory and keeps nothing but the loss of each step. Prints the ratio of the median steps; goal: at most 1.02.

`python benchmarks/step_overhead.py` measures 1 and 2 ranks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerotrain.engine.meet import OpenedRun
    from zerotrain.engine.ranks import Ranks

TURNS, STEPS_PER_TURN, WARM_UP = 12, 5, 4
STEPS = TURNS * STEPS_PER_TURN + WARM_UP
SPEC = Path(__file__).resolve().parent.parent / "examples" / "quickstart.yaml"
OVERRIDES = [f"horizon={STEPS + 1} steps", "evaluation={}", "data.validation=[]", "monitor={}", "export=null"]


def main() -> None:
    """Starts the ranks of each measurement, or is one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, action="append", help="numbers of ranks to measure; 1 and 2 by default")
    parser.add_argument("--rank-of", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank_of:
        measure(given.rank_of)
        return
    for ranks in given.ranks or [1, 2]:
        start(ranks)


def start(ranks: int) -> None:
    """Prepares a run directory and starts this file on its ranks."""
    from zerotrain.engine.open import prepare_run
    from zerotrain.hardware.probe import free_port
    from zerotrain.launch.job import Order
    from zerotrain.launch.local import prepare
    from zerotrain.launch.watch import run_job
    from zerotrain.runs.attempts import next_attempt
    from zerotrain.runs.create import create_run

    with tempfile.TemporaryDirectory() as directory:
        new = prepare_run(SPEC, OVERRIDES, ranks, lambda text: None)
        run = create_run(new, Path(directory))
        job = prepare(Order(run, new.resolved.spec, new.resolved.topology, next_attempt(run), free_port()))
        own = (sys.executable, __file__, "--rank-of", str(run.root))
        code = run_job(replace(job, commands=tuple(replace(command, arguments=own) for command in job.commands)))
        if code:
            sys.exit(f"a rank failed with exit code {code}: {run.rank_log(1, 0).read_text()[-2000:]}")


def measure(directory: Path) -> None:
    """Measures on one rank; rank 0 prints."""
    from zerotrain.engine.meet import Meeting
    from zerotrain.engine.ranks import read_ranks
    from zerotrain.monitor.console import keep_terminal
    from zerotrain.runs.layout import RunDirectory

    ranks = read_ranks()
    console = keep_terminal(ranks.rank)
    run = Meeting(ranks, console).open_run(RunDirectory(directory), 1)
    loops = {"zerotrain": our_loop(run, ranks), "by hand": hand_written_loop(run, ranks)}
    times: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        take(loop, WARM_UP)
    for _ in range(TURNS):
        for name, loop in loops.items():
            times[name] += take(loop, STEPS_PER_TURN)
    console.say(f"{ranks.world_size} rank(s): {result(times['zerotrain'], times['by hand'])}")


def take(loop: Iterator[None], steps: int) -> list[float]:
    """Returns the seconds of some steps."""
    seconds = []
    for _ in range(steps):
        before = time.perf_counter()
        next(loop)
        seconds.append(time.perf_counter() - before)
    return seconds


def result(ours: list[float], theirs: list[float]) -> str:
    """Returns the sentence that is printed."""
    own, other = statistics.median(ours), statistics.median(theirs)
    low, _, high = statistics.quantiles([a / b for a, b in zip(ours, theirs, strict=True)], n=4)
    return (
        f"median step {own * 1000:.1f} ms against {other * 1000:.1f} ms by hand, ratio {own / other:.3f} "
        f"(quartiles of paired ratios {low:.3f} to {high:.3f}, {len(ours)} steps each)"
    )


def our_loop(run: OpenedRun, ranks: Ranks) -> Iterator[None]:
    """Yields after every step of the real loop, with its real hooks."""
    from zerotrain.engine.assemble import Parts, assemble
    from zerotrain.engine.errands import Errands
    from zerotrain.engine.interruption import StopRequests
    from zerotrain.engine.loop import train_step
    from zerotrain.engine.setup import build_engine
    from zerotrain.engine.state import TrainState
    from zerotrain.monitor.console import SILENT
    from zerotrain.monitor.sinks.console import ConsoleSink
    from zerotrain.monitor.sinks.table import open_sinks

    spec, record = read(run)
    ready = build_engine(run.directory, spec, record.data, lambda text: None)
    errands = Errands(run.directory, spec, run.attempt, ranks.rank == 0)
    parts = Parts(run.directory, record, spec, run.stores, ranks, run.attempt, SILENT, StopRequests(), None, errands)
    with closing(open_sinks(run.directory, spec.monitor, ranks.rank, 1, ConsoleSink(SILENT, STEPS))) as sink:
        training = assemble(parts, ready, None, TrainState(), None, sink)
        ready.engine.train()
        for step in range(1, STEPS + 1):
            train_step(training, step)
            yield


def hand_written_loop(run: OpenedRun, ranks: Ranks) -> Iterator[None]:
    """Yields after every step of a loop as one writes it by hand."""
    import deepspeed
    from torch.nn import functional

    from zerotrain.modeling.load import load_model

    spec, _ = read(run)
    config = json.loads(run.directory.ds_config.read_text())
    model = load_model(spec.model, config, spec.seed)
    model.config.use_cache = False
    trained: Any = list(model.parameters())  # DeepSpeed's annotation asks for a module
    engine, *_ = deepspeed.initialize(model=model, model_parameters=trained, config=config)
    engine.train()
    losses = []
    for micro_batches in batches_in_memory(run, ranks):
        loss = None
        for inputs, labels in micro_batches:
            logits = engine(**inputs, use_cache=False).logits
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100)
            engine.backward(loss)
            engine.step()
        assert loss is not None
        losses.append(loss.item())
        yield


def batches_in_memory(run: OpenedRun, ranks: Ranks) -> list[list[tuple[dict[str, Any], Any]]]:
    """Returns the micro-batches of every step."""
    from zerotrain.data.loader import Loader
    from zerotrain.data.stores.packed import SampleStore

    spec, _ = read(run)
    loader = Loader(
        SampleStore.open(Path(str(run.stores["train"]))),
        seed=spec.seed,
        global_batch_size=spec.batch.global_batch_size,
        micro_batch_size=spec.batch.micro_batch_size,
        dp_rank=ranks.rank,
        dp_size=ranks.world_size,
    )
    steps = ([micro.batch for micro in loader.global_batch(step).micro_batches] for step in range(STEPS))
    return [[({name: b[name] for name in ("input_ids", "position_ids")}, b["labels"]) for b in step] for step in steps]


def read(run: OpenedRun) -> tuple[Any, Any]:
    """Returns the settled spec and the record of a run."""
    from zerotrain.runs.record import read_record
    from zerotrain.spec.run import RunSpec

    record = read_record(run.directory)
    return RunSpec.model_validate(record.resolved), record


if __name__ == "__main__":
    main()
