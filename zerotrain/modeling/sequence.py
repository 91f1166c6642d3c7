"""Sequences divided over ranks: each has a stretch of every sample, and for attention some heads of all of it."""

from __future__ import annotations

from typing import Any

import deepspeed.runtime.sequence_parallel.parallel_state_sp as sequence_groups
import torch
from deepspeed.runtime.sequence_parallel.ulysses_sp import UlyssesSPAttentionHF
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def divide_attention(model: PreTrainedModel, sp: int) -> Any:
    """Lets attention exchange heads for stretches with the ranks of its group; returns what DeepSpeed takes as `mpu`.

    This is DeepSpeed-Ulysses (Jacobs et al., arXiv 2309.14509) by `UlyssesSPAttentionHF`. Its own registration drops
    every mask (`uattn_wrapper` in runtime/sequence_parallel/ulysses_sp.py), so that with `sdpa` packed documents would
    see each other, and windows would be ignored; here the mask is made from the positions of the whole sample.
    Attention of this kind is replaced in the whole process. All ranks must call this.
    """
    sequence_groups.initialize_sequence_parallel(sequence_parallel_size=sp)
    kind = model.config._attn_implementation
    core = ALL_ATTENTION_FUNCTIONS[kind]
    exchanges: dict[int, UlyssesSPAttentionHF] = {}

    def attend(module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _: Any, **options: Any) -> Any:
        samples = query.shape[0]
        if samples not in exchanges:
            exchanges[samples] = _exchange(model, samples, _masked(core) if kind == "sdpa" else core)
        return exchanges[samples](module, query, key, value, None, **options)

    ALL_ATTENTION_FUNCTIONS[kind] = attend
    return sequence_groups


def _exchange(model: PreTrainedModel, samples: int, core: Any) -> UlyssesSPAttentionHF:
    config, group = model.config.get_text_config(), sequence_groups.get_sequence_parallel_group()
    heads = config.num_attention_heads
    return UlyssesSPAttentionHF(
        attn=core,
        batch_size=samples,
        attn_head_count=heads,
        attn_head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        kv_head_count=config.num_key_value_heads,
        num_hidden_layers=config.num_hidden_layers,
        process_group=group,  # type: ignore[arg-type]
        seq_length_is_variable=True,
    )


def _masked(core: Any) -> Any:
    def attend(module: Any, query: Any, key: Any, value: Any, _: Any, *, position_ids: Any, **options: Any) -> Any:
        mask = visible(position_ids, options.get("sliding_window"))
        return core(module, query, key, value, mask, position_ids=position_ids, **options)

    return attend


def visible(position_ids: torch.Tensor, window: int | None = None) -> torch.Tensor | None:
    """Returns which tokens a token sees, [samples, 1, length, length], or None when it is all before it.

    Positions [samples, length] start at 0 in every document. A window counts the token itself.
    """
    samples, length = position_ids.shape
    begins = position_ids == 0
    if window is None and int(begins.sum()) == samples:
        return None
    places = torch.arange(length, device=position_ids.device)
    distance = places[:, None] - places[None, :]
    seen = (distance >= 0) & (distance < (window or length))
    documents = begins.cumsum(1)
    return (documents[:, :, None] == documents[:, None, :])[:, None] & seen
