"""The blocks with experts are those of the real models."""

from __future__ import annotations

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from zerotrain.arch.describe import architectures, model_shape, supported_heads
from zerotrain.arch.sparse import EXPERT_BLOCKS

transformers.logging.set_verbosity_error()

CHOSEN = {"deepseek_v2": {"num_experts_per_tok": 2}}


@pytest.mark.parametrize("architecture", [name for name in architectures() if "causal_lm" in supported_heads(name)])
def test_a_model_with_experts_has_them_in_the_block_that_is_named(architecture: str) -> None:
    config = CHOSEN.get(architecture, {})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **config))

    blocks = {
        f"{type(block).__module__}.{type(block).__qualname__}"
        for block in model.modules()
        # Experts are stacked: their weights have an axis more than any other matrix.
        if any(parameter.ndim == 3 for child in block.children() for parameter in child.parameters(recurse=False))
    }

    assert blocks == ({EXPERT_BLOCKS[architecture]} if architecture in EXPERT_BLOCKS else set())
    assert (model_shape(architecture, config).experts is not None) == (architecture in EXPERT_BLOCKS)
