"""ZT1: which parameters are trained, and what moves them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

LLAMA = "architecture: llama, config: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4}"  # fmt: skip  # noqa: E501


def model(freeze: str) -> str:
    return f"{{{LLAMA}, freeze: {freeze}}}"


def optimizer(groups: str) -> str:
    return f"{{type: adamw, lr: 1.0e-3, groups: {groups}}}"


def test_zt150_a_pattern_to_freeze_that_matches_nothing(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(model=model("[norm, wte]"))

    assert (finding.code, finding.name, finding.severity) == ("ZT150", "unmatched-pattern", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("model.freeze[1]", "wte")
    assert finding.message == "`wte` matches none of the 21 parameters that could be meant"
    assert finding.help == "match a name such as `model.embed_tokens.weight` and `lm_head.weight`"
    assert findings(model=model("[norm, embed]")) == []


def test_zt150_a_group_that_matches_nothing_that_is_trained(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(model=model("[embed]"), optimizer=optimizer("[{match: norm}, {match: embed, lr: 1.0}]"))

    assert (finding.code, finding.place.key, caret(finding)) == ("ZT150", "optimizer.groups[1].match", "embed")
    assert findings(optimizer=optimizer("[{match: norm}, {match: embed, lr: 1.0}]")) == []


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_zt150_beside_an_adapter_only_the_adapter_is_trained(findings: Findings, kind: str) -> None:
    adapted = f"{{{LLAMA}, adapter: {{type: {kind}}}}}"

    (finding,) = [f for f in findings(model=adapted, optimizer=optimizer("[{match: lm_head}]")) if f.is_error]
    assert (finding.code, finding.place.key) == ("ZT150", "optimizer.groups[0].match")
    assert [f for f in findings(model=adapted, optimizer=optimizer("[{match: lora_B}]")) if f.is_error] == []


def test_zt150_an_unknown_architecture_is_left_to_the_run(findings: Findings) -> None:
    assert "ZT150" not in {f.code for f in findings(model="{architecture: phi3, freeze: [no_such]}")}


def test_zt151_everything_frozen(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(model=model("['.']"))

    assert (finding.code, finding.name, finding.severity) == ("ZT151", "nothing-to-train", Severity.ERROR)
    assert finding.place.key == "model.freeze"
    assert findings(model=model("[layers]")) == []


def test_zt151_the_whole_adapter_frozen(findings: Findings) -> None:
    def frozen(pattern: str) -> list[str]:
        adapted = f"{{{LLAMA}, adapter: {{type: lora}}, freeze: ['{pattern}']}}"
        return [f.code for f in findings(model=adapted) if f.is_error]

    assert (frozen("lora_"), frozen("lora_A"), frozen("lm_head"), frozen("wte")) == (["ZT151"], [], [], ["ZT150"])


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zt152_adafactor_with_zero(one: One, findings: Findings, caret: Caret, stage: int) -> None:
    adafactor = "{type: adafactor, lr: 0.01}"
    finding = one(optimizer=adafactor, zero=f"{{stage: {stage}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT152", "factored-on-shards", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("optimizer.type", "adafactor")
    assert findings(optimizer=adafactor, zero="{stage: 0}") == []


@pytest.mark.parametrize("kind", ["nadam", "radam", "rmsprop", "adamax"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_other_optimizers_of_torch_go_with_every_stage(findings: Findings, kind: str, stage: int) -> None:
    assert findings(optimizer=f"{{type: {kind}, lr: 1.0e-3}}", zero=f"{{stage: {stage}}}") == []


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"model": model("['(']")}, "model.freeze[0]"),
        ({"optimizer": optimizer("[{match: 'a**'}]")}, "optimizer.groups[0].match"),
    ],
)
def test_a_broken_pattern_is_a_finding(one: One, sections: dict[str, str], key: str) -> None:
    finding = one(**sections)

    assert finding.place.key == key
    assert "is no regular expression" in finding.message
