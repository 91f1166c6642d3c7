"""Layers with experts compute what the spec asks for, or the run stops."""

from __future__ import annotations

LOOK = """
import deepspeed
from transformers import AutoConfig, AutoModelForCausalLM
from zerotrain.engine.experts import refuse_other_experts
from zerotrain.errors import EngineError
from zerotrain.modeling.experts import add_experts
from zerotrain.modeling.groups import for_optimizer, trained_groups
from zerotrain.spec.moe import MoeSpec
from zerotrain.spec.training import AdamWSpec

given = MoeSpec(experts=4, drop_tokens=True, noisy_gate="jitter")
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 9}
model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", num_key_value_heads=4, **sizes))
add_experts(model, given, 1, 0, seed=1)
optimizer = AdamWSpec(type="adamw", lr=0.1, weight_decay=0.1)
groups = for_optimizer(model, trained_groups(model, optimizer))
config = {"train_micro_batch_size_per_gpu": 1, "optimizer": {"type": "AdamW", "params": {"lr": 0.1}}}
engine, *_ = deepspeed.initialize(model=model, model_parameters=groups, config=config)

def told(moe, ep=1):
    try:
        refuse_other_experts(engine, moe, ep)
        return []
    except EngineError as refused:
        return [finding.place.key for finding in refused.findings]

layer = model.model.layers[1].mlp
"""


def test_layers_as_given_are_in_order(ranks, tmp_path):
    output = ranks.script(
        tmp_path, LOOK + "print('TOLD', told(given))\nprint([g['name'] for g in engine.optimizer.param_groups])"
    )

    assert "TOLD []" in output
    assert "['group0', 'ep_size_1', 'group1']" in output


def test_every_difference_in_any_layer_is_told_once(ranks, tmp_path):
    changes = """
gate = layer.deepspeed_moe.gate
gate.k, gate.capacity_factor, gate.eval_capacity_factor, gate.min_capacity = 1, 9.0, 9.0, 9
gate.noisy_gate_policy, gate.drop_tokens, gate.use_rts, gate.top2_2nd_expert_sampling = "RSample", False, True, True
layer.use_residual, layer.aux_loss_weight = True, 9.0
print("TOLD", " ".join(told(given)))
"""

    output = ranks.script(tmp_path, LOOK + changes)

    told = set(output.split("TOLD ")[1].splitlines()[0].split())
    fields = (
        "top_k",
        "capacity_factor",
        "eval_capacity_factor",
        "min_capacity",
        "noisy_gate",
        "drop_tokens",
        "residual",
    )
    fields += ("aux_loss_weight", "use_rts", "top2_2nd_expert_sampling")
    assert told == {f"moe.{field}" for field in fields}


def test_experts_elsewhere_or_spread_otherwise_are_told(ranks, tmp_path):
    other = 'MoeSpec(experts=8, every=2, drop_tokens=True, noisy_gate="jitter")'

    output = ranks.script(tmp_path, LOOK + f"print('TOLD', told({other}, ep=2))")

    assert "TOLD ['moe.every', 'moe.experts', 'moe.expert-parallel ranks']" in output
