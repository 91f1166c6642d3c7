"""Initial weights depend on the seed and the place in the model, and on nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.modeling.initialize import derived_seed, initialize_weights

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
GROUPED = {**SIZES, "num_key_value_heads": 2}
DECODERS: dict[str, dict[str, Any]] = {
    "llama": {**GROUPED, "pad_token_id": 3, "attention_bias": True},
    "mistral": GROUPED,
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99, "bos_token_id": 0, "eos_token_id": 0},
    "mixtral": {**GROUPED, "num_local_experts": 4},
    "qwen3_moe": {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "deepseek_v3": {**SIZES, "num_key_value_heads": 4, "n_routed_experts": 4, "moe_intermediate_size": 16}
    | {"first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
    | {"qk_nope_head_dim": 8, "v_head_dim": 8, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 1},
    "deepseek_v2": {**SIZES, "num_key_value_heads": 4, "n_routed_experts": 4, "moe_intermediate_size": 16}
    | {"first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
    | {"qk_nope_head_dim": 8, "v_head_dim": 8, "num_experts_per_tok": 1},
}


def model(architecture: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **DECODERS[architecture]))


@pytest.mark.parametrize("architecture", DECODERS)
def test_every_parameter_is_initialized(architecture):
    """Nothing is left of what was in memory before."""
    built = model(architecture)
    for tensor in [*built.parameters(), *(b for b in built.buffers() if b.is_floating_point())]:
        tensor.data.fill_(float("nan"))

    initialize_weights(built, seed=1)

    unset = [name for name, parameter in built.named_parameters() if not torch.isfinite(parameter).all()]
    assert unset == []


@pytest.mark.parametrize("architecture", DECODERS)
def test_the_scale_is_that_of_the_architectures_own_rules(architecture):
    ours, theirs = model(architecture), model(architecture, seed=5)

    initialize_weights(ours, seed=1)

    for (name, own), usual in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if own.numel() > 500:
            assert own.std().item() == pytest.approx(usual.std().item(), rel=0.15), name


def test_the_state_of_torchs_generator_does_not_matter_but_the_seed_does():
    first, second, other = (model("llama", seed) for seed in (0, 9, 0))

    initialize_weights(first, seed=1)
    torch.randn(1000)
    initialize_weights(second, seed=1)
    initialize_weights(other, seed=2)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_layers_start_from_different_weights():
    built = model("llama")

    initialize_weights(built, seed=1)

    layers = built.model.layers
    assert not torch.equal(layers[0].mlp.up_proj.weight, layers[1].mlp.up_proj.weight)


def test_gpt2_scales_its_residual_projections_by_the_depth():
    built = model("gpt2")

    initialize_weights(built, seed=1)

    block = built.transformer.h[0]
    assert block.mlp.c_proj.weight.std().item() == pytest.approx(0.02 / (2 * 2) ** 0.5, rel=0.1)
    assert block.mlp.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_derived_seed_is_one_torch_takes_and_differs_from_place_to_place():
    seeds = {derived_seed(1, "a"), derived_seed(1, "b"), derived_seed(2, "a"), derived_seed(1, "a", 3)}

    assert len(seeds) == 4
    assert derived_seed(1, "a") == derived_seed(1, "a")
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mixtral", "deepseek_v2", "deepseek_v3"])
def test_stage_3_partitions_the_very_same_weights_and_keeps_rotary_frequencies_exact(ranks, tmp_path, architecture):
    """Under `zero.Init` DeepSpeed would build them in bf16, and with them rotary frequencies."""
    output = ranks.script(
        tmp_path,
        f"""
        import contextlib, hashlib, torch, deepspeed
        from zerotrain.modeling.load import load_model
        from zerotrain.spec.model import ModelSpec

        def fingerprint(stage):
            config = {{"train_micro_batch_size_per_gpu": 1, "bf16": {{"enabled": True}},
                      "zero_optimization": {{"stage": stage}}}}
            spec = ModelSpec(architecture={architecture!r}, config={DECODERS[architecture]!r})
            model = load_model(spec, config, seed=7)
            parameters = list(model.parameters())
            gather = deepspeed.zero.GatheredParameters(parameters) if stage == 3 else contextlib.nullcontext()
            digest = hashlib.sha256()
            with gather:
                for tensor in parameters:
                    digest.update(tensor.detach().bfloat16().float().numpy().tobytes())
            for tensor in model.buffers():
                digest.update(tensor.double().numpy().tobytes())
            return digest.hexdigest()

        print("SAME", fingerprint(0) == fingerprint(3))
        """,
        ranks=2,
    )

    assert output.count("SAME True") == 2, output
