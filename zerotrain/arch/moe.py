"""Decoders with experts. transformers 5 keeps the experts of a layer in two tensors whose first axis is the expert."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zerotrain.arch.dense import (
    DECODER_HEADS,
    ROTARY_EXTRA_KEYS,
    UNDECLARED_HEAD_DIM,
    decoder_blueprint,
    decoder_dimensions,
    decoder_keys,
    decoder_layer,
    gated_mlp,
    grouped_attention,
)
from zerotrain.arch.family import (
    ANYTHING,
    FLAG,
    TEXT,
    WHOLE,
    WHOLES,
    Config,
    Dimensions,
    Family,
    Finding,
    Key,
    Relation,
    decimal,
    flag,
    optional,
    size,
    special_tokens,
)
from zerotrain.arch.relations import (
    DECODER_RELATIONS,
    HEADS_DIVIDE_HIDDEN_SIZE,
    PADDING_IN_VOCABULARY,
    ROTARY_PARAMETERS,
)
from zerotrain.arch.tensors import Blueprint, Experts, Tensors, activation, join, linear, scale, within

# `torch.nn.functional.grouped_mm`, which computes experts unless `experts_implementation` says otherwise, wants rows of
# whole 16 bytes: multiples of 4 in fp32, of 8 in 16-bit formats. What fp32 refuses is refused by all.
GROUPED_MULTIPLE = 4

Pattern = Callable[[Config], tuple[str, ...]]
"""The kind of each layer."""


def _experts(config: Config, number: int, inner: int) -> Tensors:
    width = config["hidden_size"]
    stacks: Tensors = {"gate_up_proj": (number, 2 * inner, width), "down_proj": (number, width, inner)}
    return within("experts.", join((stacks, activation("act_fn", config["hidden_act"]))))


def _expert_parameters(config: Config, inner: int) -> int:
    return 3 * config["hidden_size"] * inner


def _where_sparse(pattern: Pattern, find: Callable[[Config], Finding | None]) -> Callable[[Config], Finding | None]:
    return lambda config: find(config) if "moe" in pattern(config) else None


def _expert_relations(number: str, inner: str, pattern: Pattern, layout: tuple[str, ...]) -> tuple[Relation, ...]:
    def too_many(config: Config) -> Finding | None:
        chosen, available = config["num_experts_per_tok"], config[number]
        if chosen is None:
            return Finding("`num_experts_per_tok` is not set, and has no default", "say how many experts a token meets")
        if chosen <= available:
            return None
        return Finding(f"`num_experts_per_tok` {chosen} is more than `{number}` {available}")

    def misaligned(config: Config) -> Finding | None:
        name = next((name for name in (inner, "hidden_size") if config[name] % GROUPED_MULTIPLE), None)
        if name is None or config.get("experts_implementation") not in (None, "grouped_mm"):
            return None
        fact = f"`{name}` {config[name]} is not a multiple of {GROUPED_MULTIPLE}, as the product of experts needs"
        help = "use a multiple of 8, which 16-bit formats need, or set `experts_implementation: eager`"
        return Finding(fact, help, name)

    return (
        Relation(("num_experts_per_tok", number, *layout), _where_sparse(pattern, too_many)),
        Relation((inner, "hidden_size", number, *layout), _where_sparse(pattern, misaligned)),
    )


def _mixtral_pattern(config: Config) -> tuple[str, ...]:
    return ("moe",) * config["num_hidden_layers"]


def _mixtral_blueprint(config: Config, head: str) -> Blueprint:
    number, inner = config["num_local_experts"], config["intermediate_size"]
    mlp = linear("gate", config["hidden_size"], number) | _experts(config, number, inner)
    layer = decoder_layer(config, grouped_attention(config), mlp)
    experts = Experts("moe", number, config["num_experts_per_tok"], _expert_parameters(config, inner))
    return decoder_blueprint(config, head, {"moe": layer}, _mixtral_pattern(config), experts)


MIXTRAL = Family(
    keys={
        **decoder_keys(vocab=32_000, hidden=4096, inner=14_336, layers=32, heads=32, kv_heads=8),
        **special_tokens(bos=1, eos=2),
        "intermediate_size": size(14_336),
        "rms_norm_eps": decimal(1e-5),
        "max_position_embeddings": size(131_072),
        "head_dim": size(None),
        "sliding_window": size(None),
        "num_experts_per_tok": size(2),
        "num_local_experts": size(8),
        "output_router_logits": flag(False),
        "router_aux_loss_coef": decimal(0.001),
        "router_jitter_noise": decimal(0.0),
    },
    extra_keys=ROTARY_EXTRA_KEYS,
    aliases={"num_experts": "num_local_experts"},
    heads=DECODER_HEADS,
    dimensions=decoder_dimensions,
    blueprint=_mixtral_blueprint,
    relations=(
        *DECODER_RELATIONS,
        *_expert_relations("num_local_experts", "intermediate_size", _mixtral_pattern, ("num_hidden_layers",)),
    ),
)


def _qwen3_moe_pattern(config: Config) -> tuple[str, ...]:
    dense: set[int] = set(config["mlp_only_layers"] or ())
    step, number = config["decoder_sparse_step"], config["num_experts"]

    def kind(index: int) -> str:
        return "moe" if index not in dense and number > 0 and (index + 1) % step == 0 else "dense"

    return tuple(kind(index) for index in range(config["num_hidden_layers"]))


def _qwen3_moe_blueprint(config: Config, head: str) -> Blueprint:
    number, inner, bias = config["num_experts"], config["moe_intermediate_size"], config["attention_bias"]
    attention = grouped_attention(config, bias=bias, output_bias=bias, query_key_norm=True)
    router = linear("gate", config["hidden_size"], number)
    kinds = {
        "dense": decoder_layer(config, attention, gated_mlp(config, config["intermediate_size"])),
        "moe": decoder_layer(config, attention, _experts(config, number, inner) | router),
    }
    experts = Experts("moe", number, config["num_experts_per_tok"], _expert_parameters(config, inner))
    return decoder_blueprint(config, head, kinds, _qwen3_moe_pattern(config), experts)


_QWEN3_MOE_LAYOUT = ("decoder_sparse_step", "mlp_only_layers", "num_hidden_layers")

QWEN3_MOE = Family(
    keys={
        **decoder_keys(vocab=151_936, hidden=2048, inner=6144, layers=24, heads=32, kv_heads=4),
        **special_tokens(bos=None, eos=None),
        "max_position_embeddings": size(32_768),
        "attention_bias": flag(False),
        "use_sliding_window": flag(False),
        "sliding_window": size(4096, nullable=True),
        "decoder_sparse_step": size(1),
        "moe_intermediate_size": size(768),
        "num_experts_per_tok": size(8),
        "num_experts": size(128, least=0),
        "norm_topk_prob": flag(False),
        "output_router_logits": flag(False),
        "router_aux_loss_coef": decimal(0.001),
        "mlp_only_layers": Key(None, optional(WHOLES)),
    },
    extra_keys={**ROTARY_EXTRA_KEYS, **UNDECLARED_HEAD_DIM},
    aliases={"num_local_experts": "num_experts"},
    heads=DECODER_HEADS,
    dimensions=decoder_dimensions,
    blueprint=_qwen3_moe_blueprint,
    relations=(
        *DECODER_RELATIONS,
        *_expert_relations("num_experts", "moe_intermediate_size", _qwen3_moe_pattern, _QWEN3_MOE_LAYOUT),
    ),
)


def _latent_attention(config: Config) -> Tensors:
    width, heads, bias = config["hidden_size"], config["num_attention_heads"], config["attention_bias"]
    plain, rotary, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    query_rank, rank = config["q_lora_rank"], config["kv_lora_rank"]
    queries = (
        linear("q_proj", width, heads * (plain + rotary))
        if query_rank is None
        else join(
            (
                linear("q_a_proj", width, query_rank, bias),
                scale("q_a_layernorm", query_rank),
                linear("q_b_proj", query_rank, heads * (plain + rotary)),
            )
        )
    )
    keys_values = (
        linear("kv_a_proj_with_mqa", width, rank + rotary, bias),
        scale("kv_a_layernorm", rank),
        linear("kv_b_proj", rank, heads * (plain + value)),
        linear("o_proj", heads * value, width, bias),
    )
    return within("self_attn.", join((queries, *keys_values)))


def _deepseek_pattern(config: Config) -> tuple[str, ...]:
    first = config["first_k_dense_replace"]
    return tuple("moe" if index >= first else "dense" for index in range(config["num_hidden_layers"]))


def _deepseek_blueprint(config: Config, head: str) -> Blueprint:
    number, inner = config["n_routed_experts"], config["moe_intermediate_size"]
    attention, bias = _latent_attention(config), config.get("mlp_bias", False)
    shared = within("shared_experts.", gated_mlp(config, inner * config["n_shared_experts"], bias))
    router = linear("gate", config["hidden_size"], number)
    kinds = {
        "dense": decoder_layer(config, attention, gated_mlp(config, config["intermediate_size"], bias)),
        "moe": decoder_layer(config, attention, join((_experts(config, number, inner), router, shared))),
    }
    experts = Experts("moe", number, config["num_experts_per_tok"], _expert_parameters(config, inner))
    return decoder_blueprint(config, head, kinds, _deepseek_pattern(config), experts)


def _deepseek_dimensions(config: Config) -> Dimensions:
    return Dimensions(
        hidden_size=config["hidden_size"],
        num_attention_heads=config["num_attention_heads"],
        num_key_value_heads=config["num_attention_heads"],
        head_dim=config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
        value_head_dim=config["v_head_dim"],
        intermediate_size=config["intermediate_size"],
        vocab_size=config["vocab_size"],
        max_positions=config["max_position_embeddings"],
        causal=True,
    )


def _repeated_keys(config: Config) -> Finding | None:
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    if groups is None or heads // groups <= 1:
        return None
    return Finding(
        f"`num_key_value_heads` {groups} is for groups of heads, but latent attention has a key for each of {heads}",
        f"set `num_key_value_heads` to {heads}",
    )


def _odd_rotary_part(config: Config) -> Finding | None:
    rotary = config["qk_rope_head_dim"]
    if rotary % 2 == 0:
        return None
    return Finding(f"`qk_rope_head_dim` {rotary} is odd, but rotary positions turn pairs of numbers")


def _odd_parts_before_rotary(config: Config) -> Finding | None:
    """Positions are turned as complex numbers, which in fp32 are views that must begin at an even place."""
    odd = next((key for key in ("kv_lora_rank", "qk_nope_head_dim") if config[key] % 2), None)
    return (
        Finding(f"`{odd}` {config[odd]} is odd, but what follows it is read as complex numbers", key=odd)
        if odd
        else None
    )


def _other_rotary_part(config: Config) -> Finding | None:
    rotary, given = config["qk_rope_head_dim"], config.get("head_dim")
    if given in (None, rotary):
        return None
    return Finding(f"`head_dim` {given} is not `qk_rope_head_dim` {rotary}", "leave `head_dim` out")


def _impossible_groups(config: Config) -> Finding | None:
    number, groups, chosen = config["n_routed_experts"], config["n_group"], config["topk_group"]
    if number % groups:
        return Finding(f"`n_routed_experts` {number} is not a multiple of `n_group` {groups}")
    if chosen > groups:
        return Finding(f"`topk_group` {chosen} is more than `n_group` {groups}", key="topk_group")
    return None


def _lonely_experts(config: Config) -> Finding | None:
    number, groups = config["n_routed_experts"], config["n_group"]
    if number // groups >= 2:
        return None
    return Finding(f"`n_group` {groups} leaves one expert per group; the router ranks a group by its two best")


_GROUPED_ROUTING = "group_limited_greedy"


def _impossible_limited_groups(config: Config) -> Finding | None:
    if config["topk_method"] != _GROUPED_ROUTING:
        return None
    unset = next((key for key in ("n_group", "topk_group") if config[key] is None), None)
    if unset is not None:
        return Finding(f"`topk_method: {_GROUPED_ROUTING}` needs `{unset}`", key=unset)
    return _impossible_groups(config)


def _unnamed_routing(config: Config) -> Finding | None:
    return Finding("`topk_method` is null, and the router chooses by none") if config["topk_method"] is None else None


_DEEPSEEK_LAYOUT = ("first_k_dense_replace", "num_hidden_layers")
_DEEPSEEK_GROUPS = ("n_group", "n_routed_experts", "topk_group", *_DEEPSEEK_LAYOUT)
_DEEPSEEK_RELATIONS = (
    Relation(("num_key_value_heads", "num_attention_heads"), _repeated_keys),
    Relation(("qk_rope_head_dim",), _odd_rotary_part),
    ROTARY_PARAMETERS,
    PADDING_IN_VOCABULARY,
    *_expert_relations("n_routed_experts", "moe_intermediate_size", _deepseek_pattern, _DEEPSEEK_LAYOUT),
)

_LATENT_KEYS: Mapping[str, Key] = {
    "num_key_value_heads": size(None),
    "first_k_dense_replace": size(0, least=0),
    "q_lora_rank": size(1536, nullable=True),
    "kv_lora_rank": size(512),
    "qk_nope_head_dim": size(128, least=0),
    "qk_rope_head_dim": size(64),
    "v_head_dim": size(128),
    "attention_bias": flag(False),
    "pretraining_tp": Key(1, optional(WHOLE)),
}

DEEPSEEK_V2 = Family(
    keys={
        **decoder_keys(vocab=102_400, hidden=4096, inner=11_008, layers=32, heads=32, kv_heads=None),
        **special_tokens(bos=1, eos=2),
        **_LATENT_KEYS,
        "attention_dropout": decimal(0.0, most=1),
        "max_position_embeddings": size(2048),
        "head_dim": size(None),
        "mlp_bias": flag(False),
        "moe_intermediate_size": size(1407),
        "n_shared_experts": size(2, least=0),
        "n_routed_experts": size(64),
        "num_experts_per_tok": size(None),
        "n_group": size(None),
        "topk_group": size(None),
        "topk_method": Key("greedy", optional(TEXT), choices=("greedy", _GROUPED_ROUTING)),
        "routed_scaling_factor": decimal(1.0),
        "norm_topk_prob": Key(False, optional(FLAG)),  # read by nothing: the weights of the chosen are never normed
    },
    # Like `head_dim`, overwritten by the config class.
    extra_keys={**ROTARY_EXTRA_KEYS, "qk_head_dim": Key(None, ANYTHING)},
    aliases={"num_experts": "n_routed_experts"},
    heads=DECODER_HEADS,
    dimensions=_deepseek_dimensions,
    blueprint=_deepseek_blueprint,
    relations=(
        HEADS_DIVIDE_HIDDEN_SIZE,
        Relation(("kv_lora_rank", "qk_nope_head_dim"), _odd_parts_before_rotary),
        *_DEEPSEEK_RELATIONS,
        Relation(("topk_method", *_DEEPSEEK_LAYOUT), _where_sparse(_deepseek_pattern, _unnamed_routing)),
        Relation(("topk_method", *_DEEPSEEK_GROUPS), _where_sparse(_deepseek_pattern, _impossible_limited_groups)),
    ),
)

DEEPSEEK_V3 = Family(
    keys={
        **decoder_keys(vocab=129_280, hidden=7168, inner=18_432, layers=61, heads=128, kv_heads=None),
        **special_tokens(bos=0, eos=1),
        **_LATENT_KEYS,
        "num_key_value_heads": size(128, nullable=True),
        "max_position_embeddings": size(4096),
        "moe_intermediate_size": size(2048),
        "n_shared_experts": size(1, least=0),
        "n_routed_experts": size(256),
        "num_experts_per_tok": size(8),
        "n_group": size(8),
        "topk_group": size(4),
        "first_k_dense_replace": size(3, least=0),
        "routed_scaling_factor": decimal(2.5),
        "norm_topk_prob": Key(True, optional(FLAG)),
        "rope_interleave": Key(True, optional(FLAG)),
        # Heads that predict several tokens are appended for generation only; the trained model has none.
        "num_mtp_layers": size(1, least=0),
    },
    extra_keys={**ROTARY_EXTRA_KEYS, "head_dim": size(None), "qk_head_dim": Key(None, ANYTHING)},
    aliases={"num_local_experts": "n_routed_experts", "num_nextn_predict_layers": "num_mtp_layers"},
    heads=DECODER_HEADS,
    dimensions=_deepseek_dimensions,
    blueprint=_deepseek_blueprint,
    relations=(
        *_DEEPSEEK_RELATIONS,
        Relation(("head_dim", "qk_rope_head_dim"), _other_rotary_part),
        Relation(_DEEPSEEK_GROUPS, _where_sparse(_deepseek_pattern, _impossible_groups)),
        Relation(_DEEPSEEK_GROUPS, _where_sparse(_deepseek_pattern, _lonely_experts)),
    ),
)
