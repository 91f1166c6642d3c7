"""Where everything is in a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run; the door between what prepares it and what trains it."""

    root: Path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.root.name

    @property
    def spec(self) -> Path:
        """The spec as the user wrote it."""
        return self.root / "spec.yaml"

    @property
    def resolved(self) -> Path:
        """The spec with nothing left to settle."""
        return self.root / "resolved.yaml"

    @property
    def ds_config(self) -> Path:
        """What `deepspeed.initialize` is given."""
        return self.root / "ds_config.json"

    @property
    def record(self) -> Path:
        """What the run is: topology, versions, fingerprints, hashes."""
        return self.root / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per line: training steps and evaluations."""
        return self.root / "metrics.jsonl"

    @property
    def classification_report(self) -> Path:
        """Scores of each class and the confusion matrix, as the last evaluation found them."""
        return self.root / "classification_report.json"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.root / "tensorboard"

    @property
    def logs(self) -> Path:
        """One directory per attempt."""
        return self.root / "logs"

    @property
    def checkpoints(self) -> Path:
        """One directory per saved step."""
        return self.root / "checkpoints"

    @property
    def reference(self) -> Path:
        """What the untrained model says of the data, for tasks that compare with it."""
        return self.root / "reference"

    @property
    def export(self) -> Path:
        """Hugging Face weights."""
        return self.root / "export"

    @property
    def exports(self) -> Path:
        """Hugging Face weights of steps on the way, one directory per step."""
        return self.root / "exports"

    @property
    def save_order(self) -> Path:
        """A file that asks for a checkpoint by being there."""
        return self.root / "SAVE"

    @property
    def stop_order(self) -> Path:
        """A file that asks for a checkpoint and the end of the attempt."""
        return self.root / "STOP"

    def attempt(self, number: int) -> Path:
        """Logs of one attempt, counted from 1."""
        return self.logs / f"attempt-{number}"

    def rank_log(self, attempt: int, rank: int) -> Path:
        """Everything a rank wrote to its standard output and error."""
        return self.attempt(attempt) / f"rank-{rank}.log"

    def rank_failure(self, attempt: int, rank: int) -> Path:
        """Why a rank failed, if it did."""
        return self.attempt(attempt) / f"rank-{rank}.failure.json"
