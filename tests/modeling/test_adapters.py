"""An adapter beside frozen weights: what is trained, where it starts, and what is saved."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.checkpoint.frozen import frozen_checksum
from zerotrain.errors import EngineError
from zerotrain.modeling.adapters import adapted_layers, add_adapter, without_adapter
from zerotrain.spec.model import AdapterSpec, ModelSpec

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99, "bos_token_id": 0, "eos_token_id": 0}
TOKENS = torch.arange(20)[None]


def built(architecture: str = "llama", seed: int = 1, **adapter: Any) -> Any:
    torch.manual_seed(0)
    config = {"llama": SIZES, "gpt2": GPT2}.get(architecture, SIZES)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **config, tie_word_embeddings=True))
    torch.manual_seed(torch.randint(1000, ()).item() + seed)
    spec = ModelSpec(architecture=architecture, adapter=AdapterSpec(**{"type": "lora", "rank": 4, **adapter}))
    add_adapter(model, spec, "causal_lm", seed, {"zero_optimization": {"stage": 0}})
    return model.eval()


@pytest.mark.parametrize("kind", ["lora", "dora"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_new_adapter_changes_nothing(architecture, kind):
    model = built(architecture, type=kind)

    with torch.no_grad(), without_adapter(model):
        before = model(TOKENS).logits
    with torch.no_grad():
        assert (model(TOKENS).logits - before).abs().max() < 1e-5
    assert adapted_layers(model)


def test_its_initial_weights_are_a_function_of_the_seed_and_their_names():
    first, same, other = built(seed=1), built(seed=1), built(seed=2)
    layers = [adapted_layers(model) for model in (first, same, other)]
    downs = [{name: layer.lora_A["default"].weight for name, layer in found.items()} for found in layers]

    assert all(torch.equal(downs[0][name], downs[1][name]) for name in downs[0])
    assert not any(torch.equal(downs[0][name], downs[2][name]) for name in downs[0])
    queries = [weight for name, weight in downs[0].items() if name.endswith("q_proj")]
    assert not torch.equal(*queries)
    assert all(weight.abs().max() <= weight.shape[1] ** -0.5 for weight in downs[0].values())


def test_without_its_adapter_a_model_computes_as_before_and_the_adapter_stays_trainable():
    model = built()
    with torch.no_grad():
        before = model(TOKENS).logits
        for layer in adapted_layers(model).values():
            layer.lora_B["default"].weight.fill_(0.5)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}

        with without_adapter(model):
            assert torch.equal(model(TOKENS).logits, before)
            assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == trained

        assert (model(TOKENS).logits - before).abs().max() > 0.1


def test_what_is_frozen_is_not_in_the_state_not_even_under_a_second_name():
    state = built().state_dict()

    assert state
    assert all("lora_" in name for name in state)


def test_a_checksum_of_frozen_weights_sees_one_bit_and_not_the_adapter():
    model = built()
    before = frozen_checksum(model)

    adapted_layers(model)["model.layers.0.self_attn.q_proj"].lora_B["default"].weight.data.fill_(1.0)
    assert frozen_checksum(model) == before
    model.model.norm.weight.data[3] += 1e-6
    assert frozen_checksum(model) != before


def test_a_name_that_matches_nothing_in_an_architecture_no_check_knows_is_refused():
    with pytest.raises(EngineError, match=r"ZT740 unmatched-module: `c_attn` is no module of the model"):
        built("olmo", target_modules=["c_attn"])
