"""ZT4: compiling the model's code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]

BATCH = "{global_batch_size: 8, micro_batch_size: 4}"
BERT = (
    "{architecture: bert, config: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, "
    "num_attention_heads: 4}}"
)
H100 = "{gpu: H100-SXM, gpus_per_node: 2}"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"compile": "deepcompile", "zero": "{stage: 2}"}, "DeepCompile needs a CUDA GPU"),
        ({"compile": "deepcompile", "hardware": H100}, "DeepCompile does not work at ZeRO stage 0"),
        ({"compile": "torch", "parallel": "{pp: 2}", "batch": BATCH}, "`compile` is not available with `pp: 2`"),
        ({"compile": "torch", "parallel": "{sp: 2}", "batch": BATCH}, "`compile` is not available with `sp: 2`"),
        (
            {"compile": "torch", "task": "{type: masked_lm}", "model": BERT},
            "`compile` is not available for `masked_lm`, whose batches have many lengths",
        ),
        ({"compile": "torch", "moe": "{experts: 4, top_k: 1}"}, "`compile` is not available with `moe`"),
    ],
)
def test_zt453_what_cannot_be_compiled(findings: Findings, sections: dict[str, str], words: str) -> None:
    found = [finding for finding in findings(**sections) if finding.code == "ZT453"]

    assert [(each.name, each.severity, each.message) for each in found] == [
        ("cannot-be-compiled", Severity.ERROR, words)
    ]
    assert found[0].place.key == "compile.method"


@pytest.mark.parametrize("stage", range(4))
def test_what_can_be_compiled_has_no_finding(findings: Findings, stage: int) -> None:
    assert findings(compile="torch", zero=f"{{stage: {stage}}}") == []
    assert findings(compile="{method: torch, mode: max-autotune, fullgraph: true}", zero=f"{{stage: {stage}}}") == []
    if stage:
        assert findings(compile="deepcompile", zero=f"{{stage: {stage}}}", hardware=H100) == []


def test_zt454_options_without_a_compiler(one: One) -> None:
    finding = one(compile="{mode: max-autotune}")

    assert (finding.code, finding.name, finding.severity) == ("ZT454", "idle-compile-option", Severity.WARNING)
    assert (finding.place.key, finding.message) == ("compile.mode", "`mode` is ignored without `method: torch`")


def test_raw_keys_of_compilers_have_a_field(one: One) -> None:
    finding = one(deepspeed="{compile: {deepcompile: true}}", zero="{stage: 1}", hardware=H100)

    assert (finding.code, finding.place.key) == ("ZT310", "deepspeed.compile")
    assert finding.help == "set `compile.method` instead"
