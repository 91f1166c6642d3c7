"""What a run says after the first step that follows a checkpoint: that it goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zerotrain.data.loader import Loader
from zerotrain.engine.loop import Update
from zerotrain.engine.state import TrainState
from zerotrain.runs.files import write_json


@dataclass
class Receipt:
    """Tells of one step, once; on rank 0 also in a file."""

    tag: str
    """The checkpoint that was continued from."""
    loader: Loader
    before: Mapping[int, Mapping[str, Any]]
    """Training rows of the attempts before, by step."""
    file: Path | None
    """Where it is written; None on other ranks than 0."""
    say: Callable[[str], None]
    _is_given: bool = field(default=False, init=False)

    def after_update(self, state: TrainState, update: Update) -> None:
        """Gives the receipt after the first update."""
        if self._is_given:
            return
        self._is_given = True
        row = {
            "from": self.tag,
            "step": state.step,
            "loss": update.loss,
            "lr": update.lr,
            "samples": [state.samples - update.samples, state.samples],
            "samples_hash": self.loader.fingerprint(state.step - 1),
            "loss_before": self.before.get(state.step, {}).get("loss"),
        }
        if self.file is not None:
            write_json(self.file, row)
        self.say(_sentence(row))


def _sentence(row: Mapping[str, Any]) -> str:
    first, end = row["samples"]
    text = f"step {row['step']} after `{row['from']}`: loss {row['loss']:.6g}, learning rate {row['lr']:.3g}, "
    text += f"samples {first} to {end - 1} ({row['samples_hash']})"
    before = row["loss_before"]
    if before is None:
        return text
    if before == row["loss"]:
        return f"{text}; the same loss as before"
    return f"{text}; before it was {before:.6g}"
