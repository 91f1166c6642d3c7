"""Distillation on real ranks."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.weights import whole_weights
from zerotrain.runs.catalogue import catalogue

LARGER = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def trained(ranks: Any, tmp_path_factory: Any, config: dict[str, Any]) -> Path:
    """Trains a language model for a few steps and returns its export."""
    changes = {"model": {"architecture": "llama", "config": config}, "precision": "fp32"}
    result = ranks.train(tmp_path_factory.mktemp("teacher"), changes)
    return export_run(result.run, result.run.export).directory


@pytest.fixture(scope="module")
def teacher(ranks: Any, tmp_path_factory: Any) -> Path:
    """A teacher that is wider and deeper than the student, and has embeddings that no token uses."""
    return trained(ranks, tmp_path_factory, {**LARGER, "vocab_size": 264})


@pytest.fixture(scope="module")
def twin(ranks: Any, tmp_path_factory: Any) -> Path:
    """A teacher of the student's width, with another depth."""
    return trained(ranks, tmp_path_factory, {**LARGER, "hidden_size": 32})


def task(teacher: Path, **changes: Any) -> dict[str, Any]:
    return {"task": {"type": "distill", "teacher": {"pretrained": str(teacher)}, **changes}}


def weights_of(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_losses_and_metrics_do_not_depend_on_how_a_batch_is_divided(same_everywhere: Any, teacher: Path) -> None:
    before = weights_of(teacher)

    same_everywhere(task(teacher))

    assert weights_of(teacher) == before


def test_hidden_states_are_compared_alike_at_every_stage(same_everywhere: Any, twin: Path) -> None:
    same_everywhere(task(twin, hidden_weight=3.0, hidden_layers=[[0, 0], [1, 2], [-1, -1]]))


def test_a_bf16_student_learns_from_a_bf16_teacher_at_stage_3(train: Any, teacher: Path) -> None:
    whole = train({**task(teacher), "zero.stage": 2, "precision": "bf16"}, 2)
    parted = train({**task(teacher), "zero.stage": 3, "precision": "bf16"}, 2)

    assert parted.losses == pytest.approx(whole.losses, rel=2e-3)
    assert parted.rows("eval")[-1]["metrics"] == pytest.approx(whole.rows("eval")[-1]["metrics"], rel=2e-2)


def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(resumes_exactly: Any, teacher: Path) -> None:
    resumes_exactly(task(teacher))


def test_an_export_is_the_student_alone(exported: Any, teacher: Path) -> None:
    folder = exported(task(teacher))

    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    model, found = loaded
    assert not found["missing_keys"] and not found["unexpected_keys"]
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (32, 2)
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()


def test_the_teacher_is_not_in_a_checkpoint(train: Any, teacher: Path) -> None:
    plain = train({"zero.stage": 3}, 2)
    taught = train({**task(teacher), "zero.stage": 3}, 2)

    (alone, *_), _ = catalogue(plain.run)
    (both, *_), _ = catalogue(taught.run)
    assert {n: w.shape for n, w in whole_weights(both).items()} == {n: w.shape for n, w in whole_weights(alone).items()}
    assert both.manifest.files.keys() == alone.manifest.files.keys()


@pytest.mark.parametrize("stage", [0, 3])
def test_without_weight_a_teacher_changes_nothing(train: Any, teacher: Path, stage: int) -> None:
    plain = train({"zero.stage": stage}, 2)
    taught = train({**task(teacher, soft_weight=0.0), "zero.stage": stage}, 2)

    assert taught.losses == plain.losses
    assert taught.grad_norms == plain.grad_norms
    metrics = taught.rows("eval")[-1]["metrics"]
    assert {name: metrics[name] for name in ("loss", "perplexity")} == plain.rows("eval")[-1]["metrics"]
    assert metrics["distillation_loss"] == metrics["loss"]


@pytest.mark.parametrize("stage", [0, 3])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(train: Any, twin: Path, stage: int) -> None:
    same = {"model": {"pretrained": str(twin)}, "precision": "fp32", "zero.stage": stage}
    result = train({**same, **task(twin, soft_weight=1.0, hidden_weight=1.0), "evaluation.at_start": True}, 2)

    assert result.losses[0] == pytest.approx(0, abs=1e-9)
    start = result.rows("eval")[0]["metrics"]
    assert (start["distillation_loss"], start["agreement"]) == (pytest.approx(0, abs=1e-9), 1.0)
    assert start["loss"] > 1


def test_a_teacher_that_lacks_weights_is_refused(train: Any, teacher: Path, tmp_path: Path) -> None:
    headless = tmp_path / "headless"
    shutil.copytree(teacher, headless)
    weights = load_file(headless / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, headless / "model.safetensors", {"format": "pt"})

    result = train({**task(headless), "precision": "fp32"}, expect=1)

    assert "error[ZT694]" in result.output
    assert "`lm_head.weight`" in result.output


@pytest.mark.parametrize("stage", [0, 3])
def test_a_run_is_not_continued_with_another_teacher(
    train: Any, ranks: Any, teacher: Path, tmp_path: Path, stage: int
) -> None:
    shutil.copytree(teacher, tmp_path / "teacher")
    result = train({**task(tmp_path / "teacher"), "zero.stage": stage, "checkpoint.save_every": "2 steps"}, 2)
    shutil.rmtree(result.run.checkpoints / "step-4")
    weights = load_file(tmp_path / "teacher" / "model.safetensors")
    weights["model.norm.weight"][5] += 0.25
    save_file(weights, tmp_path / "teacher" / "model.safetensors", {"format": "pt"})

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2, expect=1)

    assert "error[ZT748] changed-teacher" in again.output
    assert "`step-2` was trained with another teacher" in again.output


def test_a_folder_without_weights_is_refused(train: Any, teacher: Path, tmp_path: Path) -> None:
    shutil.copy(teacher / "config.json", tmp_path)

    assert "error[ZT694]" in train(task(tmp_path), expect=1).output


def test_a_teacher_whose_config_the_check_does_not_know_is_refused_on_the_ranks(
    train: Any, teacher: Path, tmp_path: Path
) -> None:
    """The shape of OpenAI's first GPT is known to transformers alone."""
    config = {"model_type": "openai-gpt", "vocab_size": 100, "n_positions": 32, "n_embd": 32, "n_layer": 1, "n_head": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))

    output = train(task(tmp_path, hidden_weight=1.0, hidden_layers=[[1, 2]]), expect=1).output

    assert "error[ZT690]" in output and "error[ZT693]" in output and "error[ZT696]" in output
    assert "Traceback" not in output


def test_hidden_states_outlive_recomputed_layers(train: Any, twin: Path) -> None:
    changes = {**task(twin, hidden_weight=1.0, hidden_layers=[[1, 2], [-1, -1]]), "precision": "fp32", "zero.stage": 3}

    kept = train(changes, 2)
    recomputed = train({**changes, "activation_checkpointing": "full"}, 2)

    assert recomputed.losses == pytest.approx(kept.losses, rel=1e-6)
    assert recomputed.grad_norms == pytest.approx(kept.grad_norms, rel=1e-5)


def test_a_teacher_s_weights_may_wait_on_the_host(train: Any, teacher: Path) -> None:
    changes = {**task(teacher), "precision": "bf16", "zero.stage": 3}

    here = train(changes, 2)
    waiting = train({**changes, "zero.offload_param": {"device": "cpu"}}, 2)

    assert waiting.losses == pytest.approx(here.losses, rel=1e-3)
