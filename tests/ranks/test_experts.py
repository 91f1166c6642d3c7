"""Experts that are spread over ranks: the same training, and whole weights again in the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIGS: dict[str, dict[str, Any]] = {
    "mixtral": {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4},
    "qwen3_moe": {**SMALL, "num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 32},
    "deepseek_v3": {**SMALL, "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 32, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1, "q_lora_rank": 16}
    | {"kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
    "deepseek_v2": {**SMALL, "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2}
    | {"moe_intermediate_size": 32, "first_k_dense_replace": 1, "q_lora_rank": 16, "routed_scaling_factor": 2.0}
    | {"topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1}
    | {"kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8},
}
LEAN = [("mixtral", 0), ("qwen3_moe", 2), ("mixtral", 3)]
CASES = [
    pytest.param(architecture, stage, marks=() if (architecture, stage) in LEAN else pytest.mark.slow)
    for architecture in CONFIGS
    for stage in (0, 1, 2, 3)
]


def of(architecture: str, stage: int, ep: int = 1, precision: str = "fp32") -> dict[str, Any]:
    """Returns the changes that make the tiny spec one of a model with experts."""
    model = {"architecture": architecture, "config": CONFIGS[architecture]}
    return {"model": model, "precision": precision, "zero.stage": stage, "parallel.ep": ep}


@pytest.fixture(scope="module")
def plain(ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a run of an architecture on one plain rank; each is trained once."""
    runs: dict[str, Any] = {}

    def run(architecture: str) -> Any:
        if architecture not in runs:
            changes = of(architecture, 0) | {"batch.micro_batch_size": 8}
            runs[architecture] = ranks.train(tmp_path_factory.mktemp("plain"), changes, 1)
        return runs[architecture]

    return run


@pytest.mark.parametrize(("architecture", "stage"), CASES)
def test_it_trains_and_exports_what_one_plain_rank_does(train, plain, architecture, stage):
    reference = plain(architecture)

    result = train(of(architecture, stage, ep=2), 2)

    assert result.losses == pytest.approx(reference.losses, rel=1e-4)
    assert result.grad_norms == pytest.approx(reference.grad_norms, rel=1e-4)
    assert largest_difference(exported(result), exported(reference)) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_groups_that_hold_the_same_experts_divide_them(train, plain, stage):
    reference = plain("mixtral")

    result = train(of("mixtral", stage, ep=2), 4)

    assert result.losses == pytest.approx(reference.losses, rel=1e-4)
    assert result.grad_norms == pytest.approx(reference.grad_norms, rel=1e-4)
    assert largest_difference(exported(result), exported(reference)) < 1e-3


@pytest.mark.parametrize(
    ("architecture", "granularity"),
    [
        pytest.param(name, granularity, marks=() if name == "deepseek_v3" else pytest.mark.slow)
        for name in CONFIGS
        for granularity in ("none", "full")
    ],
)
def test_stage_3_gathers_the_experts_of_a_layer_as_one(train, plain, architecture, granularity):
    reference = plain(architecture)

    result = train(of(architecture, 3) | {"activation_checkpointing": {"granularity": granularity}}, 2)

    compiled = json.loads(result.run.ds_config.read_text())
    assert len(compiled["zero_optimization"]["leaf_module"]["classes"]) == 1
    assert result.losses == pytest.approx(reference.losses, rel=1e-4)
    assert result.grad_norms == pytest.approx(reference.grad_norms, rel=1e-4)
    assert largest_difference(exported(result), exported(reference)) < 1e-3


def exported(result: Any) -> Any:
    """Returns what plain transformers makes of the export."""
    from transformers import AutoModelForCausalLM

    from zerotrain.checkpoint.export import export_run

    export_run(result.run, result.run.export)
    return AutoModelForCausalLM.from_pretrained(result.run.export).eval()


def largest_difference(model: Any, other: Any) -> float:
    import torch

    tokens = torch.arange(64).reshape(2, 32)
    with torch.no_grad():
        return (model(tokens).logits - other(tokens).logits).abs().max().item()


@pytest.mark.parametrize("stage", [2, 3])
def test_each_rank_saves_the_states_of_its_own_experts(train, stage):
    """Two of four experts, in two layers of three matrices of 64 x 32, stand whole with one rank of two."""
    import torch

    result = train(of("mixtral", stage, ep=2), 2)

    files = sorted((result.run.checkpoints / "step-4").glob("*optim_states.pt"))
    key = "fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"
    held = [torch.load(file, weights_only=False)["optimizer_state_dict"][key] for file in files]
    first, second = ([part for part in parts if part.numel() == 2 * 2 * 3 * 64 * 32] for parts in held)
    assert [len(first), len(second)] == [1, 1]
    assert not torch.allclose(first[0], second[0], atol=1e-2)


