"""How the ranks meet: data and ops are ready before, the run directory is agreed on after."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch.distributed as dist

from zerotrain.engine.open import find_data, prepare_run
from zerotrain.engine.ops import build_ops
from zerotrain.engine.ranks import Ranks
from zerotrain.engine.setup import start_process_group
from zerotrain.errors import ZerotrainError
from zerotrain.monitor.console import Console, redirect_output
from zerotrain.runs.attempts import next_attempt
from zerotrain.runs.create import RUNS, create_run, refuse_another, refuse_existing
from zerotrain.runs.layout import RunDirectory
from zerotrain.runs.record import read_record
from zerotrain.spec.run import RunSpec

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class OpenedRun:
    """A run that all ranks have opened."""

    directory: RunDirectory
    attempt: int
    stores: Mapping[str, str | None]
    """Directories of the prepared data."""


@dataclass(frozen=True)
class Meeting:
    """The ranks on their way to a run."""

    ranks: Ranks
    console: Console

    def open_run(self, run: RunDirectory, attempt: int | None) -> OpenedRun:
        """Lets the ranks meet over a run directory.

        An attempt that is not numbered yet gets the next number from rank 0.
        """
        record = read_record(run)
        if attempt is not None:
            redirect_output(run.rank_log(attempt, self.ranks.rank))
        spec = RunSpec.model_validate(record.resolved)
        stores = find_data(record, spec, self.console.say)
        build_ops(json.loads(run.ds_config.read_text(encoding="utf-8")), self.console.say)
        start_process_group(self.ranks, spec.launch)
        if attempt is None:
            attempt = self._ask_first(lambda: next_attempt(run))
            redirect_output(run.rank_log(attempt, self.ranks.rank))
        return OpenedRun(run, attempt, stores)

    def make_run(self, spec: Path, overrides: Sequence[str], *, continues: bool = False) -> OpenedRun:
        """Prepares the data of a spec, makes its run directory and lets the ranks meet over it.

        One that is there already is refused, or opened if the run `continues`.
        """
        new = prepare_run(spec, overrides, self.ranks.world_size, self.console.say)
        there = RunDirectory(RUNS / new.resolved.spec.name)
        if continues and there.record.exists():
            refuse_another(there, new)
            return self.open_run(there, None)
        refuse_existing(there)
        build_ops(new.config.as_dict(), self.console.say)
        start_process_group(self.ranks, new.resolved.spec.launch)

        def create() -> tuple[RunDirectory, int]:
            run = create_run(new)
            return run, next_attempt(run)

        run, attempt = self._ask_first(create)
        redirect_output(run.rank_log(attempt, self.ranks.rank))
        return OpenedRun(run, attempt, new.stores)

    def _ask_first(self, work: Callable[[], Answer]) -> Answer:
        """Lets rank 0 do something and tells all ranks the outcome, its error too."""
        outcome: list[Answer | ZerotrainError | None] = [None]
        if self.ranks.is_first:
            try:
                outcome[0] = work()
            except ZerotrainError as refused:
                outcome[0] = refused
        dist.broadcast_object_list(outcome, src=0)
        if isinstance(outcome[0], ZerotrainError):
            raise outcome[0]
        return outcome[0]  # type: ignore[return-value]
