"""Documents packed into one sample do not see each other, and a model in which they do is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from zerotrain.data.batch import Batch
from zerotrain.engine.isolation import refuse_entangled, refuse_leaks
from zerotrain.errors import EngineError
from zerotrain.spec.task import MaskedLmTask
from zerotrain.tasks.base import TaskContext
from zerotrain.tasks.masked_lm import MaskedLm

BASE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99}
GROUPED = {**BASE, "num_key_value_heads": 2}
DECODERS: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 3},
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99, "bos_token_id": 0, "eos_token_id": 0},
    "mixtral": {**GROUPED, "num_local_experts": 4},
    "qwen3_moe": {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "deepseek_v3": {**BASE, "num_key_value_heads": 4, "n_routed_experts": 4, "moe_intermediate_size": 16}
    | {"first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
    | {"qk_nope_head_dim": 8, "v_head_dim": 8, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 1},
    "deepseek_v2": {**BASE, "num_key_value_heads": 4, "n_routed_experts": 4, "moe_intermediate_size": 16}
    | {"first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
    | {"qk_nope_head_dim": 8, "v_head_dim": 8, "num_experts_per_tok": 1},
}


def model(architecture: str, attention: str) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **DECODERS[architecture])
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", DECODERS)
def test_logits_of_a_document_alone_are_its_logits_in_a_pack(architecture, attention):
    built = model(architecture, attention)
    ids = torch.randint(99, (2, 24))
    borders = (9, 15)
    positions = torch.stack([torch.cat([torch.arange(border), torch.arange(24 - border)]) for border in borders])

    with torch.no_grad():
        packed = built(input_ids=ids, position_ids=positions, use_cache=False).logits
        alone = [built(input_ids=ids[i : i + 1, b:], use_cache=False).logits[0] for i, b in enumerate(borders)]

    for row, border in enumerate(borders):
        torch.testing.assert_close(packed[row, border:], alone[row], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("architecture", DECODERS)
def test_no_known_architecture_leaks(architecture):
    built = model(architecture, "sdpa")

    refuse_leaks(
        lambda ids, positions: built(input_ids=ids, position_ids=positions, use_cache=False).logits,
        99,
        torch.device("cpu"),
    )


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_model_that_does_not_look_at_positions_is_refused(architecture):
    built = model(architecture, "sdpa")

    with pytest.raises(EngineError, match="ZT807 leaking-documents") as refused:
        refuse_leaks(
            lambda ids, positions: built(input_ids=ids, use_cache=False).logits,
            99,
            torch.device("cpu"),
        )

    assert refused.value.findings[0].place.key == "data.packing"


def test_an_encoder_that_ignores_the_mask_between_documents_is_refused() -> None:
    config = AutoConfig.for_model("bert", **BASE, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    torch.manual_seed(0)
    encoder = AutoModelForMaskedLM.from_config(config).eval()
    task = MaskedLm(TaskContext(MaskedLmTask(type="masked_lm")))
    refuse_entangled(lambda arrays: task.logits(encoder, Batch(arrays)), 99, torch.device("cpu"))

    for ignored in ("segment_ids", "position_ids"):
        values = {"segment_ids": torch.zeros(1, 16, dtype=torch.long), "position_ids": torch.arange(16)[None]}

        def broken(arrays: Mapping[str, torch.Tensor]) -> torch.Tensor:
            given = {**arrays, ignored: values[ignored]} if ignored in arrays else arrays  # noqa: B023
            return task.logits(encoder, Batch(given))

        with pytest.raises(EngineError, match="ZT674"):
            refuse_entangled(broken, 99, torch.device("cpu"))
