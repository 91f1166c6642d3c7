"""The models the truth table trains: each tiny, and what some section of a config is about."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from deepspeed.moe.layer import MoE
from deepspeed.moe.utils import has_moe_layers, split_params_into_different_moe_groups_for_optimizer
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM
from transformers.modeling_outputs import CausalLMOutput

TOKENS, VOCABULARY, HIDDEN = 8, 32, 16
EXPERTS = 12
"""What every number of ranks up to 4 divides."""
SIZES: Mapping[str, int] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "vocab_size": VOCABULARY,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": TOKENS,
}


class WithMoeLayer(torch.nn.Module):
    """A language model of one layer of DeepSpeed's own experts, on as many ranks as an even number of them allows."""

    def __init__(self) -> None:
        super().__init__()
        expert = torch.nn.Sequential(torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, HIDDEN))
        shared = 1 if int(os.environ.get("WORLD_SIZE", "1")) % 2 else 2
        self.embedding = torch.nn.Embedding(VOCABULARY, HIDDEN)
        self.experts = MoE(HIDDEN, expert, num_experts=EXPERTS, ep_size=shared, min_capacity=0)
        self.head = torch.nn.Linear(HIDDEN, VOCABULARY)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> CausalLMOutput:
        hidden, balance, _ = self.experts(self.embedding(input_ids))
        scores = self.head(hidden)
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1).float(), labels.flatten())
        return CausalLMOutput(loss=loss + 0.01 * balance)


def llama() -> torch.nn.Module:
    """Returns a model every section of a config has something to do with: one DeepSpeed can divide by itself."""
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def mixtral() -> torch.nn.Module:
    return MixtralForCausalLM(MixtralConfig(**SIZES, num_local_experts=EXPERTS, num_experts_per_tok=2))


def lora() -> torch.nn.Module:
    """Returns the same model as `llama`, frozen, with a few weights beside it that are trained."""
    return get_peft_model(llama(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))


MODELS: Mapping[str, Callable[[], torch.nn.Module]] = {
    "llama": llama,
    "mixtral": mixtral,
    "moe layer": WithMoeLayer,
    "lora": lora,
}


def groups_with_experts(model: torch.nn.Module, ranks: object) -> list[Any]:
    """Returns the groups of an optimizer whose experts DeepSpeed is to spread over so many ranks."""
    experts = [parameter for name, parameter in model.named_parameters() if ".experts." in name]
    others = [parameter for name, parameter in model.named_parameters() if ".experts." not in name]
    return [{"params": others}, {"params": experts, "moe": True, "name": f"ep_size_{ranks}"}]


def trained(model: torch.nn.Module) -> list[Any]:
    """Returns what a script hands over to be trained: parameters, or groups for the sake of DeepSpeed's experts."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not has_moe_layers(model)[0]:
        return parameters
    return split_params_into_different_moe_groups_for_optimizer({"params": parameters, "name": "all"})
