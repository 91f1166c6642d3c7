"""What a step of zerotrain costs beside a hand-written loop around `deepspeed.initialize`.

Both train the same model on the same samples with the same DeepSpeed configuration, on the same ranks, in turns of a
few steps, so that a machine that speeds up or slows down does so for both. The hand-written loop has its batches in
memory and keeps nothing but the loss of each step. Prints the ratio of the median steps; goal: at most 1.02.

`python benchmarks/step_overhead.py` measures 1 and 2 ranks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

TURNS, STEPS_PER_TURN, WARM_UP = 12, 5, 4
ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "examples" / "quickstart.yaml"


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
    from dataclasses import replace

    from zerotrain.engine.open import prepare_run
    from zerotrain.hardware.probe import free_port
    from zerotrain.hardware.topology import Topology
    from zerotrain.launch.job import Job, Order
    from zerotrain.launch.local import prepare
    from zerotrain.launch.watch import run_job
    from zerotrain.runs.attempts import next_attempt
    from zerotrain.runs.create import create_run

    with tempfile.TemporaryDirectory() as directory:
        steps = (TURNS * STEPS_PER_TURN + WARM_UP) * 2
        overrides = [f"horizon={steps} steps", "evaluation={}", "monitor.tensorboard=false", "export=null"]
        run = create_run(prepare_run(SPEC, overrides, ranks, lambda text: None), Path(directory))
        order = Order(
            run,
            prepare_run(SPEC, overrides, ranks, lambda text: None).resolved.spec,
            Topology(1, ranks),
            next_attempt(run),
            free_port(),
        )
        job = prepare(order)
        own = [sys.executable, __file__, "--rank-of", str(run.root)]
        code = run_job(Job(tuple(replace(command, arguments=tuple(own)) for command in job.commands), job.log))
        if code:
            sys.exit(f"a rank failed with exit code {code}: {job.log.read_text()}")


def measure(directory: Path) -> None:
    """Measures on one rank; rank 0 prints."""
    from zerotrain.engine.meet import Meeting
    from zerotrain.engine.ranks import read_ranks
    from zerotrain.monitor.console import keep_terminal
    from zerotrain.runs.layout import RunDirectory

    ranks = read_ranks()
    console = keep_terminal(ranks.rank)
    run = RunDirectory(directory)
    Meeting(ranks, console).open_run(run, int(os.environ["ZEROTRAIN_ATTEMPT"]))
    ours, theirs = our_loop(run, ranks), hand_written_loop(run, ranks)
    times: dict[str, list[float]] = {"zerotrain": [], "by hand": []}
    for turn in range(-1, TURNS):
        for name, loop in (("zerotrain", ours), ("by hand", theirs)):
            for _ in range(STEPS_PER_TURN if turn >= 0 else WARM_UP):
                before = time.perf_counter()
                next(loop)
                if turn >= 0:
                    times[name].append(time.perf_counter() - before)
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    ratio = medians["zerotrain"] / medians["by hand"]
    quarters = statistics.quantiles([a / b for a, b in zip(*times.values(), strict=True)], n=4)
    console.say(
        f"{ranks.world_size} rank(s): median step {medians['zerotrain'] * 1000:.1f} ms against "
        f"{medians['by hand'] * 1000:.1f} ms by hand, ratio {ratio:.3f} "
        f"(quartiles of paired ratios {quarters[0]:.3f} to {quarters[2]:.3f}, {len(times['by hand'])} steps each)"
    )


def our_loop(run: object, ranks: object) -> Iterator[None]:
    """Yields after every step of the real loop, with its real hooks."""
    from zerotrain.engine.assemble import Parts, assemble
    from zerotrain.engine.loop import train_step
    from zerotrain.engine.setup import build_engine
    from zerotrain.engine.state import TrainState
    from zerotrain.monitor.console import SILENT
    from zerotrain.monitor.sinks.console import ConsoleSink
    from zerotrain.monitor.sinks.table import open_sinks
    from zerotrain.runs.record import read_record
    from zerotrain.spec.run import RunSpec

    record = read_record(run)
    spec = RunSpec.model_validate(record.resolved)
    ready = build_engine(run, spec, lambda text: None)
    with closing(open_sinks(run, spec.monitor, ranks.rank, 1, ConsoleSink(SILENT, record.steps))) as sink:
        parts = Parts(run, record, spec, ranks, 1, SILENT)
        training = assemble(parts, ready, TrainState(), sink)
        ready.engine.train()
        step = 0
        while True:
            step += 1
            train_step(training, step)
            yield


def hand_written_loop(run: object, ranks: object) -> Iterator[None]:
    """Yields after every step of a loop as one writes it by hand."""
    import deepspeed
    from torch.nn import functional

    from zerotrain.modeling.load import load_model
    from zerotrain.runs.record import read_record
    from zerotrain.spec.run import RunSpec

    spec = RunSpec.model_validate(read_record(run).resolved)
    config = json.loads(run.ds_config.read_text())
    model = load_model(spec.model, config, spec.seed)
    model.config.use_cache = False
    engine, *_ = deepspeed.initialize(model=model, model_parameters=list(model.parameters()), config=config)
    engine.train()
    batches = batches_in_memory(run, spec, ranks)
    losses = []
    while True:
        for inputs, labels in next(batches):
            logits = engine(**inputs, use_cache=False).logits
            loss = functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100)
            engine.backward(loss)
            engine.step()
        losses.append(loss.item())
        yield


def batches_in_memory(run: object, spec: object, ranks: object) -> Iterator[list[tuple[dict[str, object], object]]]:
    """Yields the micro-batches of each step, made beforehand."""
    from zerotrain.data.loader import Loader
    from zerotrain.data.store import SampleStore
    from zerotrain.runs.record import read_record

    loader = Loader(
        SampleStore.open(Path(read_record(run).stores["train"])),
        seed=spec.seed,
        global_batch_size=spec.batch.global_batch_size,
        micro_batch_size=spec.batch.micro_batch_size,
        dp_rank=ranks.rank,
        dp_size=ranks.world_size,
    )
    steps = []
    for step in range(TURNS * STEPS_PER_TURN + WARM_UP):
        micro_batches = [micro.batch for micro in loader.global_batch(step).micro_batches]
        steps.append(
            [
                (
                    {
                        "input_ids": batch.input_ids,
                        "position_ids": batch.position_ids,
                    },
                    batch.labels,
                )
                for batch in micro_batches
            ]
        )
    yield from steps


if __name__ == "__main__":
    main()
