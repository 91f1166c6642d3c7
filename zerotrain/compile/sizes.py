"""How large the states of a run are."""

from __future__ import annotations

from collections.abc import Mapping

from zerotrain.compile.resolve import Resolved
from zerotrain.spec.run import RunSpec

MOMENTS: Mapping[str, int] = {
    "adam": 2,
    "adamw": 2,
    "nadam": 2,
    "radam": 2,
    "adamax": 2,
    "lamb": 2,
    "lion": 1,
    "muon": 1,
    "adagrad": 1,
    "rmsprop": 1,
}
"""Numbers an optimizer keeps per parameter at least, in fp32; none where it is not named."""


def checkpoint_bytes(resolved: Resolved) -> int:
    """Returns the bytes of one checkpoint: weights, except at stage 3, their fp32 copy, moments and their average."""
    spec, trained, shape = resolved.spec, resolved.trainable_parameters, resolved.shape
    parameters = trained if trained is not None else shape.parameters if shape else 0
    weights = 0 if spec.zero.stage == 3 else weight_bytes(spec)
    return parameters * (weights + state_bytes(spec) + (4 if spec.ema else 0))


def weight_bytes(spec: RunSpec) -> int:
    """Returns the bytes of a weight as the model computes with it."""
    return 2 if spec.precision.dtype in ("bf16", "fp16") else 4


def state_bytes(spec: RunSpec) -> int:
    """Returns the bytes per trained parameter of the fp32 copy and the moments."""
    moments = 1 if spec.optimizer.type == "sgd" and spec.optimizer.momentum else MOMENTS.get(spec.optimizer.type, 0)
    has_copy = spec.zero.stage > 0 or weight_bytes(spec) == 2
    return 4 * (moments + has_copy)
