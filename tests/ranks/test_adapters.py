"""Low-rank adapters on real ranks: the same losses everywhere, a base that stays, exact resume, both exports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from zerotrain.checkpoint.adapter import merged_weights, trained_model
from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.weights import whole_weights
from zerotrain.errors import CheckpointError, EngineError
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.record import read_record
from zerotrain.spec.run import RunSpec

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = torch.arange(40)[None]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama with tied embeddings."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("base") / "weights"
    config = AutoConfig.for_model("llama", **SIZES, vocab_size=257, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def adapted(base: Path, kind: str = "lora", **adapter: Any) -> dict[str, Any]:
    model = {"pretrained": str(base), "adapter": {"type": kind, "rank": 4, "alpha": 8, **adapter}}
    return {"model": model, "precision": "fp32"}


def trained(spec: RunSpec, checkpoint: Any) -> Any:
    return trained_model(spec, checkpoint, whole_weights(checkpoint))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(TOKENS).logits.float()


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_stages_ranks_and_micro_batches_do_not_change_the_losses(train: Any, base: Path, kind: str) -> None:
    first = train({**adapted(base, kind), "zero.stage": 0, "batch.micro_batch_size": 8}, 1)

    for stage, ranks, micro in ((1, 2, 4), (2, 2, 2), (3, 2, 4)):
        result = train({**adapted(base, kind), "zero.stage": stage, "batch.micro_batch_size": micro}, ranks)
        assert result.losses == pytest.approx(first.losses, rel=2e-6), stage
        assert result.grad_norms == pytest.approx(first.grad_norms, rel=2e-5), stage
    assert first.losses[-1] < first.losses[0]
    assert read_record(first.run).model["trainable_params"] < read_record(first.run).model["params"] / 3


@pytest.mark.sampled(1)
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_in_bf16_every_stage_is_exported_both_ways_and_the_base_stays(
    train: Any, base: Path, stage: int, tmp_path: Path
) -> None:
    result = train({**adapted(base, "dora"), "precision": "bf16", "zero.stage": stage}, 2)
    merged = export_run(result.run, tmp_path / "merged", dtype="fp32")
    alone = export_run(result.run, tmp_path / "alone", dtype="fp32", adapter="alone")

    before = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    by_peft = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), tmp_path / "alone"
    )
    frozen = {name: value for name, value in by_peft.get_base_model().state_dict().items() if "lora_" not in name}
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert all(torch.equal(frozen[_inside(name, frozen)], value) for name, value in before.state_dict().items())
    assert torch.equal(whole.model.norm.weight, before.model.norm.weight)
    assert (logits(whole) - logits(by_peft)).abs().max() < 1e-5
    assert (logits(whole) - logits(before)).abs().max() > 0.05
    assert merged.parameters == before.num_parameters()
    assert alone.parameters == read_record(result.run).model["trainable_params"]


def _inside(name: str, names: Any) -> str:
    head, _, last = name.rpartition(".")
    return f"{head}.base_layer.{last}" if f"{head}.base_layer.{last}" in names else name


@pytest.mark.parametrize(
    ("stage", "precision", "kind"), [(0, "bf16", "lora"), (2, "fp32", "lora"), (3, "bf16", "dora")]
)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(
    train: Any, ranks: Any, base: Path, stage: int, precision: str, kind: str
) -> None:
    # DeepSpeed's CPU Adam multiplies its betas up, a resume takes their powers: here both are the same to the bit.
    changes = {**adapted(base, kind, dropout=0.1), "precision": precision, "zero.stage": stage}
    changes["optimizer.betas"] = [0.5, 0.75]
    whole = train({**changes, "checkpoint.save_every": "2 steps"}, 2)
    last, losses = whole_weights(catalogue(whole.run)[0][0]), whole.losses
    shutil.rmtree(whole.run.checkpoints / "step-4")

    resumed = ranks.start(whole.run.root.parent.parent, [str(whole.run.root)], 2)

    assert resumed.losses == losses
    assert [row["attempt"] for row in resumed.rows("train")][-2:] == [2, 2]
    again = whole_weights(catalogue(whole.run)[0][0])
    assert again.keys() == last.keys()
    assert all(torch.equal(again[name], weight) for name, weight in last.items())


@pytest.mark.parametrize("stage", [0, 3])
def test_a_checkpoint_holds_the_adapter_alone_and_its_manifest_says_so(train: Any, base: Path, stage: int) -> None:
    result = train({**adapted(base), "zero.stage": stage}, 2)
    checkpoint = catalogue(result.run)[0][0]

    names = whole_weights(checkpoint).keys()
    assert len(names) == 2 * 2 * 7
    assert all(".lora_A." in name or ".lora_B." in name for name in names)
    assert checkpoint.manifest.frozen_checksum is not None


def test_a_base_that_has_changed_is_refused(train: Any, ranks: Any, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    result = train({**adapted(tmp_path / "base"), "zero.stage": 3, "checkpoint.save_every": "2 steps"}, 2)
    shutil.rmtree(result.run.checkpoints / "step-4")
    other = AutoModelForCausalLM.from_pretrained(base)
    other.model.norm.weight.data[5] += 0.25
    other.save_pretrained(tmp_path / "base")

    resumed = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2, expect=1)

    assert "error[ZT745] changed-base" in resumed.output
    with pytest.raises(CheckpointError, match="ZT745 changed-base: `step-2` was trained beside other frozen weights"):
        export_run(result.run, tmp_path / "export")
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("kind", ["merged", "alone"])
def test_a_base_that_is_gone_is_told_by_the_export(train: Any, base: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(base, tmp_path / "base")
    result = train({**adapted(tmp_path / "base"), "horizon": "1 steps"})
    shutil.rmtree(tmp_path / "base")

    with pytest.raises(EngineError, match=f"ZT023 unusable-pretrained: `{tmp_path}/base` cannot be loaded: "):
        export_run(result.run, tmp_path / "export", adapter=kind)
    assert not list(tmp_path.glob("*export*"))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("implementation", ["torch", "deepspeed"])
@pytest.mark.parametrize("stage", [0, 3])
def test_recomputed_activations_give_the_adapter_the_same_gradients(
    train: Any, base: Path, implementation: str, stage: int
) -> None:
    plain = train({**adapted(base, "dora"), "horizon": "2 steps", "zero.stage": stage}, 1)
    recompute = {"granularity": "full", "implementation": implementation}
    result = train(
        {**adapted(base, "dora"), "horizon": "2 steps", "zero.stage": stage, "activation_checkpointing": recompute}, 1
    )

    assert result.losses == pytest.approx(plain.losses, rel=1e-6)
    assert result.grad_norms == pytest.approx(plain.grad_norms, rel=1e-5)


def test_an_adapter_alone_knows_its_base_and_brings_the_tokenizer(train: Any, base: Path, tmp_path: Path) -> None:
    result = train({**adapted(base), "export": {"adapter": "alone"}}, 1)

    described = json.loads((result.run.export / "adapter_config.json").read_text())
    assert (described["base_model_name_or_path"], described["task_type"]) == (str(base), "CAUSAL_LM")
    assert "in fp32 to" in result.output
    by_peft = AutoPeftModelForCausalLM.from_pretrained(result.run.export, dtype=torch.float32)
    record = read_record(result.run)
    whole = trained(RunSpec.model_validate(record.resolved), catalogue(result.run)[0][0])
    assert torch.equal(logits(by_peft), logits(whole))
    assert AutoTokenizer.from_pretrained(result.run.export)("x")["input_ids"] == [ord("x")]
    files = {path.name for path in result.run.export.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "zerotrain.json"} <= files
    assert "model.safetensors" not in files


def test_merging_is_what_peft_does(train: Any, base: Path, tmp_path: Path) -> None:
    result = train({**adapted(base), "zero.stage": 2}, 2)
    export_run(result.run, tmp_path / "alone", adapter="alone")
    by_peft: Any = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "alone", dtype=torch.float32)

    spec = RunSpec.model_validate(read_record(result.run).resolved)
    ours = merged_weights(trained(spec, catalogue(result.run)[0][0]))

    theirs = by_peft.merge_and_unload().state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_modules_trained_whole_stand_beside_the_adapter(train: Any, base: Path, tmp_path: Path) -> None:
    changes = adapted(base, target_modules=["q_proj", "v_proj"], modules_to_save=["norm"])
    result = train({**changes, "zero.stage": 3}, 2)
    export_run(result.run, tmp_path / "merged")
    export_run(result.run, tmp_path / "alone", adapter="alone")

    before = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    by_peft = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "alone", dtype=torch.float32)
    assert not torch.equal(whole.model.norm.weight, before.model.norm.weight)
    assert torch.equal(whole.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight)
    assert (logits(whole) - logits(by_peft)).abs().max() < 1e-5


def test_a_tied_module_trained_whole_is_only_exported_merged(train: Any, base: Path, tmp_path: Path) -> None:
    result = train({**adapted(base, modules_to_save=["embed_tokens"]), "horizon": "2 steps"}, 1)

    export_run(result.run, tmp_path / "merged")
    with pytest.raises(CheckpointError, match=r"ZT746 tied-module: `model\.embed_tokens` shares its weights"):
        export_run(result.run, tmp_path / "alone", adapter="alone")
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_an_adapter_beside_random_weights_is_only_exported_merged(train: Any, tmp_path: Path) -> None:
    adapter = {"type": "lora", "rank": 4}
    result = train({"model": {"architecture": "llama", "config": SIZES, "adapter": adapter}, "precision": "fp32"}, 1)

    export_run(result.run, tmp_path / "merged")
    AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    with pytest.raises(CheckpointError, match="ZT743 baseless-adapter"):
        export_run(result.run, tmp_path / "alone", adapter="alone")


def test_an_adapter_of_a_run_without_one_cannot_be_asked_for(train: Any, tmp_path: Path) -> None:
    result = train({"horizon": "1 steps"}, 1)

    with pytest.raises(CheckpointError, match="ZT744 no-adapter"):
        export_run(result.run, tmp_path / "alone", adapter="merged")
