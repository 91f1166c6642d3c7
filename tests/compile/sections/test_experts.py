"""What the JSON says of experts: of those that a model has, and nothing of those that it gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zerotrain.cli.main import main

SPEC = """
name: tiny
model: {architecture: llama, config: {hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4}}
data: {train: [{type: python_stdlib}], tokenizer: {type: bytes}, seq_len: 32}
batch: {global_batch_size: 8, micro_batch_size: 4}
horizon: 10 steps
optimizer: {type: adamw, lr: 1.0e-3}
schedule: {type: constant}
hardware: {gpu: cpu, gpus_per_node: 2}
"""
MIXTRAL = "model={architecture: mixtral, config: {hidden_size: 64, num_attention_heads: 8, num_hidden_layers: 2}}"

Compile = Callable[..., tuple[dict[str, object], str]]


@pytest.fixture
def compile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compile:
    """Returns the JSON of a small spec with overrides, and what is said beside it."""

    def run(*words: str) -> tuple[dict[str, object], str]:
        file = tmp_path / "spec.yaml"
        file.write_text(SPEC)
        assert main(["compile", str(file), *words]) == 0
        said = capsys.readouterr()
        return json.loads(said.out), said.err

    return run


def test_experts_that_a_model_has_are_spread_by_autoep(compile: Compile) -> None:
    config, said = compile(MIXTRAL, "parallel.ep=2", "--for", "deepspeed")

    assert config["expert_parallel"] | {"enabled": True, "autoep_size": 2} == config["expert_parallel"]  # type: ignore[operator]
    assert said == ""


def test_experts_that_a_dense_model_gets_are_not_in_it(compile: Compile) -> None:
    config, _ = compile("moe={experts: 4}", "parallel.ep=2")

    assert "expert_parallel" not in config


@pytest.mark.parametrize("target", ["deepspeed", "hf"])
def test_a_script_that_uses_the_json_is_told_to_build_them(compile: Compile, target: str) -> None:
    _, said = compile("moe={experts: 4}", "--for", target)

    assert "warning[ZT489] unsaid-experts" in said
    assert "the 4 experts of a layer are not in the JSON, which has no place for them" in said
