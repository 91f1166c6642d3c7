"""What DeepSpeed is told of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zerotrain.compile.resolve import Resolved
from zerotrain.compile.sections.pipeline import emit_pipeline

Settled = Callable[..., Resolved]


def values(section: Any) -> Any:
    return {key: values(entry) for key, entry in section.items()} if isinstance(section, dict) else section.value


def test_a_model_that_is_not_divided_has_no_pipeline(settled: Settled) -> None:
    assert emit_pipeline(settled()) == {}


def test_a_pipeline_has_every_key_that_its_engine_looks_at(settled: Settled) -> None:
    assert values(emit_pipeline(settled(parallel="{pp: 2}"))) == {
        "pipeline": {
            "activation_checkpoint_interval": 0,
            "pipe_partitioned": False,
            "grad_partitioned": False,
            "use_reentrant": False,
        }
    }


def test_gradients_of_a_pipeline_are_not_reduced_while_it_runs(settled: Settled) -> None:
    resolved = settled(parallel="{pp: 2}", zero="{stage: 1}", hardware="{gpu: H100-SXM, gpus_per_node: 2}")

    assert resolved.spec.zero.overlap_comm is False
    assert resolved.derivations["zero.overlap_comm"] == "a pipeline reduces gradients once, after its last micro-batch"
