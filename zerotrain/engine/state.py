"""How far a run is."""

from __future__ import annotations

from dataclasses import dataclass

from zerotrain.data.loader import GlobalBatch


@dataclass
class TrainState:
    """The only thing that changes while training, besides the engine. The position in the data is one integer."""

    step: int = 0
    """Optimizer updates made."""
    samples: int = 0
    """Samples consumed."""
    tokens: int = 0
    """Tokens trained on."""
    loss: float | None = None
    """Of the last update."""
    lr: float | None = None
    """Learning rate of the last update."""
    ending: str | None = None
    """Why the run ends with this step, though it has more."""
    interruption: str | None = None
    """Why this attempt ends with this step; another one goes on."""

    is_at_limit: bool = False
    """True when the ending is that of a limit of time."""
    save_is_asked: bool = False
    """True when someone asks for a checkpoint of this step."""

    def is_over(self, last_step: int) -> bool:
        """Tells whether no update follows in this attempt at a run that ends with `last_step`, or before it."""
        return self.step >= last_step or self.ending is not None or self.interruption is not None

    def advance(self, batch: GlobalBatch) -> None:
        """Notes that the batch has been trained on."""
        self.step += 1
        self.samples = batch.first_sample + batch.size
        self.tokens += batch.counts.tokens
