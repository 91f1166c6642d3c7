"""Follows the evaluations of a run: which step was the best, and when training no longer makes it better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch.distributed as dist

from zerotrain.engine.state import TrainState
from zerotrain.runs.catalogue import Checkpoint
from zerotrain.runs.improvement import best_checkpoint, best_step, reason_to_stop, refuse_unknown_metric
from zerotrain.spec.run import RunSpec


@dataclass
class Watch:
    """What the evaluations say of a run. Its state is what `metrics.jsonl` says up to the step a run continues from."""

    spec: RunSpec
    last_step: int
    evaluated: dict[int, Mapping[str, float | None]]
    """Metrics by step."""
    complete: Callable[[], Sequence[Checkpoint]]
    """Returns the checkpoints there are."""
    _new_best: int | None = field(default=None, init=False)

    def note(self, state: TrainState, metrics: Mapping[str, float]) -> None:
        """Takes an evaluation and decides, on rank 0 for all, whether it is the best and whether training ends.

        Raises SpecError when the spec names a metric that is not reported. All ranks must call this.
        """
        stopping, keep = self.spec.evaluation.early_stopping, self.spec.checkpoint.keep_best
        for key, aim in (("evaluation.early_stopping", stopping), ("checkpoint.keep_best", keep)):
            if aim is not None:
                refuse_unknown_metric(key, aim.metric, metrics)
        if state.step == 0 or (stopping is None and keep is None):
            return
        self.evaluated[state.step] = metrics
        verdict = [(self._is_best(state.step), self._reason_to_stop(state.step)) if dist.get_rank() == 0 else None]
        dist.broadcast_object_list(verdict, src=0)
        assert verdict[0] is not None, "rank 0 has decided"
        is_best, state.ending = verdict[0]
        self._new_best = state.step if is_best else self._new_best

    def wants_saved(self, step: int) -> bool:
        """Tells whether a step is better than every checkpoint there is."""
        return step == self._new_best

    def best(self, complete: Sequence[Checkpoint]) -> Checkpoint | None:
        """Returns the checkpoint that is never removed, if there is one."""
        keep = self.spec.checkpoint.keep_best
        return best_checkpoint(keep, self.evaluated, complete) if keep else None

    def _is_best(self, step: int) -> bool:
        """Compares with the checkpoints there are: one that could not be written has set no mark."""
        keep = self.spec.checkpoint.keep_best
        if keep is None:
            return False
        rivals = {step, *(checkpoint.manifest.step for checkpoint in self.complete())}
        return best_step(keep, {at: metrics for at, metrics in self.evaluated.items() if at in rivals}) == step

    def _reason_to_stop(self, step: int) -> str | None:
        stopping = self.spec.evaluation.early_stopping
        return reason_to_stop(stopping, self.evaluated) if stopping and step < self.last_step else None
