"""The batch triple, whole, and how gradients are averaged."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.batch import emit_batch


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 12), (2, 6), (3, 4), (12, 1)])
def test_the_triple_multiplies_to_the_global_batch(
    settled: Callable[..., Resolved], ranks: int, accumulation: int
) -> None:
    emitted = emit_batch(settled(batch="{global_batch_size: 24, micro_batch_size: 2}", world_size=ranks))

    assert {key: entry.value for key, entry in emitted.items()} == {  # type: ignore[union-attr]
        "train_batch_size": 24,
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": accumulation,
        "managed_gradient_accumulation": True,
        "gradient_allreduce_op": "mean",
        "prescale_gradients": False,
        "gradient_predivide_factor": 1.0,
    }