@pytest.mark.parametrize(
    ("stage", "precision"),
    [
        (0, "fp32"),
        pytest.param(1, "bf16", marks=pytest.mark.slow),
        pytest.param(2, "fp32", marks=pytest.mark.slow),
        (3, "bf16"),
    ],
)
def test_every_loss_after_a_resume_is_bitwise_that_of_the_uninterrupted_run(train, ranks, stage, precision):
    long = {"horizon": "6 steps", "checkpoint.save_every": "3 steps"}
    result = train(of("mixtral", stage, ep=2, precision=precision) | long, 2)
    first = [(row["step"], row["loss"], row["grad_norm"]) for row in result.rows("train")]
    shutil.rmtree(result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    assert [(r["step"], r["loss"], r["grad_norm"]) for r in again.rows("train") if r["attempt"] == 2] == first[3:]
    before, after = (row["metrics"] for row in again.rows("eval"))
    assert after == before


@pytest.mark.parametrize("stage", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_groups_of_experts_move_as_on_one_rank(train, stage):
    changes = {"optimizer.groups": [{"match": "experts", "lr": 2e-2}, {"match": "gate", "weight_decay": 0.0}]}

    alone = train(of("mixtral", 0) | changes, 1)
    spread = train(of("mixtral", stage, ep=2) | changes, 2)

    assert spread.losses == pytest.approx(alone.losses, rel=1e-4)
    assert spread.grad_norms == pytest.approx(alone.grad_norms, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["torch", "deepspeed"])
@pytest.mark.parametrize("stage", [1, 3])
def test_recomputing_layers_does_not_change_the_loss(train, plain, stage, implementation):
    recomputing = {"granularity": "full", "implementation": implementation}

    result = train(of("mixtral", stage, ep=2) | {"activation_checkpointing": recomputing}, 2)

    assert result.losses == pytest.approx(plain("mixtral").losses, rel=1e-4)


@pytest.mark.parametrize("stage", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_the_load_of_experts_and_the_loss_of_routers_are_the_same_wherever_experts_are(train, plain, stage):
    asked = {"model.config.output_router_logits": True, "model.config.router_aux_loss_coef": 0.5}

    together = train(of("mixtral", 0) | asked, 2)
    spread = train(of("mixtral", stage, ep=2) | asked, 2)

    assert spread.losses == pytest.approx(together.losses, rel=1e-4)
    assert spread.grad_norms == pytest.approx(together.grad_norms, rel=1e-4)
    assert together.grad_norms != pytest.approx(plain("mixtral").grad_norms, rel=1e-3), "it is trained with"
    for one, other in zip(together.rows("train"), spread.rows("train"), strict=True):
        assert other["expert_load"] == pytest.approx(one["expert_load"], rel=0.02)
        assert other["router_z_loss"] == pytest.approx(one["router_z_loss"], rel=1e-3)
        assert other["router_loss"] == pytest.approx(one["router_loss"], rel=1e-3)
        assert 0.5 <= other["router_loss"] < 2, "0.5 x about top_k, the least there is with an even load"


def test_the_load_is_counted_once_though_layers_are_computed_twice(train, plain):
    result = train(of("mixtral", 0) | {"activation_checkpointing": "full", "batch.micro_batch_size": 8}, 1)

    reference = plain("mixtral")
    for one, other in zip(reference.rows("train"), result.rows("train"), strict=True):
        assert other["expert_load"] == pytest.approx(one["expert_load"], rel=0.02)
        assert len(one["expert_load"]) == 2
        assert 1 <= one["expert_load_max"] <= 4
        assert one["router_loss"] == 0


def test_the_load_of_each_expert_is_told_with_every_evaluation(train):
    often = {"evaluation.every": "2 steps", "evaluation.at_start": True, "activation_checkpointing": "full"}

    result = train(of("mixtral", 0, ep=2) | often, 2)

    untrained, *evaluated = result.rows("eval")
    assert "expert_loads" not in untrained
    assert [row["step"] for row in evaluated] == [2, 4]
    told = {row["step"]: row["expert_load"] for row in result.rows("train")}
    for row in evaluated:
        assert [len(loads) for loads in row["expert_loads"]] == [4, 4]
        assert [sum(loads) for loads in row["expert_loads"]] == pytest.approx([4, 4], abs=1e-3)
        for layer, loads in enumerate(row["expert_loads"]):
            busiest = [told[step][layer] for step in (row["step"] - 1, row["step"])]
            assert max(loads) <= sum(busiest) / 2 + 1e-3, "as many tokens in each step"


@pytest.mark.slow
def test_the_example_learns(ranks, cache, tmp_path):
    example = str(Path(__file__).parents[2] / "examples" / "mixtral_ep.yaml")

    result = ranks.start(tmp_path, [example, f"data.cache={cache}"], 2, name="mixtral_ep", seconds=600)

    assert result.losses[-1] < 0.85 * result.losses[0]
    assert (result.run.export / "model.safetensors").is_file()
