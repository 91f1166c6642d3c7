"""Dense decoders that got experts: the same training however they are spread, and whole weights again in the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.weights import averaged_weights, whole_weights
from zerotrain.errors import CheckpointError
from zerotrain.modeling.experts import add_experts
from zerotrain.modeling.load import load_model
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.record import read_record
from zerotrain.spec.run import RunSpec

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {"llama": SIZES, "mistral": SIZES, "qwen3": {**SIZES, "head_dim": 8}}


def of(architecture: str = "llama", stage: int = 0, ep: int = 1, **moe: Any) -> dict[str, Any]:
    """Returns the changes that give the tiny spec's decoder experts."""
    model = {"architecture": architecture, "config": CONFIGS[architecture]}
    return {"model": model, "precision": "fp32", "zero.stage": stage, "parallel.ep": ep, "moe": {"experts": 4} | moe}


@pytest.fixture(scope="module")
def plain(ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a run on one plain rank; each is trained once."""
    runs: dict[str, Any] = {}

    def run(architecture: str = "llama", **moe: Any) -> Any:
        key = f"{architecture} {moe}"
        if key not in runs:
            runs[key] = ranks.train(tmp_path_factory.mktemp("plain"), of(architecture, **moe), 1)
        return runs[key]

    return run


LEAN = [(0, 2, 2), (2, 2, 2)]
CASES = [
    pytest.param(stage, ep, world, marks=() if (stage, ep, world) in LEAN else pytest.mark.slow)
    for stage in (0, 1, 2)
    for ep, world in ((1, 1), (1, 2), (2, 2))
    if (stage, ep, world) != (0, 1, 1)
]


@pytest.mark.parametrize(("stage", "ep", "world"), CASES)
def test_it_trains_what_one_plain_rank_does(train, plain, stage, ep, world):
    reference = plain()

    result = train(of(stage=stage, ep=ep), world)

    assert result.losses == pytest.approx(reference.losses, rel=1e-4)
    assert result.grad_norms == pytest.approx(reference.grad_norms, rel=1e-4)


EXPORTED = [("llama", 2, 2, 2, 1), ("qwen3", 0, 2, 1, 2)]
EXPORTS = [
    pytest.param(*case, marks=() if case in EXPORTED else pytest.mark.slow)
    for case in [*EXPORTED, ("mistral", 1, 1, 3, 1), ("qwen3", 2, 2, 2, 2), ("llama", 0, 2, 2, 1)]
]


@pytest.mark.parametrize(("architecture", "stage", "ep", "top_k", "every"), EXPORTS)
def test_plain_transformers_computes_the_same_logits_from_the_export(train, architecture, stage, ep, top_k, every):
    result = train(of(architecture, stage, ep, top_k=top_k, every=every), 2)

    own = begun(result.run)
    own.load_state_dict(saved(result))
    assert largest_difference(exported(result), own.eval()) < 1e-5
    assert exported(result).config.model_type == {"qwen3": "qwen3_moe"}.get(architecture, "mixtral")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
@pytest.mark.parametrize("ep", [1, 2])
def test_the_weights_of_a_checkpoint_are_those_of_one_plain_rank(train, plain, stage, ep):
    reference = saved(plain())

    weights = saved(train(of(stage=stage, ep=ep), 2))

    assert list(weights) == list(reference) or set(weights) == set(reference)
    assert all((weights[name] - reference[name]).abs().max() < 1e-3 for name in reference)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("ep", [1, 2])
def test_in_bf16_an_export_has_the_fp32_weights_that_were_trained(train, stage, ep):
    result = train(of(stage=stage, ep=ep) | {"precision": "bf16"}, 2)

    weights = {name: weight for name, weight in saved(result).items() if "expert" in name}
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    for file in (result.run.checkpoints / "step-4").glob("layer_*_expert_*"):
        for name, rounded in torch.load(file).items():
            assert torch.equal(weights[name].bfloat16(), rounded)
            assert not torch.equal(weights[name], rounded.float())


def begun(run: Any) -> Any:
    """Returns the model that a run begins with, all experts on one rank."""
    spec = RunSpec.model_validate(read_record(run).resolved)
    model = load_model(spec.model, {"zero_optimization": {"stage": 0}}, spec.seed)
    assert spec.moe is not None
    add_experts(model, spec.moe, 1, 0, spec.seed)
    return model


def saved(result: Any) -> Any:
    """Returns the weights of the newest checkpoint, all experts beside each other."""
    return whole_weights(catalogue(result.run)[0][0])


def exported(result: Any) -> Any:
    """Returns what plain transformers makes of the export."""
    export_run(result.run, result.run.export)
    return AutoModelForCausalLM.from_pretrained(result.run.export).eval()


def largest_difference(model: Any, other: Any) -> float:
    tokens = torch.arange(64).reshape(2, 32)
    with torch.no_grad():
        return (model(tokens).logits - other(tokens).logits).abs().max().item()


def test_what_has_no_counterpart_trains_and_cannot_be_exported(train):
    result = train(of(every=2), 1)

    with pytest.raises(CheckpointError) as refused:
        export_run(result.run, result.run.export)

    assert [finding.code for finding in refused.value.findings] == ["ZT487"]
    assert not result.run.export.exists()


@pytest.mark.parametrize(
    "chosen", [{"residual": True, "top_k": 1}, pytest.param({"top_k": 3}, marks=pytest.mark.slow)], ids=str
)
def test_other_ways_to_route_train_what_one_plain_rank_does(train, plain, chosen):
    result = train(of(stage=1, ep=2, **chosen), 2)

    assert result.losses == pytest.approx(plain(**chosen).losses, rel=1e-4)
    assert result.grad_norms == pytest.approx(plain(**chosen).grad_norms, rel=1e-4)
    assert result.losses != pytest.approx(plain().losses, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "ep"), [(0, 2), (0, 4), (2, 2)])
def test_groups_that_hold_the_same_experts_divide_them(train, plain, stage, ep):
    result = train(of(stage=stage, ep=ep), 4)

    assert result.losses == pytest.approx(plain().losses, rel=1e-4)
    assert result.grad_norms == pytest.approx(plain().grad_norms, rel=1e-4)


def test_drops_are_those_of_one_plain_rank_with_the_same_micro_batches(train, plain):
    """The share that is dropped, too: capacities are counted in each micro-batch."""
    dropping = {"drop_tokens": True, "capacity_factor": 0.8, "noisy_gate": "jitter"}

    result = train(of(ep=2, **dropping), 2)

    reference = plain(**dropping)
    assert result.losses == pytest.approx(reference.losses, rel=1e-4)
    dropped, expected = ([row["dropped_tokens"] for row in run.rows("train")] for run in (result, reference))
    assert dropped == pytest.approx(expected, rel=0.02)
    assert all(0.2 < share < 0.8 for share in dropped)


NOISY = {"drop_tokens": True, "capacity_factor": 0.8, "noisy_gate": "jitter"}
DRAWN = {"drop_tokens": True, "top_k": 1, "noisy_gate": "rsample"}


@pytest.mark.parametrize(
    ("stage", "ep", "precision", "moe"),
    [
        (2, 2, "bf16", NOISY),
        pytest.param(0, 2, "fp32", NOISY, marks=pytest.mark.slow),
        pytest.param(0, 1, "fp32", NOISY, marks=pytest.mark.slow),
        pytest.param(1, 1, "bf16", DRAWN, marks=pytest.mark.slow),
        pytest.param(1, 2, "fp32", {}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_step_after_a_resume_is_bitwise_that_of_the_uninterrupted_run(train, ranks, stage, ep, precision, moe):
    long = {"horizon": "6 steps", "checkpoint.save_every": "3 steps", "precision": precision}
    result = train(of(stage=stage, ep=ep, **moe) | long, 2)
    first = [told(row) for row in result.rows("train")]
    shutil.rmtree(result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    assert [told(row) for row in again.rows("train") if row["attempt"] == 2] == first[3:]
    before, after = (row["metrics"] for row in again.rows("eval"))
    assert after == before


def told(row: dict[str, Any]) -> list[Any]:
    return [row[key] for key in ("step", "loss", "grad_norm", "router_loss", "dropped_tokens", "expert_load")]


@pytest.mark.parametrize("stage", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_each_rank_moves_its_own_experts_in_groups_of_their_own(train, stage):
    """Two of four experts with a rank, in each of two layers three matrices of 64 x 32; the rest with both."""
    result = train(of(stage=stage, ep=2), 2)

    one, other = (
        torch.load(file) for file in sorted((result.run.checkpoints / "step-4").glob("layer_0_expert_[02]_*"))
    )
    pairs = zip(one.values(), other.values(), strict=True)
    assert all((weight - beside).abs().mean() > 0.01 for weight, beside in pairs), "not reduced over both"
    if stage:
        files = sorted((result.run.checkpoints / "step-4").glob("*optim_states.pt"))
        held = [torch.load(file, weights_only=False)["optimizer_state_dict"] for file in files]
        sizes = [[part.numel() for part in states["single_partition_of_fp32_groups"]] for states in held]
        assert sizes[0] == sizes[1]
        assert [size for size in sizes[0] if size == 2 * 2 * 3 * 64 * 32] != [], "whole with each rank"
        assert len(sizes[0]) == 3, "decayed weights, experts, norms"


@pytest.mark.parametrize("stage", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_groups_of_parameters_move_as_on_one_rank(train, stage):
    changes = {"optimizer.groups": [{"match": "experts", "lr": 2e-2}, {"match": "gate", "weight_decay": 0.0}]}

    alone = train(of() | changes, 1)
    spread = train(of(stage=stage, ep=2) | changes, 2)

    assert spread.losses == pytest.approx(alone.losses, rel=1e-4)
    assert spread.grad_norms == pytest.approx(alone.grad_norms, rel=1e-4)


@pytest.mark.parametrize(
    "recomputing",
    ["full", pytest.param({"granularity": "selective", "parts": ["mlp"]}, marks=pytest.mark.slow)],
    ids=str,
)
def test_recomputing_layers_changes_neither_the_loss_nor_what_is_counted(train, plain, recomputing):
    weighty = {"aux_loss_weight": 1.0}

    result = train(of(stage=2, ep=2, **weighty) | {"activation_checkpointing": recomputing}, 2)

    assert result.losses == pytest.approx(plain(**weighty).losses, rel=1e-4)
    for row, expected in zip(result.rows("train"), plain(**weighty).rows("train"), strict=True):
        assert row["router_loss"] == pytest.approx(expected["router_loss"], rel=1e-3)
        assert row["router_z_loss"] == pytest.approx(expected["router_z_loss"], rel=1e-3)
        assert row["expert_load"] == pytest.approx(expected["expert_load"], rel=0.02)
        assert row["dropped_tokens"] == 0


def test_the_loss_of_the_routers_is_trained_beside_the_loss(plain):
    """An even load gives 1 for each of the two layers, and no other gives less."""
    weightless, weighty = plain(aux_loss_weight=0.0), plain(aux_loss_weight=1.0)

    assert weighty.losses[0] == weightless.losses[0]
    assert weighty.grad_norms[0] > 1.1 * weightless.grad_norms[0]
    assert all(row["router_loss"] == 0 for row in weightless.rows("train"))
    assert all(2 <= row["router_loss"] < 4 for row in weighty.rows("train"))
    uneven, even = (run.rows("train")[-1]["expert_load_max"] for run in (weightless, weighty))
    assert 1 <= even < uneven <= 4


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_frozen_weights_stay_and_are_exported(train, stage):
    changes = of(stage=stage, ep=2)
    changes["model"] |= {"freeze": ["self_attn"]}

    result = train(changes, 2)

    weights, begun_with = saved(result), begun(result.run).state_dict()
    same = {name for name in weights if torch.equal(weights[name], begun_with[name])}
    assert same == {name for name in weights if "self_attn" in name}
    exported(result)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_the_average_of_the_weights_is_exported(train, stage):
    result = train(of(stage=stage) | {"ema": {"decay": 0.5}}, 2)

    averaged = averaged_weights(catalogue(result.run)[0][0])
    own = begun(result.run)
    own.load_state_dict(averaged)
    assert largest_difference(exported(result), own.eval()) < 1e-5
    assert any((averaged[name] - weight).abs().max() > 1e-3 for name, weight in saved(result).items())


@pytest.mark.slow
def test_optimizer_states_on_the_host_change_nothing(train, plain):
    result = train(of(stage=2, ep=2) | {"zero.offload_optimizer": {"device": "cpu"}}, 2)

    assert result.losses == pytest.approx(plain().losses, rel=1e-4)


def test_documents_in_a_sample_are_hidden_from_each_other_though_tokens_are_dropped(train):
    """The look before the first step gives experts room: what is dropped would let documents see each other."""
    train(of(drop_tokens=True, eval_capacity_factor=0.3, min_capacity=0) | {"horizon": "1 steps"}, 1)


@pytest.mark.slow
def test_the_example_learns(ranks, cache, tmp_path):
    example = str(Path(__file__).parents[2] / "examples" / "moe_upcycled.yaml")

    result = ranks.start(tmp_path, [example, f"data.cache={cache}"], 2, name="moe_upcycled", seconds=600)

    assert result.losses[-1] < 0.85 * result.losses[0]
    assert (result.run.export / "model.safetensors").is_file()
