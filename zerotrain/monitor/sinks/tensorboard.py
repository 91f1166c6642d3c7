"""Event files for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from zerotrain.monitor.sinks.base import Row

_NOT_CURVES = ("kind", "step", "attempt", "time", "metrics")


class TensorBoardSink:
    """Writes every number of a row as a curve over the steps, `train/loss` or `eval/loss`."""

    def __init__(self, directory: Path, first_step: int) -> None:
        # Imported here: only runs that ask for it need the package.
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory), purge_step=first_step)

    def write(self, row: Row) -> None:
        """Writes a row's numbers."""
        numbers = {name: value for name, value in row.items() if name not in _NOT_CURVES} | row.get("metrics", {})
        for name, value in numbers.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"{row['kind']}/{name}", value, row["step"], walltime=row["time"])

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()
