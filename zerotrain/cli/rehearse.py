"""`zerotrain rehearse`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from zerotrain.arch.describe import architectures
from zerotrain.check.case import Case
from zerotrain.check.render import render_full
from zerotrain.check.runner import check_reading
from zerotrain.cli import export
from zerotrain.cli.arguments import add_spec
from zerotrain.cli.check import exit_code
from zerotrain.cli.follow import follow
from zerotrain.cli.train import train
from zerotrain.compile.rehearsal import STEPS, Change, not_rehearsed, rehearsal_of
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import RunError
from zerotrain.hardware.probe import surroundings
from zerotrain.runs.create import RUNS
from zerotrain.runs.history import rows
from zerotrain.runs.layout import RunDirectory
from zerotrain.spec.load import read_spec
from zerotrain.spec.model import ModelSpec
from zerotrain.spec.suggest import listed

_RANKS = 4
_COLUMN = 36


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the verb's arguments."""
    add_spec(parser)
    parser.add_argument(
        "--ranks", type=int, metavar="N", default=_RANKS, help=f"use at most so many; {_RANKS} if not given"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be smaller, and the command; start nothing"
    )


def run(given: argparse.Namespace) -> int:
    """Makes the spec small, then trains, resumes and exports it here; says what it shrank and could not rehearse."""
    reading = read_spec(given.spec, given.overrides)
    found = check_reading(reading, surroundings(), given.world_size)
    sys.stderr.write(render_full(found, color=sys.stderr.isatty()))
    if code := exit_code(found):
        return code
    assert reading.spec is not None, "a spec without errors was read"
    case = Case(reading.spec, surroundings(), given.world_size)
    spec, (architecture, config) = case.resolved.spec, case.model
    if architecture not in architectures():
        raise RunError(_unknown_size(spec.model))
    changes = rehearsal_of(spec, case.topology, architecture, config, given.ranks)
    overrides = [*given.overrides, *(change.override for change in changes)]
    print("\n".join(_table(changes)), flush=True)
    if spec.task.type == "distill":
        print(f"\nnot smaller: the teacher, `{spec.task.teacher.pretrained}`", flush=True)
    if given.dry_run:
        print(f"\nzerotrain train {shlex.join([str(given.spec), *overrides])}")
        return 0
    try:
        return _rehearse(given.spec, overrides, RunDirectory(RUNS / f"{spec.name}.rehearsal"))
    finally:
        print("\n".join(["", "not rehearsed:", *(f"  - {text}" for text in not_rehearsed(changes))]))


def _unknown_size(model: ModelSpec) -> Diagnostic:
    key = "model.architecture" if model.pretrained is None else "model.pretrained"
    message = f"the sizes of `{model.architecture or model.pretrained}` are not known, so they cannot be made small"
    help = "use a folder with its `config.json`; known architectures: " + listed(architectures(), "and")
    return error("ZT878", "unshrinkable-model", message, help=help, key=key)


def _table(changes: Sequence[Change]) -> Iterator[str]:
    yield f"{'rehearsed with':<{_COLUMN}} {'in the spec':<{_COLUMN}}"
    for change in changes:
        for key, before, after in _leaves(change.key, change.before, change.after):
            yield f"  {f'{key}: {_short(after)}':<{_COLUMN}} {_short(before)}"


def _leaves(key: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    """Yields what differs in a section, key by key."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        yield key, before, after
        return
    names: dict[str, None] = dict.fromkeys([*before, *after])  # type: ignore[reportUnknownArgumentType]
    for name in names:
        one, other = before.get(name), after.get(name)  # type: ignore[reportUnknownMemberType]
        if one != other:
            yield f"{key}.{name}", one, other  # type: ignore[reportUnknownArgumentType]


def _short(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _COLUMN else f"{text[: _COLUMN - 1]}…"


def _rehearse(spec: str, overrides: Sequence[str], run: RunDirectory) -> int:
    shutil.rmtree(run.root, ignore_errors=True)
    stages: dict[str, Callable[[], int]] = {
        f"training {STEPS} steps, saving after each": lambda: train(spec, overrides),
        f"resuming before step {STEPS}": lambda: _resume(run),
        "exporting, and reading back": lambda: _export(run),
    }
    print(flush=True)
    for what, stage in stages.items():
        code = 1
        try:
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                code = stage()
        finally:
            print(f"{what}: {'FAILED' if code else 'ok'}", flush=True)
        if code:
            return code
    return 0


def _resume(run: RunDirectory) -> int:
    shutil.rmtree(run.checkpoints / f"step-{STEPS}")
    code = follow(run)
    first, again = (_last_step(run, attempt) for attempt in (1, 2))
    if code == 0 and first != again:
        names = ("loss and gradient norm", f"of step {STEPS}:")
        print(*names, *first, "without a break,", *again, "after the resume", file=sys.stderr)
        return 1
    return code


def _last_step(run: RunDirectory, attempt: int) -> tuple[float, float | None]:
    found = [row for row in rows(run, "train") if row["step"] == STEPS and row["attempt"] == attempt]
    return (found[-1]["loss"], found[-1]["grad_norm"]) if found else (float("nan"), None)


def _export(run: RunDirectory) -> int:
    usual = {"dtype": None, "checkpoint": None, "weights": None, "adapter": None}
    return export.run(argparse.Namespace(directory=run.root, output=str(run.root / "exported"), **usual))
