"""ZT4: dense decoders that get experts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

SIZES = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4"
QWEN = f"{{architecture: qwen3, config: {{{SIZES}, num_key_value_heads: 2}}}}"


def freezing(pattern: str) -> str:
    return f"{{architecture: llama, config: {{{SIZES}}}, freeze: ['{pattern}']}}"


@pytest.mark.parametrize("moe", ["{experts: 4}", "{experts: 2, top_k: 2, drop_tokens: true, capacity_factor: 0.5}"])
@pytest.mark.parametrize("ep", ["1", "2"])
def test_experts_for_a_dense_model_are_in_order(findings: Findings, moe: str, ep: str) -> None:
    assert findings(moe=moe, parallel=f"{{ep: {ep}}}", export="{}") == []


def test_zt470_experts_that_do_not_divide(one: One) -> None:
    finding = one(moe="{experts: 5}", parallel="{ep: 2}")

    assert (finding.code, finding.message) == ("ZT470", "the 5 experts of a layer cannot be spread over 2 ranks")


def test_zt474_an_average_of_weights_that_differ(one: One, findings: Findings) -> None:
    finding = one(moe="{experts: 4}", parallel="{ep: 2}", ema="{decay: 0.9}")

    assert (finding.code, finding.place.key) == ("ZT474", "ema")
    assert findings(moe="{experts: 4}", ema="{decay: 0.9}") == []


def test_zt477_stage_3(one: One, caret: Caret) -> None:
    finding = one(moe="{experts: 4}", zero="{stage: 3}")

    assert (finding.code, finding.name, finding.severity) == ("ZT477", "moe-at-stage-3", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("zero.stage", "3")
    assert finding.message == "`moe` does not go with stage 3"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{architecture: gpt2, config: {n_embd: 64, n_layer: 2, n_head: 4}}", "a `gpt2` cannot get experts"),
        (
            f"{{architecture: mixtral, config: {{{SIZES}, num_key_value_heads: 2}}}}",
            "a `mixtral` has experts already",
        ),
    ],
)
def test_zt478_another_model(one: One, findings: Findings, caret: Caret, model: str, message: str) -> None:
    finding = one(moe="{experts: 4}", model=model)

    assert (finding.code, finding.name, finding.severity) == ("ZT478", "inexpert-model", Severity.ERROR)
    assert (finding.place.key, caret(finding), finding.message) == ("moe", "moe", message)
    assert findings(moe="{experts: 4}", model=QWEN) == []


@pytest.mark.parametrize("axis", ["tp", "pp", "sp"])
def test_zt479_another_axis(findings: Findings, axis: str) -> None:
    found = [f for f in findings(moe="{experts: 4}", parallel=f"{{{axis}: 2}}") if f.code == "ZT479"]

    assert [(f.name, f.severity, f.place.key) for f in found] == [
        ("moe-with-another-axis", Severity.ERROR, f"parallel.{axis}")
    ]
    assert found[0].message == f"`{axis}: 2` does not go with `moe`"
    assert "ZT479" not in [f.code for f in findings(parallel=f"{{{axis}: 2}}")]


def test_zt481_more_than_there_are(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(moe="{experts: 4, top_k: 5}")

    assert (finding.code, finding.name, finding.severity) == ("ZT481", "too-many-choices", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("moe.top_k", "5")
    assert finding.message == "`top_k` 5 is more than the 4 experts of a layer"
    assert findings(moe="{experts: 4, top_k: 4}") == []


def test_zt482_no_layer(one: One, caret: Caret) -> None:
    finding = one(moe="{experts: 4, every: 3}")

    assert (finding.code, finding.name, finding.severity) == ("ZT482", "no-layer-with-experts", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("moe.every", "3")
    assert finding.message == "`every: 3` gives none of the 2 layers experts"


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"optimizer": "{type: muon, lr: 1.0e-3, clip_norm: null}"}, "optimizer.type"),
        (
            {"activation_checkpointing": "{granularity: full, implementation: deepspeed}"},
            "activation_checkpointing.implementation",
        ),
        ({"task": "{type: distill, teacher: {pretrained: ./teacher}}"}, "task.type"),
        ({"model": f"{{architecture: llama, config: {{{SIZES}}}, adapter: {{type: lora}}}}"}, "model.adapter"),
    ],
)
def test_zt483_what_does_not_know_experts(findings: Findings, sections: dict[str, str], key: str) -> None:
    found = [f for f in findings(**{"moe": "{experts: 4}"} | sections) if f.code == "ZT483"]

    assert [(f.name, f.severity, f.place.key) for f in found] == [("excluded-by-moe", Severity.ERROR, key)]
    assert found[0].message.startswith("`moe` does not go with ")
    assert "ZT483" not in [f.code for f in findings(**sections)]


def test_what_goes_with_experts(findings: Findings) -> None:
    full = {"activation_checkpointing": "{granularity: selective, parts: [mlp]}", "model": freezing("self_attn")}
    parallel = {"parallel": "{ep: 2}", "zero": "{stage: 2, offload_optimizer: {device: cpu}}"}

    assert findings(moe="{experts: 4}", **full, **parallel) == []


@pytest.mark.parametrize(
    ("moe", "key", "message"),
    [
        ("{experts: 4, noisy_gate: rsample}", "noisy_gate", "`noisy_gate: rsample` does nothing with `top_k: 2`"),
        ("{experts: 4, capacity_factor: 1.0}", "capacity_factor", "`capacity_factor` does nothing while no token is "),
        ("{experts: 4, min_capacity: 8}", "min_capacity", "`min_capacity` does nothing while no token is dropped"),
    ],
)
def test_zt484_without_effect(one: One, findings: Findings, moe: str, key: str, message: str) -> None:
    finding = one(moe=moe)

    assert (finding.code, finding.name, finding.severity) == ("ZT484", "idle-moe-setting", Severity.WARNING)
    assert finding.place.key == f"moe.{key}"
    assert finding.message.startswith(message)
    assert findings(moe="{experts: 4, noisy_gate: jitter, drop_tokens: true, capacity_factor: 1.0}") == []


def test_zt485_another_start(findings: Findings, caret: Caret) -> None:
    found = [f for f in findings(moe="{experts: 4, top_k: 1, init: upcycled}") if f.code == "ZT485"]

    assert [(f.name, f.severity, caret(f)) for f in found] == [("upcycled-otherwise", Severity.WARNING, "1")]
    assert found[0].message == "with `top_k: 1` a layer begins as about 1/4 of the dense one"
    assert findings(moe="{experts: 4, init: upcycled}") == []


def test_zt486_fewer_tokens_than_the_least_capacity(findings: Findings, caret: Caret) -> None:
    found = [f for f in findings(moe="{experts: 4, top_k: 1, min_capacity: 129}") if f.code == "ZT486"]

    assert [(f.name, f.severity, caret(f)) for f in found] == [("unfillable-capacity", Severity.ERROR, "129")]
    assert found[0].message == "`min_capacity` 129 is more than the 128 tokens of a micro-batch"
    assert "ZT486" not in [f.code for f in findings(moe="{experts: 4, top_k: 1, min_capacity: 128}")]


@pytest.mark.parametrize(
    ("setting", "key", "help"),
    [
        ("capacity_factor: 2.0", "capacity_factor", "use a `capacity_factor` below 2, or drop none"),
        ("min_capacity: 128", "min_capacity", "use a `min_capacity` below 128, or drop none"),
    ],
)
def test_zt484_room_for_all(one: One, findings: Findings, setting: str, key: str, help: str) -> None:
    finding = one(moe=f"{{experts: 4, drop_tokens: true, {setting}}}")

    assert (finding.code, finding.place.key, finding.help) == ("ZT484", f"moe.{key}", help)
    assert finding.message == "`drop_tokens` does nothing: each expert has room for all 128 tokens of a micro-batch"
    assert findings(moe="{experts: 4, drop_tokens: true, capacity_factor: 1.9, min_capacity: 127}") == []


UNPUBLISHED = pytest.mark.parametrize(
    ("architecture", "moe", "why"),
    [
        ("llama", "{experts: 4, every: 2}", "a `mixtral` has not: experts in some layers alone (`every: 2`)"),
        ("llama", "{experts: 4, top_k: 1}", "a `mixtral` has not: a single expert for each token (`top_k: 1`), "),
        ("qwen3", "{experts: 4, residual: true}", "a `qwen3_moe` has not: a dense layer beside the experts "),
        ("qwen2", "{experts: 4}", "no architecture of transformers is a `qwen2` with experts"),
    ],
)


def unpublished(architecture: str) -> str:
    return f"{{architecture: {architecture}, config: {{{SIZES}, num_key_value_heads: 2}}}}"


@UNPUBLISHED
def test_zt487_without_a_counterpart(one: One, caret: Caret, architecture: str, moe: str, why: str) -> None:
    finding = one(model=unpublished(architecture), moe=moe, export="{}")

    assert (finding.code, finding.name, finding.severity) == ("ZT487", "unexportable-experts", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("export", "{}")
    assert finding.message.startswith(f"the model cannot be exported: {why}")


@UNPUBLISHED
def test_zt480_nothing_but_checkpoints(one: One, architecture: str, moe: str, why: str) -> None:
    finding = one(model=unpublished(architecture), moe=moe)

    assert (finding.code, finding.name, finding.severity) == ("ZT480", "unpublished-experts", Severity.INFO)
    assert finding.place.key == "moe"
    assert finding.message.startswith(f"the model can be trained, but not exported: {why}")


def test_a_qwen3_can_be_exported_whatever_its_experts_are(findings: Findings) -> None:
    assert findings(model=QWEN, moe="{experts: 4, every: 2, top_k: 1}", export="{}") == []


def test_zt488_experts_by_their_number(findings: Findings, caret: Caret) -> None:
    sections = {"moe": "{experts: 4}", "model": freezing("experts[.][01][.]")}

    found = [f for f in findings(**sections, parallel="{ep: 2}") if f.code == "ZT488"]

    assert [(f.name, f.severity, f.place.key) for f in found] == [
        ("some-of-the-experts", Severity.ERROR, "model.freeze[0]")
    ]
    assert findings(**sections) == findings(**sections | {"model": freezing("experts.*gate_proj")}) == []


def test_zt488_no_expert_to_train(findings: Findings) -> None:
    sections = {"moe": "{experts: 4}", "model": freezing("deepspeed_experts")}

    found = findings(**sections, zero="{stage: 1}")

    assert [(f.code, f.place.key) for f in found] == [("ZT488", "model.freeze")]
    assert found[0].message == "all experts are frozen, which stage 1 refuses"
    assert findings(**sections) == []
