"""ZT4: experts that are spread over ranks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

MIXTRAL = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4"
MIXTRAL += ", num_key_value_heads: 4, num_local_experts: 6"
MODEL = f"{{architecture: mixtral, config: {{{MIXTRAL}}}}}"
BATCH = "{global_batch_size: 24, micro_batch_size: 1}"
SIX = "{gpu: cpu, gpus_per_node: 6}"


def test_experts_on_two_ranks_are_in_order(findings: Findings) -> None:
    assert findings(model=MODEL, parallel="{ep: 2}") == []


def test_zt470_experts_that_do_not_divide(one: One, caret: Caret) -> None:
    finding = one(model=MODEL, parallel="{ep: 4}", hardware="{gpu: cpu, gpus_per_node: 4}", batch=BATCH)

    assert (finding.code, finding.name, finding.severity) == ("ZT470", "indivisible-experts", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("parallel.ep", "4")
    assert finding.message == "the 6 experts of a layer cannot be spread over 4 ranks"
    assert finding.help == "use `2`, `3` or `6`"


def test_zt471_ranks_that_do_not_divide(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(model=MODEL, parallel="{ep: 3}", hardware="{gpu: cpu, gpus_per_node: 4}", batch=BATCH)

    assert (finding.code, finding.name, finding.severity) == ("ZT471", "unfilled-expert-groups", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("parallel.ep", "3")
    assert finding.message == "`ep: 3` does not divide the 4 data-parallel ranks"
    assert findings(model=MODEL, parallel="{ep: 3}", hardware=SIX, batch=BATCH) == []


def test_zt472_another_axis(findings: Findings, caret: Caret) -> None:
    found = findings(model=MODEL, parallel="{ep: 2, tp: 2}", hardware="{gpu: cpu, gpus_per_node: 4}", batch=BATCH)

    finding = next(finding for finding in found if finding.code == "ZT472")
    assert (finding.name, finding.severity) == ("experts-with-another-axis", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("parallel.tp", "2")
    assert finding.message == "`tp: 2` does not go with `ep: 2`"


def test_zt473_a_model_without_experts(one: One, caret: Caret) -> None:
    finding = one(parallel="{ep: 2}")

    assert (finding.code, finding.name, finding.severity) == ("ZT473", "no-experts", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("parallel.ep", "2")
    assert finding.message == "`ep: 2` has nothing to spread: this `llama` has no layer with experts that is known"


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"ema": "{decay: 0.999}"}, "ema"),
        ({"model": f"{{architecture: mixtral, config: {{{MIXTRAL}}}, freeze: [embed]}}"}, "model.freeze"),
        ({"optimizer": "{type: muon, lr: 1.0e-3, clip_norm: null}"}, "optimizer.type"),
    ],
)
def test_zt474_what_loses_experts(one: One, findings: Findings, sections: dict[str, str], key: str) -> None:
    finding = one(**{"model": MODEL, "parallel": "{ep: 2}"} | sections)

    assert (finding.code, finding.name, finding.severity) == ("ZT474", "excluded-by-experts", Severity.ERROR)
    assert finding.place.key == key
    assert finding.message.startswith("`ep: 2` does not go with ")
    assert "ZT474" not in [found.code for found in findings(**{"model": MODEL} | sections)]


@pytest.mark.parametrize(("key", "value"), [("router_jitter_noise", "0.1"), ("hidden_act", "gelu")])
def test_zt475_another_function(one: One, findings: Findings, caret: Caret, key: str, value: str) -> None:
    model = f"{{architecture: mixtral, config: {{{MIXTRAL}, {key}: {value}}}}}"

    finding = one(model=model, parallel="{ep: 2}")

    assert (finding.code, finding.name, finding.severity) == ("ZT475", "other-expert-function", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == (f"model.config.{key}", value)
    assert findings(model=model) == []


def test_zt476_a_router_loss_that_nobody_trains_with(one: One, findings: Findings, caret: Caret) -> None:
    model = f"{{architecture: mixtral, config: {{{MIXTRAL}, output_router_logits: true}}}}"

    finding = one(model=model, task="{type: distill, teacher: {pretrained: some/where}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT476", "unused-router-loss", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("model.config.output_router_logits", "true")
    assert finding.message == "`distill` does not train with the loss of the routers, so it would be ignored"
    assert findings(model=model) == []
