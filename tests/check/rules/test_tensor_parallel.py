"""ZT4: layers divided over ranks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

TWO = {"parallel": "{tp: 2}", "batch": "{global_batch_size: 8, micro_batch_size: 4}"}


def model(architecture: str = "llama", **config: int) -> str:
    given = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4} | config
    inner = {} if architecture == "gpt2" else {"intermediate_size": 128}
    text = ", ".join(f"{key}: {value}" for key, value in {**inner, **given}.items())
    return f"{{architecture: {architecture}, config: {{{text}}}}}"


def test_zt404_heads_that_cannot_be_divided(one: One, findings: Findings) -> None:
    finding = one(**TWO, model=model(num_key_value_heads=1))

    assert (finding.code, finding.name, finding.severity) == ("ZT404", "undivided-heads", Severity.ERROR)
    assert (finding.place.key, finding.message) == ("parallel.tp", "1 key-value heads cannot be divided by 2")
    assert findings(**TWO, model=model(num_key_value_heads=2)) == []


def test_zt404_an_mlp_that_cannot_be_divided(one: One) -> None:
    assert "129 inner columns" in one(**TWO, model=model(intermediate_size=129)).message


def test_zt405_a_model_whose_layers_are_not_known(one: One, findings: Findings) -> None:
    finding = one(**TWO, model=model("gpt2"))

    assert (finding.code, finding.name, finding.severity) == ("ZT405", "indivisible-model", Severity.ERROR)
    assert (finding.place.key, "only `llama`" in finding.message) == ("parallel.tp", True)
    assert findings(**TWO, model=model("qwen3", num_key_value_heads=2)) == []


@pytest.mark.parametrize(
    ("section", "text", "key"),
    [
        ("optimizer", "{type: adafactor, lr: 1.0e-3}", "optimizer.type"),
        ("ema", "{decay: 0.9}", "ema"),
        ("task", "{type: sequence_classification}", "task.type"),
    ],
)
def test_zt406_what_needs_whole_layers(findings: Findings, section: str, text: str, key: str) -> None:
    found = [finding for finding in findings(**TWO, **{section: text}) if finding.code == "ZT406"]

    assert [(finding.name, finding.severity, finding.place.key) for finding in found] == [
        ("whole-layers-needed", Severity.ERROR, key)
    ]
    assert "`tp: 2` divides them" in found[0].message


def test_zt406_an_adapter(findings: Findings) -> None:
    adapted = model()[:-1] + ", adapter: {type: lora, rank: 4}}"

    assert "model.adapter" in [f.place.key for f in findings(**TWO, model=adapted) if f.code == "ZT406"]


def test_zt407_groups_that_do_not_fit_into_a_machine(one: One, findings: Findings) -> None:
    wide = {"parallel": "{tp: 4}", "batch": "{global_batch_size: 8, micro_batch_size: 1}"}
    launch = "{type: deepspeed, hostfile: hosts}"
    finding = one(**wide, hardware="{gpu: H100-SXM, num_nodes: 4, gpus_per_node: 2}", launch=launch)

    assert (finding.code, finding.name, finding.severity) == (
        "ZT407",
        "tensor-parallel-over-machines",
        Severity.WARNING,
    )
    assert finding.message == "groups of 4 ranks do not fit into machines of 2"
    assert findings(**wide, hardware="{gpu: H100-SXM, num_nodes: 2, gpus_per_node: 4}", launch=launch) == []
