"""`zerotrain parity`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from zerotrain.check.render import render_full
from zerotrain.check.runner import check_reading
from zerotrain.cli.arguments import add_spec
from zerotrain.cli.check import exit_code
from zerotrain.cli.train import train
from zerotrain.hardware.probe import surroundings
from zerotrain.launch.table import is_submitted
from zerotrain.runs.create import RUNS
from zerotrain.runs.history import curve
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.parity import MEASURES, Step, compared, largest
from zerotrain.spec.load import read_spec
from zerotrain.spec.run import RunSpec

_STEPS = 10
_TOLERANCE = 1e-4
_ROUGHER = 200
"""16-bit numbers are rounded at their third digit, and parts are summed in another order: so many times more."""

_BOTH = (
    *("schedule={type: constant}", "evaluation={every: null}", "checkpoint={keep_last: 1}"),
    *("export=null", "archive=null", "monitor={tensorboard: false}"),
)
"""What is left out of both runs, because it is not what is compared."""

_PLAIN = (
    *(
        "parallel={}",
        "activation_checkpointing=none",
        "tiling={}",
        "compile=none",
        "launch={type: local}",
        "deepspeed={}",
    ),
    *("hardware={gpu: cpu}", "batch.gradient_accumulation_steps=auto"),
)
"""What makes a run of one plain rank."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_spec(parser)
    parser.add_argument(
        "--steps", type=int, metavar="N", default=_STEPS, help=f"optimizer steps; {_STEPS} if not given"
    )
    parser.add_argument(
        "--tolerance", type=float, metavar="X", default=_TOLERANCE, help="largest relative difference allowed in fp32"
    )


def run(given: argparse.Namespace) -> int:
    """Trains the spec's layout and one plain rank, in fp32 and in the spec's precision, and compares them."""
    reading = read_spec(given.spec, given.overrides)
    found = check_reading(reading, surroundings(), given.world_size)
    if code := exit_code(found):
        sys.stderr.write(render_full(found, color=sys.stderr.isatty()))
        return code
    assert reading.spec is not None, "a spec without errors was read"
    worst = 0
    for dtype in dict.fromkeys(("fp32", reading.spec.precision.dtype)):
        worst = max(worst, _compare(given, reading.spec, dtype))
    return worst


def _compare(given: argparse.Namespace, spec: RunSpec, dtype: str) -> int:
    # In 16 bits only ZeRO adds up gradients in fp32.
    stage = 0 if dtype == "fp32" else 1
    here = ["launch={type: local}"] if is_submitted(spec.launch) else []
    sides = {"plain": (*_PLAIN, f"zero={{stage: {stage}}}"), "layout": here}
    curves = []
    for side, overrides in sides.items():
        name = f"{spec.name}.parity-{side}-{dtype}"
        shutil.rmtree(RUNS / name, ignore_errors=True)
        print(f"training {'one plain rank' if side == 'plain' else 'the layout of the spec'} in {dtype}", flush=True)
        common = (*_BOTH, f"name={name}", f"precision={dtype}", f"horizon={given.steps} steps")
        world_size = given.world_size if side == "layout" else None
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            code = train(given.spec, [*given.overrides, *common, *overrides], world_size=world_size)
        if code:
            return code
        curves.append(curve(RunDirectory(RUNS / name)))
    tolerance = given.tolerance * (1 if dtype == "fp32" else _ROUGHER)
    steps = compared(*curves)
    print("\n".join(["", *_table(steps), *_verdict(steps, dtype, tolerance), ""]))
    return int(any(largest(steps, measure) > tolerance for measure in MEASURES))


def _table(steps: Sequence[Step]) -> Iterator[str]:
    yield f"{'step':>5}  {'loss, plain':>14}  {'layout':>14}  {'norm, plain':>14}  {'layout':>14}"
    for step in steps:
        cells = [side.get(measure) for measure in MEASURES for side in (step.plain, step.other)]
        yield f"{step.number:>5}  " + "  ".join(f"{'' if cell is None else f'{cell:.8g}':>14}" for cell in cells)


def _verdict(steps: list[Step], dtype: str, tolerance: float) -> Iterator[str]:
    for measure, words in zip(MEASURES, ("losses", "gradient norms"), strict=True):
        difference = largest(steps, measure)
        outcome = "the same" if difference <= tolerance else "NOT the same"
        yield f"{dtype}: {words} {outcome}: they differ by {difference:.1e} at most, {tolerance:.0e} is allowed"
