"""ZT3: ZeRO, offload and activation checkpointing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

H100 = "{gpu: H100-SXM, gpus_per_node: 2}"


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_zt301_parameters_that_are_not_offloaded(one: One, findings: Findings, caret: Caret, stage: int) -> None:
    finding = one(zero=f"{{stage: {stage}, offload_param: {{device: cpu}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT301", "ignored-offload-param", Severity.WARNING)
    assert (finding.place.key, caret(finding)) == ("zero.offload_param", "{device: cpu}")
    assert finding.message == f"stage {stage} ignores `offload_param`"
    assert findings(zero="{stage: 3, offload_param: {device: cpu}}") == []


def test_zt302_offload_without_zero(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(zero="{offload_optimizer: {device: cpu}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT302", "offload-without-zero", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("zero.offload_optimizer", "{device: cpu}")
    assert findings(zero="{stage: 1, offload_optimizer: {device: cpu}}") == []


@pytest.mark.parametrize("name", ["offload_optimizer", "offload_param"])
def test_zt303_nvme_without_a_directory(findings: Findings, caret: Caret, name: str) -> None:
    stage = 3 if name == "offload_param" else 2
    finding, *_ = findings(zero=f"{{stage: {stage}, {name}: {{device: nvme}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT303", "nvme-without-path", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == (f"zero.{name}", "{device: nvme}")
    there = findings(zero=f"{{stage: {stage}, {name}: {{device: nvme, nvme_path: /x}}}}")
    assert "ZT303" not in {found.code for found in there}
    assert findings(zero=f"{{stage: 3, {name}: {{device: cpu}}}}") == []


@pytest.mark.parametrize("stage", [1, 2])
def test_zt304_nvme_that_deepspeed_does_not_use(one: One, findings: Findings, caret: Caret, stage: int) -> None:
    written = "offload_optimizer: {device: nvme, nvme_path: /x}"
    finding = one(zero=f"{{stage: {stage}, {written}}}")

    assert (finding.code, finding.name) == ("ZT304", "nvme-optimizer-below-stage-3")
    assert finding.severity is Severity.WARNING
    assert (finding.place.key, caret(finding)) == ("zero.offload_optimizer.device", "nvme")
    assert finding.message == f"stage {stage} keeps the states in host memory, not on NVMe"


def test_zt313_states_that_would_be_in_no_checkpoint(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(zero="{stage: 3, offload_optimizer: {device: nvme, nvme_path: /x}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT313", "unsaved-optimizer-states", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("zero.offload_optimizer.device", "nvme")
    assert (
        findings(zero="{stage: 3, offload_optimizer: {device: cpu}, offload_param: {device: nvme, nvme_path: /x}}")
        == []
    )


def test_zt305_a_part_that_cannot_be_offloaded(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(zero="{stage: 2, offload_optimizer: {device: cpu, ratio: 0.5}}")

    assert (finding.code, finding.name) == ("ZT305", "partial-offload-below-stage-3")
    assert finding.severity is Severity.ERROR
    assert (finding.place.key, caret(finding)) == ("zero.offload_optimizer.ratio", "0.5")
    assert finding.message == "a ratio of 0.5 needs stage 3"
    assert findings(zero="{stage: 3, offload_optimizer: {device: cpu, ratio: 0.5}}") == []
    assert findings(zero="{stage: 2, offload_optimizer: {device: cpu, ratio: 1}}") == []


def test_zt306_optimizers_that_need_a_gpu(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(optimizer="{type: lion, lr: 1e-3}")

    assert (finding.code, finding.name, finding.severity) == ("ZT306", "cuda-only-optimizer", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("optimizer.type", "lion")
    assert finding.message == "on a CPU `lion` needs `zero.offload_optimizer`"
    assert findings(optimizer="{type: lion, lr: 1e-3}", hardware=H100) == []
    assert findings(optimizer="{type: lion, lr: 1e-3}", zero="{stage: 1, offload_optimizer: {device: cpu}}") == []


def test_zt306_lamb_on_a_cpu(findings: Findings) -> None:
    found = findings(optimizer="{type: lamb, lr: 1e-3}")

    assert [(f.code, f.message) for f in found] == [
        ("ZT306", "`lamb` needs a CUDA GPU"),
    ]


def test_zt307_lamb_without_a_dynamic_loss_scale(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(optimizer="{type: lamb, lr: 1e-3}", precision="{dtype: fp16, loss_scale: 1024}", hardware=H100)

    assert (finding.code, finding.name, finding.severity) == ("ZT307", "lamb-without-loss-scale", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("precision.loss_scale", "1024")
    for fine in ("fp16", "bf16", "fp32", "{dtype: fp16, loss_scale: {window: 5}}"):
        assert findings(optimizer="{type: lamb, lr: 1e-3}", precision=fine, hardware=H100) == []


@pytest.mark.parametrize(
    ("given", "option", "caret_at", "used"),
    [
        (
            "granularity: full, partition_activations: true",
            "partition_activations",
            "true",
            "implementation: deepspeed",
        ),
        ("cpu_checkpointing: true", "cpu_checkpointing", "true", "granularity: full"),
        ("granularity: selective, cpu_checkpointing: true", "cpu_checkpointing", "true", None),
        ("every: 2", "every", "2", "granularity: selective"),
        ("granularity: full, parts: [mlp]", "parts", "[mlp]", None),
        ("parts: [mlp]", "parts", "[mlp]", "granularity: selective"),
    ],
)
def test_zt308_an_option_that_is_ignored(
    one: One, findings: Findings, caret: Caret, given: str, option: str, caret_at: str, used: str | None
) -> None:
    gpu = {"hardware": "{gpu: H100-SXM, num_nodes: 1, gpus_per_node: 2}"}

    finding = one(**gpu, activation_checkpointing=f"{{{given}}}")

    assert (finding.code, finding.name) == ("ZT308", "ignored-checkpointing-option")
    assert finding.severity is Severity.WARNING
    assert (finding.place.key, caret(finding)) == (f"activation_checkpointing.{option}", caret_at)
    if used is not None:
        assert findings(**gpu, activation_checkpointing=f"{{{given}, {used}}}") == []


@pytest.mark.parametrize("implementation", ["torch", "deepspeed"])
def test_zt308_inputs_that_are_in_host_memory_already(one: One, implementation: str) -> None:
    chosen = f"{{granularity: full, implementation: {implementation}, cpu_checkpointing: true}}"

    finding = one(activation_checkpointing=chosen)

    assert (finding.code, finding.message) == ("ZT308", "`cpu_checkpointing` does nothing on a CPU")


SLURM = "{type: slurm}"
TWO_MACHINES = "{gpu: H100-SXM, num_nodes: 2, gpus_per_node: 2}"


@pytest.mark.parametrize(
    ("zero", "hardware", "key", "message"),
    [
        (
            "{stage: 2, hpz_partition_size: 2}",
            TWO_MACHINES,
            "hpz_partition_size",
            "stage 2 ignores `hpz_partition_size`",
        ),
        (
            "{stage: 1, quantized_weights: true}",
            TWO_MACHINES,
            "quantized_weights",
            "stage 1 ignores `quantized_weights`",
        ),
        (
            "{stage: 3, hpz_partition_size: 8}",
            TWO_MACHINES,
            "hpz_partition_size",
            "a second copy divided over all 4 ranks saves nothing",
        ),
        (
            "{stage: 3, quantized_gradients: true}",
            "{gpu: H100-SXM, num_nodes: 1, gpus_per_node: 4}",
            "quantized_gradients",
            "`quantized_gradients` does nothing on one machine",
        ),
    ],
)
def test_zt314_what_has_no_effect(
    one: One, findings: Findings, zero: str, hardware: str, key: str, message: str
) -> None:
    batch = "{global_batch_size: 64, micro_batch_size: 4}"
    finding = one(batch=batch, zero=zero, hardware=hardware, launch=SLURM)

    assert (finding.code, finding.name, finding.severity) == ("ZT314", "idle-zeropp-setting", Severity.WARNING)
    assert (finding.place.key, finding.message) == (f"zero.{key}", message)
    used = "{stage: 3, hpz_partition_size: 2, quantized_weights: true, quantized_gradients: true}"
    assert findings(batch=batch, zero=used, hardware=TWO_MACHINES, launch=SLURM) == []


def test_zt315_gradients_that_cannot_be_quantized(one: One) -> None:
    machines = "{gpu: cpu, num_nodes: 2, gpus_per_node: 1}"

    finding = one(zero="{stage: 3, quantized_gradients: true}", hardware=machines, launch=SLURM)

    assert (finding.code, finding.name, finding.severity) == ("ZT315", "cuda-only-quantization", Severity.ERROR)
    assert finding.place.key == "zero.quantized_gradients"


SELECTIVE = "granularity: selective"
SMALL = "{hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4}"


@pytest.mark.parametrize(
    ("chosen", "other", "key", "message"),
    [
        (
            f"{SELECTIVE}, implementation: deepspeed",
            {},
            "implementation",
            "DeepSpeed's activation checkpointing is for whole layers",
        ),
        (
            f"{SELECTIVE}, parts: [attention, mlp]",
            {"model": f"{{architecture: bert, config: {SMALL}}}", "task": "{type: masked_lm}"},
            "parts",
            "the `mlp` of a `bert` cannot be computed again by itself",
        ),
        (
            f"{SELECTIVE}, parts: [mlp]",
            {"model": f"{{architecture: mixtral, config: {SMALL}}}", "parallel": "{ep: 2}"},
            "parts",
            "the `mlp` cannot be computed again by itself with `ep: 2`",
        ),
    ],
)
def test_zt312_parts_that_cannot_be_computed_again(
    findings: Findings, chosen: str, other: dict[str, str], key: str, message: str
) -> None:
    found = [f for f in findings(**other, activation_checkpointing=f"{{{chosen}}}") if f.code == "ZT312"]

    assert [(f.place.key, f.message) for f in found] == [(f"activation_checkpointing.{key}", message)]
    assert [f for f in findings(**other, activation_checkpointing=f"{{{SELECTIVE}}}") if f.code == "ZT312"] == []


def test_zt310_a_key_that_is_compiled_already(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(deepspeed="{gradient_clipping: 0.5}")

    assert (finding.code, finding.name, finding.severity) == ("ZT310", "overwritten-key", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("deepspeed.gradient_clipping", "gradient_clipping")
    assert finding.help == "set `optimizer.clip_norm` instead"
    assert findings(deepspeed="{memory_breakdown: true}") == []


@pytest.mark.parametrize(
    ("raw", "stage", "name"),
    [
        ("{zero_optimization: {zenflow: {topk_ratio: 0.1, update_interval: 1}}}", 2, "ZenFlow"),
        ("{zero_optimization: {offload_optimizer: {super_offload: true}}}", 3, "SuperOffload"),
    ],
)
def test_zt316_moments_that_would_be_in_no_checkpoint(findings: Findings, raw: str, stage: int, name: str) -> None:
    zero = f"{{stage: {stage}, offload_optimizer: {{device: cpu}}}}"
    (finding,) = [each for each in findings(zero=zero, deepspeed=raw, hardware=H100) if each.code == "ZT316"]

    assert (finding.name, finding.severity) == ("updates-outside-checkpoints", Severity.ERROR)
    assert finding.message.startswith(f"moments of {name} are in no checkpoint")
    off = raw.replace("super_offload: true", "super_offload: false").replace("zenflow: {topk_ratio: 0.1, ", "aio: {")
    assert "ZT316" not in {each.code for each in findings(zero=zero, deepspeed=off, hardware=H100)}
