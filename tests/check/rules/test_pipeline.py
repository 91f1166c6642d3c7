"""ZT4: models divided into stages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

TWO = {"parallel": "{pp: 2}", "batch": "{global_batch_size: 8, micro_batch_size: 4}"}


def model(architecture: str = "llama", layers: int = 2) -> str:
    sizes = "hidden_size: 64, intermediate_size: 128, num_attention_heads: 4, num_key_value_heads: 2"
    return f"{{architecture: {architecture}, config: {{{sizes}, num_hidden_layers: {layers}}}}}"


@pytest.mark.parametrize("stage", [2, 3])
def test_zt410_a_pipeline_with_partitioned_gradients(one: One, findings: Findings, stage: int) -> None:
    finding = one(**TWO, zero=f"{{stage: {stage}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT410", "pipeline-at-a-late-stage", Severity.ERROR)
    assert finding.message == f"`pp: 2` works with ZeRO stages 0 and 1, not with {stage}"
    assert finding.place.key == "zero.stage"
    assert findings(**TWO, zero="{stage: 1}") == []


def test_zt411_a_model_whose_parts_are_not_known(one: One, findings: Findings) -> None:
    finding = one(**TWO, model=model("mixtral"))

    assert (finding.code, finding.name, finding.severity) == ("ZT411", "undividable-model", Severity.ERROR)
    assert finding.message == (
        "`pp: 2` cannot divide a `mixtral`: only `llama`, `mistral`, `qwen2`, `qwen3` and `gpt2`"
    )
    assert findings(**TWO, model=model("qwen3")) == []


def test_zt412_more_stages_than_layers(one: One, findings: Findings) -> None:
    finding = one(**TWO, model=model(layers=1))

    assert (finding.code, finding.name, finding.severity) == ("ZT412", "too-many-stages", Severity.ERROR)
    assert finding.message == "`pp: 2` is more than the number of layers, 1"
    assert findings(**TWO, model=model(layers=2)) == []


@pytest.mark.parametrize(
    ("section", "text", "key", "fact"),
    [
        ("ema", "{decay: 0.9}", "ema", "`ema` is not available with `pp: 2`"),
        ("optimizer", "{type: muon, lr: 1.0e-3}", "optimizer.type", "`muon` is not available with `pp: 2`"),
        ("precision", "bf16", "precision.dtype", "`bf16` at ZeRO stage 0 is not available with `pp: 2`"),
        ("precision", "fp16", "precision.dtype", "`fp16` is not available with `pp: 2`"),
        ("task", "{type: reward}", "task.type", "`reward` is not available with `pp: 2`"),
        (
            "activation_checkpointing",
            "{granularity: full, implementation: deepspeed}",
            "activation_checkpointing.implementation",
            "DeepSpeed's activation checkpointing is not available with `pp: 2`",
        ),
    ],
)
def test_zt413_what_needs_a_whole_model(findings: Findings, section: str, text: str, key: str, fact: str) -> None:
    found = [f for f in findings(**{**TWO, "model": model(), section: text}) if f.code == "ZT413"]

    assert [(f.place.key, f.message, f.severity) for f in found] == [(key, fact, Severity.ERROR)]


@pytest.mark.parametrize("precision", ["bf16", "fp32", "autocast-bf16"])
def test_zt413_is_silent_about_what_is_available(findings: Findings, precision: str) -> None:
    assert findings(**TWO, precision=precision, zero="{stage: 1}", activation_checkpointing="full") == []


def test_stages_whose_layers_are_divided_too(findings: Findings) -> None:
    hardware = "{gpu: cpu, num_nodes: 1, gpus_per_node: 4}"

    assert findings(**{**TWO, "parallel": "{tp: 2, pp: 2}"}, hardware=hardware) == []


def test_zt414_stages_that_wait(one: One, findings: Findings) -> None:
    finding = one(parallel="{pp: 2}", batch="{global_batch_size: 8, micro_batch_size: 8}")

    assert (finding.code, finding.name, finding.severity) == ("ZT414", "idle-stages", Severity.INFO)
    assert finding.message == "gradient accumulation of 1 leaves 2 stages waiting for 50% of a step"
    assert findings(**TWO) == []


def test_zt415_a_reduction_that_cannot_overlap(one: One, findings: Findings) -> None:
    finding = one(**TWO, zero="{stage: 1, overlap_comm: true}")

    assert (finding.code, finding.name, finding.severity) == ("ZT415", "late-reduction", Severity.WARNING)
    assert findings(**TWO, zero="{stage: 1, overlap_comm: false}") == []
