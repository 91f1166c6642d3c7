"""What is done when training goes wrong."""

from __future__ import annotations

from typing import Literal

from zerotrain.spec.base import Auto, PositiveFloat, PositiveInt, Spec, Time


class NonFiniteSpec(Spec):
    """A loss or a gradient that is no finite number: such an update is never applied.

    Gradients that fp16's loss scale makes overflow do not count until the scale is at its smallest.
    """

    action: Literal["stop", "skip"] = "stop"
    """`stop`: the run fails and names the batch; `skip`: it goes on without the update."""
    budget: PositiveInt = 10
    """Updates of the whole run that may be skipped; the next one stops it."""


class LossSpikeSpec(Spec):
    """A loss far above those of the updates before."""

    action: Literal["warn", "stop", "rollback"] = "warn"
    """`warn`: say so and go on; `stop`: the run fails and names the batch; `rollback`: go on from the last checkpoint,
    and leave the batch out."""
    window: PositiveInt = 100
    """Updates before that a loss is compared with; a spike is looked for once half of them are there."""
    deviations: PositiveFloat = 6.0
    """A spike is so many standard deviations above the median of the window, as its median deviation estimates them."""
    budget: PositiveInt = 3
    """Rollbacks of the whole run; the next spike stops it."""


class StragglerSpec(Spec):
    """A rank that is slower than the others, for which all wait in every step."""

    every: PositiveInt = 100
    """Steps from one comparison of the ranks to the next."""
    factor: PositiveFloat = 2.0
    """A rank is slow when it takes so many times as long as most, to read its data or for a computation of its own."""
    patience: PositiveInt = 3
    """Comparisons in a row in which a rank is slow before it is named."""


class HealthSpec(Spec):
    """What is done when training goes wrong."""

    nonfinite: NonFiniteSpec = NonFiniteSpec()
    loss_spike: LossSpikeSpec | None = None
    """Look for leaps of the loss; `null`: do not."""
    straggler: StragglerSpec | None = StragglerSpec()
    """Look for slow ranks; `null`: do not."""
    hang: Time | Auto | None = "auto"
    """How long a rank may read no batch and begin no step before it counts as hung; the run then fails and names it.
    `auto`: two thirds of `launch.timeout`, so that this comes first; `null`: ranks are not watched."""
