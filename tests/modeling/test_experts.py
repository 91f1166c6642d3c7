"""Experts in the place of feed-forward layers: what they begin as, and what depends on what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.errors import EngineError
from zerotrain.modeling.experts import add_experts, balance_loss, layers_with_experts, with_room_for_all
from zerotrain.modeling.load import load_model
from zerotrain.modeling.routers import expert_layers
from zerotrain.spec.model import ModelSpec
from zerotrain.spec.moe import MoeSpec

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
SIZES |= {"num_key_value_heads": 2}
TOKENS = torch.arange(48).reshape(2, 24)


def dense(architecture: str = "llama", pretrained: str | None = None) -> Any:
    spec = ModelSpec(pretrained=pretrained) if pretrained else ModelSpec(architecture=architecture, config=SIZES)
    return load_model(spec, {"zero_optimization": {"stage": 0}}, seed=1).eval()


def sparse(ep: int = 1, place: int = 0, seed: int = 1, pretrained: str | None = None, **moe: Any) -> Any:
    model = dense(pretrained=pretrained)
    add_experts(model, MoeSpec.model_validate({"experts": 4} | moe), ep, place, seed)
    return model.eval()


def experts(model: Any, layer: int = 0) -> list[torch.Tensor]:
    """Returns all weights of each expert of a layer."""
    inside = model.model.layers[layer].mlp.deepspeed_moe.experts.deepspeed_experts
    return [torch.cat([weight.flatten() for weight in expert.parameters()]).detach() for expert in inside]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.fixture
def folder(tmp_path: Any) -> str:
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES)).save_pretrained(tmp_path / "weights")
    return str(tmp_path / "weights")


@pytest.mark.parametrize("is_pretrained", [False, True])
def test_every_expert_is_drawn_by_itself(folder: str, is_pretrained: bool) -> None:
    model = sparse(pretrained=folder if is_pretrained else None)

    drawn = [*experts(model, 0), *experts(model, 1)]
    for place, expert in enumerate(drawn):
        assert all((expert - other).abs().mean() > 0.01 for other in drawn[:place])
        assert expert.std().item() == pytest.approx(0.02, rel=0.05)


def test_a_rank_draws_the_experts_of_its_place() -> None:
    whole, first, second = (experts(sparse(ep, place)) for ep, place in ((1, 0), (2, 0), (2, 1)))

    assert all(torch.equal(one, other) for one, other in zip(whole, [*first, *second], strict=True))


def test_another_seed_draws_others() -> None:
    assert not torch.equal(experts(sparse())[0], experts(sparse(seed=2))[0])


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("top_k", [2, 3])
def test_upcycled_it_begins_as_the_dense_model(top_k: int, residual: bool) -> None:
    model = sparse(init="upcycled", top_k=top_k, residual=residual)

    assert (logits(model) - logits(dense())).abs().max().item() < 1e-6


def test_upcycled_from_weights_it_begins_as_they_do(folder: str) -> None:
    model = sparse(pretrained=folder, init="upcycled")

    assert (logits(model) - logits(dense(pretrained=folder))).abs().max().item() < 1e-6


def test_with_one_expert_for_each_token_it_does_not() -> None:
    assert (logits(sparse(init="upcycled", top_k=1)) - logits(dense())).abs().max().item() > 1e-3


@pytest.mark.parametrize(("every", "layers"), [(1, [0, 1]), (2, [1])])
def test_every_so_many_th_layer_has_experts(every: int, layers: list[int]) -> None:
    model = sparse(every=every)

    assert list(layers_with_experts(model)) == [f"model.layers.{layer}.mlp" for layer in layers]
    assert list(expert_layers(model)) == [f"model.layers.{layer}.mlp.deepspeed_moe" for layer in layers]


def test_an_evaluation_draws_nothing() -> None:
    model = sparse(drop_tokens=True, noisy_gate="jitter", eval_capacity_factor=0.5)

    assert torch.equal(logits(model), logits(model))


def test_what_is_dropped_depends_on_the_others_unless_there_is_room_for_all() -> None:
    model = sparse(drop_tokens=True, eval_capacity_factor=0.5)
    alone = model(TOKENS[:1]).logits

    assert (logits(model)[:1] - alone).abs().max().item() > 1e-3
    with with_room_for_all(model):
        assert (logits(model)[:1] - model(TOKENS[:1]).logits).abs().max().item() < 1e-6
    assert torch.equal(model(TOKENS[:1]).logits, alone), "the capacities are back"


def test_the_loss_of_the_routers_is_summed_over_the_layers() -> None:
    model, weightless = sparse(aux_loss_weight=0.5), sparse(aux_loss_weight=0.0)
    logits(model), logits(weightless)

    single = [layer.deepspeed_moe.l_aux for layer in layers_with_experts(model).values()]
    loss = balance_loss(model)
    assert loss is not None
    assert loss.item() == pytest.approx(0.5 * sum(part.item() for part in single))
    assert balance_loss(weightless) is None
    assert balance_loss(dense()) is None


@pytest.mark.parametrize(("architecture", "moe", "code"), [("gpt2", {}, "ZT478"), ("llama", {"every": 3}, "ZT482")])
def test_what_could_not_be_checked_before_is_refused(architecture: str, moe: dict[str, Any], code: str) -> None:
    config = AutoConfig.for_model(architecture, **({} if architecture == "gpt2" else SIZES))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)

    with pytest.raises(EngineError) as refused:
        add_experts(model, MoeSpec.model_validate({"experts": 4} | moe), 1, 0, 1)

    assert [finding.code for finding in refused.value.findings] == [code]
