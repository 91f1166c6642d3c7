"""ZT7: adapters, their checkpoints and exports; and dropout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.diagnostic import Diagnostic, Severity

One = Callable[..., Diagnostic]
Findings = Callable[..., list[Diagnostic]]
Caret = Callable[[Diagnostic], str]

LLAMA = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture
def weights(tmp_path: Path) -> str:
    """A folder with the config of a small Llama."""
    (tmp_path / "weights").mkdir()
    config = {"model_type": "llama", "vocab_size": 5000, **LLAMA}
    (tmp_path / "weights" / "config.json").write_text(json.dumps(config))
    return "pretrained: ./weights"


def test_zt740_a_target_that_is_no_layer(one: One, findings: Findings, caret: Caret, weights: str) -> None:
    finding = one(model=f"{{{weights}, adapter: {{type: lora, target_modules: [v_proj, q_prj]}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT740", "unmatched-module", Severity.ERROR)
    assert (finding.place.key, caret(finding)) == ("model.adapter.target_modules[1]", "q_prj")
    assert finding.message == "`q_prj` is no module of the model"
    assert finding.help == "did you mean `q_proj`?"
    assert findings(model=f"{{{weights}, adapter: {{type: lora, target_modules: [q_proj]}}}}") == []


def test_zt740_a_target_that_is_not_linear(one: One, weights: str) -> None:
    finding = one(model=f"{{{weights}, adapter: {{type: lora, target_modules: [embed_tokens]}}}}")

    assert finding.message == "`embed_tokens` is no linear layer of the model"


def test_zt740_a_module_to_save_that_is_none(one: One, findings: Findings, weights: str) -> None:
    finding = one(model=f"{{{weights}, adapter: {{type: dora, modules_to_save: [score]}}}}")

    assert (finding.code, finding.place.key) == ("ZT740", "model.adapter.modules_to_save[0]")
    assert findings(model=f"{{{weights}, adapter: {{type: dora, modules_to_save: [lm_head, norm]}}}}") == []


def test_zt740_an_unknown_architecture_is_left_to_the_run(findings: Findings) -> None:
    found = findings(model="{pretrained: org/name, adapter: {type: lora, target_modules: [no_such]}}")

    assert not {f.code for f in found} & {"ZT740", "ZT741"}


def test_zt741_an_adapter_without_a_place(one: One, findings: Findings, weights: str) -> None:
    finding = one(model=f"{{{weights}, adapter: {{type: lora, modules_to_save: [model, lm_head]}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT741", "nothing-to-adapt", Severity.ERROR)
    assert finding.message.endswith("is left for an adapter beside `model` and `lm_head`")
    assert findings(model=f"{{{weights}, adapter: {{type: lora, modules_to_save: [lm_head]}}}}") == []


def test_zt742_an_adapter_beside_random_weights(one: One, findings: Findings, weights: str) -> None:
    finding = one(model=f"{{architecture: llama, config: {json.dumps(LLAMA)}, adapter: {{type: lora}}}}")

    assert (finding.code, finding.name, finding.severity) == ("ZT742", "adapter-from-scratch", Severity.WARNING)
    assert findings(model=f"{{{weights}, adapter: {{type: lora}}}}") == []


def test_zt743_an_adapter_alone_without_a_base(findings: Findings, weights: str) -> None:
    scratch = f"{{architecture: llama, config: {json.dumps(LLAMA)}, adapter: {{type: lora}}}}"
    found = {f.code: f for f in findings(model=scratch, export="{adapter: alone}")}

    assert (found["ZT743"].name, found["ZT743"].severity) == ("baseless-adapter", Severity.ERROR)
    assert found["ZT743"].place.key == "export.adapter"
    assert findings(model=f"{{{weights}, adapter: {{type: lora}}}}", export="{adapter: alone}") == []


def test_zt744_the_export_of_an_adapter_that_is_not_there(one: One, findings: Findings, weights: str) -> None:
    finding = one(model=f"{{{weights}}}", export="{adapter: merged}")

    assert (finding.code, finding.name, finding.severity) == ("ZT744", "no-adapter", Severity.WARNING)
    assert findings(model=f"{{{weights}}}", export="{dtype: fp32}") == []


def test_zt747_dropout_where_there_is_none(findings: Findings, one: One, weights: str) -> None:
    resnet = "{architecture: resnet, config: {embedding_size: 8, hidden_sizes: [8], depths: [1]}, dropout: 0.1}"
    data = "{train: [{type: python_stdlib}]}"
    found = {f.code: f for f in findings(model=resnet, task="{type: image_classification}", data=data)}

    assert (found["ZT747"].name, found["ZT747"].severity) == ("no-dropout", Severity.ERROR)
    assert found["ZT747"].message == "`resnet` has no dropout"
    assert findings(model=f"{{{weights}, dropout: 0.1}}") == []


def test_zt747_an_architecture_whose_keys_are_not_known(findings: Findings) -> None:
    found = {f.code: f for f in findings(model="{pretrained: org/name, dropout: 0.1}")}

    assert found["ZT747"].help == "name the keys in `model.config`, such as `attention_dropout`"


@pytest.mark.parametrize("value", ["1.0", "-0.1", "lots"])
def test_a_share_that_is_none_is_refused(one: One, weights: str, value: str) -> None:
    assert one(model=f"{{{weights}, dropout: {value}}}").place.key == "model.dropout"


def test_a_kind_of_targets_that_does_not_exist_is_refused(findings: Findings, weights: str) -> None:
    found = findings(model=f"{{{weights}, adapter: {{type: lora, target_modules: all}}}}")

    assert [f.place.key for f in found] == ["model.adapter.target_modules"]
    assert "all-linear" in f"{found[0].message} {found[0].help}"
