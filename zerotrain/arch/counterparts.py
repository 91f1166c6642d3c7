"""Which published architecture a dense decoder with experts is an instance of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from zerotrain.arch.describe import shape_problems
from zerotrain.arch.families import FAMILIES
from zerotrain.arch.family import Config, key_value_heads
from zerotrain.arch.tensors import ACTIVATIONS

if TYPE_CHECKING:
    from zerotrain.spec.moe import MoeSpec


class Counterpart(NamedTuple):
    """An architecture of transformers whose layers compute what DeepSpeed's do."""

    architecture: str
    keys: Callable[[Config, MoeSpec], dict[str, Any]]
    """Returns the keys of its config that the dense one does not have."""
    missing: Callable[[Config, MoeSpec], Iterator[str]]
    """Yields what it does not have of a dense config and its experts."""


def _mixtral_keys(config: Config, moe: MoeSpec) -> dict[str, Any]:
    sizes = {"num_local_experts": moe.experts, "num_experts_per_tok": moe.top_k}
    return sizes | {"sliding_window": config.get("sliding_window")}


def _mixtral_lacks(config: Config, moe: MoeSpec) -> Iterator[str]:
    if moe.every > 1:
        yield f"experts in some layers alone (`every: {moe.every}`)"
    if moe.top_k == 1:
        yield "a single expert for each token (`top_k: 1`), which counts by its probability"
    for key in ("attention_bias", "mlp_bias"):
        if config.get(key):
            yield f"`{key}`"


def _qwen3_moe_keys(config: Config, moe: MoeSpec) -> dict[str, Any]:
    return {
        "num_experts": moe.experts,
        "num_experts_per_tok": moe.top_k,
        "moe_intermediate_size": config["intermediate_size"],
        "decoder_sparse_step": moe.every,
        "mlp_only_layers": [],
        # DeepSpeed makes the probabilities of several experts sum to 1, and leaves that of a single one as it is.
        "norm_topk_prob": moe.top_k > 1,
    }


def _qwen3_moe_lacks(config: Config, moe: MoeSpec) -> Iterator[str]:
    if config["use_sliding_window"] or "sliding_attention" in (config["layer_types"] or ()):
        yield "a sliding window in some layers alone"


_MIXTRAL = Counterpart("mixtral", _mixtral_keys, _mixtral_lacks)

COUNTERPARTS: Mapping[str, Counterpart] = {
    "llama": _MIXTRAL,
    "mistral": _MIXTRAL,
    "qwen3": Counterpart("qwen3_moe", _qwen3_moe_keys, _qwen3_moe_lacks),
}
"""By dense architecture; a qwen2_moe has a shared expert in every layer, which `moe` has not."""


def published_config(architecture: str, config: Mapping[str, Any], moe: MoeSpec) -> tuple[str, dict[str, Any]]:
    """Returns the counterpart's architecture and its config; there are no `obstacles`."""
    counterpart, settled = COUNTERPARTS[architecture], FAMILIES[architecture].settle(config)
    family = FAMILIES[counterpart.architecture]
    known = {key: value for key, value in settled.items() if key in {**family.keys, **family.extra_keys}}
    known["num_key_value_heads"] = key_value_heads(settled)
    return counterpart.architecture, known | counterpart.keys(settled, moe)


def obstacles(architecture: str, config: Mapping[str, Any], moe: MoeSpec) -> list[str]:
    """Returns what keeps a dense decoder with experts from being published, in words; nothing when it can be."""
    if architecture not in COUNTERPARTS:
        return [f"no architecture of transformers is a `{architecture}` with experts"]
    counterpart, settled = COUNTERPARTS[architecture], FAMILIES[architecture].settle(config)
    name = counterpart.architecture
    missing = list(counterpart.missing(settled, moe))
    missing += ["a dense layer beside the experts (`residual`)"] if moe.residual else []
    missing += [f"weights in `{settled['hidden_act']}`"] if ACTIVATIONS[settled["hidden_act"]] else []
    if missing:
        return [f"a `{name}` has not: {what}" for what in missing]
    problems = shape_problems(*published_config(architecture, config, moe))
    return [f"as a `{name}`: {problem.message}" for problem in problems]
