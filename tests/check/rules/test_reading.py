"""ZT0: reading the spec, and the model it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.diagnostic import Diagnostic, Fix, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

SHAPE = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4"


def llama(more: str = "") -> str:
    return f"{{architecture: llama, config: {{{SHAPE}{more}}}}}"


def test_zt020_no_model(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(model="{config: {}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT020", "no-model", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("model", "{config: {}}")
    assert finding.message == "no model is named"
    assert findings(model="{pretrained: org/name}") == []


def test_zt020_two_models(one: One, caret: Caret) -> None:
    finding = one(model="{architecture: llama, pretrained: org/name}")

    assert (finding.code, finding.place.key, caret(finding)) == ("ZT020", "model.pretrained", "org/name")
    assert finding.message == "both `architecture: llama` and `pretrained: org/name` are given"


@pytest.mark.parametrize(("name", "help"), [("lama", "did you mean `llama`?"), ("zzz", "known: `llama`, `qwen2`, ")])
def test_zt021_an_architecture_that_is_not_known(
    one: One, findings: Findings, caret: Caret, name: str, help: str
) -> None:
    finding = one(model=f"{{architecture: {name}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT021", "unknown-architecture", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("model.architecture", name)
    assert finding.message == f"`{name}` is not a known architecture"
    assert (finding.help or "").startswith(help)
    assert findings(model="{architecture: llama}") == []


def test_zt022_a_key_that_the_architecture_does_not_have(one: One, findings: Findings) -> None:
    finding = one(model=llama(", hidden_sise: 4"))

    assert (finding.code, finding.name, finding.severity) == ("ZT022", "unknown-model-key", Severity.ERROR)
    assert (finding.place.key, finding.message) == (
        "model.config.hidden_sise",
        "`llama` has no config key `hidden_sise`",
    )
    assert finding.fix == Fix("rename to `hidden_size`", "model.config.hidden_sise", "hidden_size", renames=True)
    assert one(model=llama(", zzz: 4")).help == "`llama` would ignore it; remove it"
    assert findings(model=llama(", rms_norm_eps: 1e-5")) == []


def test_zt022_points_at_the_key(one: One, caret: Caret) -> None:
    assert caret(one(model=llama(", hidden_sise: 4"))) == "hidden_sise"


@pytest.mark.parametrize(
    ("key", "near"),
    [("num_layers", "num_hidden_layers"), ("n_layer", "num_hidden_layers"), ("n_embd", "hidden_size")],
)
def test_zt022_knows_the_other_names_of_a_size(one: One, key: str, near: str) -> None:
    fix = one(model=llama(f", {key}: 4")).fix

    assert fix is not None
    assert fix.value == near


def test_zt022_of_a_key_in_other_digits(one: One) -> None:
    assert one(model=llama(", ²: 4")).code == "ZT022"


@pytest.mark.parametrize("key", ['"a.b"', "7"])
def test_zt022_of_a_key_with_a_dot_or_of_digits_stands_at_it(one: One, caret: Caret, key: str) -> None:
    assert caret(one(model=llama(f", {key}: 4"))) in (key, "4")


def test_zt023_weights_without_a_config(one: One, findings: Findings, caret: Caret, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    finding = one(model="{pretrained: ./weights}")

    assert (finding.code, finding.name, finding.severity) == ("ZT023", "unusable-pretrained", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("model.pretrained", "./weights")
    (tmp_path / "weights" / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 300}))
    assert findings(model="{pretrained: ./weights}") == []


def test_zt024_sizes_that_do_not_fit_each_other(one: One, findings: Findings, caret: Caret) -> None:
    finding = one(model="{architecture: llama, config: {num_attention_heads: 4, num_key_value_heads: 3}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT024", "impossible-model", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("model.config.num_key_value_heads", "3")
    assert finding.message == "`num_attention_heads` 4 is not a multiple of `num_key_value_heads` 3"
    assert findings(model="{architecture: llama, config: {num_attention_heads: 4, num_key_value_heads: 2}}") == []


def test_zt024_names_every_value_that_cannot_be(findings: Findings, caret: Caret) -> None:
    found = findings(model="{architecture: gpt2, config: {n_embd: x, n_layer: -1, n_head: 0}}")

    assert [(f.code, caret(f)) for f in found] == [("ZT024", "x"), ("ZT024", "-1"), ("ZT024", "0")]


def test_zt025_an_architecture_without_the_head_of_the_task(one: One, findings: Findings) -> None:
    finding = one(model="{architecture: bert}")

    assert (finding.code, finding.name, finding.severity) == ("ZT025", "unsuited-architecture", Severity.ERROR)
    assert (finding.place.key, finding.message) == ("model.architecture", "`bert` cannot do the task `pretrain`")
    assert findings(model="{architecture: bert}", task="{type: sequence_classification}") == []
