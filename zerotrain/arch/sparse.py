"""Models whose layers have a router and experts."""

from __future__ import annotations

from collections.abc import Mapping

EXPERT_BLOCKS: Mapping[str, str] = {
    "mixtral": "transformers.models.mixtral.modeling_mixtral.MixtralSparseMoeBlock",
    "qwen3_moe": "transformers.models.qwen3_moe.modeling_qwen3_moe.Qwen3MoeSparseMoeBlock",
    "deepseek_v2": "transformers.models.deepseek_v2.modeling_deepseek_v2.DeepseekV2Moe",
    "deepseek_v3": "transformers.models.deepseek_v3.modeling_deepseek_v3.DeepseekV3MoE",
}
"""By architecture the class of transformers in which a router stands beside its experts."""
