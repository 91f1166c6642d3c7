"""Decoders without experts, and the parts they share with those that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zerotrain.arch.family import (
    MAPPING,
    NUMBER,
    TEXT,
    TEXTS,
    WHOLE,
    Config,
    Dimensions,
    Family,
    Finding,
    Key,
    Relation,
    decimal,
    depth,
    flag,
    function,
    head_dim,
    key_value_heads,
    label_count,
    optional,
    share,
    size,
    special_tokens,
)
from zerotrain.arch.relations import DECODER_RELATIONS, HEADS_DIVIDE_HIDDEN_SIZE, LAYER_TYPES
from zerotrain.arch.tensors import Blueprint, Experts, Tensors, activation, join, linear, norm, scale, within

DECODER_HEADS = ("causal_lm", "sequence_classification")

ROTARY_EXTRA_KEYS: Mapping[str, Key] = {
    "rope_theta": Key(None, NUMBER, 1),
    "rope_scaling": Key(None, optional(MAPPING)),
    "partial_rotary_factor": Key(None, optional(NUMBER)),
    "original_max_position_embeddings": Key(None, NUMBER),
}

UNDECLARED_HEAD_DIM: Mapping[str, Key] = {"head_dim": Key(None, WHOLE, 1)}


def decoder_keys(
    *, vocab: int, hidden: int, inner: int, layers: int, heads: int, kv_heads: int | None
) -> dict[str, Key]:
    """Returns the keys every rotary decoder has, with the sizes given as defaults."""
    return {
        "vocab_size": size(vocab),
        "hidden_size": size(hidden),
        "intermediate_size": size(inner, least=0),
        "num_hidden_layers": depth(layers),
        "num_attention_heads": size(heads),
        "num_key_value_heads": size(kv_heads),
        "hidden_act": function("silu"),
        "use_cache": flag(True),
        "tie_word_embeddings": flag(False),
        "initializer_range": decimal(0.02),
        "rms_norm_eps": decimal(1e-6),
        "attention_dropout": share(0.0),
        "rope_parameters": Key(None, optional(MAPPING)),
    }


def grouped_attention(
    config: Config, *, bias: bool = False, output_bias: bool = False, query_key_norm: bool = False
) -> Tensors:
    """Returns the tensors of attention whose key and value heads serve groups of query heads."""
    width, length = config["hidden_size"], head_dim(config)
    queries, keys = config["num_attention_heads"] * length, key_value_heads(config) * length
    norms = (scale("q_norm", length), scale("k_norm", length)) if query_key_norm else ()
    projections = (
        linear("q_proj", width, queries, bias),
        linear("k_proj", width, keys, bias),
        linear("v_proj", width, keys, bias),
        linear("o_proj", queries, width, output_bias),
    )
    return within("self_attn.", join((*projections, *norms)))


def gated_mlp(config: Config, inner: int, bias: bool = False) -> Tensors:
    """Returns the tensors of an MLP whose activated gate multiplies what goes up."""
    width = config["hidden_size"]
    return join(
        (
            linear("gate_proj", width, inner, bias),
            linear("up_proj", width, inner, bias),
            linear("down_proj", inner, width, bias),
            activation("act_fn", config["hidden_act"]),
        )
    )


def decoder_layer(config: Config, attention: Tensors, mlp: Tensors) -> Tensors:
    """Returns the tensors of one layer: attention, MLP, and the norm before each."""
    width = config["hidden_size"]
    norms = (scale("input_layernorm", width), scale("post_attention_layernorm", width))
    return join((attention, within("mlp.", mlp), *norms))


def decoder_blueprint(
    config: Config,
    head: str,
    kinds: Mapping[str, Tensors],
    pattern: Sequence[str],
    experts: Experts | None = None,
) -> Blueprint:
    """Returns the blueprint of a rotary decoder whose i-th layer is of kind `pattern[i]`."""
    width, vocab = config["hidden_size"], config["vocab_size"]
    tied = head == "causal_lm" and config["tie_word_embeddings"]
    top = linear("lm_head", width, vocab) if head == "causal_lm" else linear("score", width, label_count(config))
    return Blueprint(
        tables={"model.embed_tokens.weight": (vocab, width)},
        stem={},
        kinds=kinds,
        layers=tuple((f"model.layers.{index}.", kind) for index, kind in enumerate(pattern)),
        tail=scale("model.norm", width) | ({} if tied else top),
        tied=tied,
        experts=experts,
    )


def decoder_dimensions(config: Config) -> Dimensions:
    """Returns the sizes of a rotary decoder with grouped attention."""
    return Dimensions(
        hidden_size=config["hidden_size"],
        num_attention_heads=config["num_attention_heads"],
        num_key_value_heads=key_value_heads(config),
        head_dim=head_dim(config),
        value_head_dim=head_dim(config),
        intermediate_size=config["intermediate_size"],
        vocab_size=config["vocab_size"],
        max_positions=config["max_position_embeddings"],
        causal=True,
    )


def _uniform(layer: Callable[[Config], Tensors]) -> Callable[[Config, str], Blueprint]:
    def blueprint(config: Config, head: str) -> Blueprint:
        return decoder_blueprint(config, head, {"dense": layer(config)}, ("dense",) * config["num_hidden_layers"])

    return blueprint


def _llama_layer(config: Config) -> Tensors:
    attention = grouped_attention(config, bias=config["attention_bias"], output_bias=config["attention_bias"])
    return decoder_layer(config, attention, gated_mlp(config, config["intermediate_size"], config["mlp_bias"]))


def _qwen2_layer(config: Config) -> Tensors:
    attention = grouped_attention(config, bias=True)
    return decoder_layer(config, attention, gated_mlp(config, config["intermediate_size"]))


def _qwen3_layer(config: Config) -> Tensors:
    bias = config["attention_bias"]
    attention = grouped_attention(config, bias=bias, output_bias=bias, query_key_norm=True)
    return decoder_layer(config, attention, gated_mlp(config, config["intermediate_size"]))


def _mistral_layer(config: Config) -> Tensors:
    return decoder_layer(config, grouped_attention(config), gated_mlp(config, config["intermediate_size"]))


_QWEN_KEYS: Mapping[str, Key] = {
    **decoder_keys(vocab=151_936, hidden=4096, inner=22_016, layers=32, heads=32, kv_heads=32),
    **special_tokens(bos=None, eos=None),
    "num_key_value_heads": size(32, nullable=True),
    "max_position_embeddings": size(32_768),
    "use_sliding_window": flag(False),
    "sliding_window": size(4096, nullable=True),
    "max_window_layers": Key(28, WHOLE),
    "layer_types": Key(None, optional(TEXTS)),
}

LLAMA = Family(
    keys={
        **decoder_keys(vocab=32_000, hidden=4096, inner=11_008, layers=32, heads=32, kv_heads=None),
        **special_tokens(bos=1, eos=2),
        "max_position_embeddings": size(2048),
        "initializer_range": decimal(0.02, most=1),
        "pretraining_tp": Key(1, optional(WHOLE)),
        "attention_bias": flag(False),
        "mlp_bias": flag(False),
        "head_dim": size(None),
    },
    extra_keys=ROTARY_EXTRA_KEYS,
    heads=DECODER_HEADS,
    dimensions=decoder_dimensions,
    blueprint=_uniform(_llama_layer),
    relations=(HEADS_DIVIDE_HIDDEN_SIZE, *DECODER_RELATIONS),
)

QWEN2 = Family(
    keys=_QWEN_KEYS,
    extra_keys={**ROTARY_EXTRA_KEYS, **UNDECLARED_HEAD_DIM},
    heads=DECODER_HEADS,
    dimensions=decoder_dimensions,
    blueprint=_uniform(_qwen2_layer),
    relations=(*DECODER_RELATIONS, LAYER_TYPES),
)

QWEN3 = Family(
    keys={**_QWEN_KEYS, "head_dim": size(128), "attention_bias": flag(False)},
    extra_keys=ROTARY_EXTRA_KEYS,
    heads=DECODER_HEADS,
    dimensions=decoder_dimensions,
    blueprint=_uniform(_qwen3_layer),
    relations=(*DECODER_RELATIONS, LAYER_TYPES),
)

MISTRAL = Family(
    keys={
        **decoder_keys(vocab=32_000, hidden=4096, inner=14_336, layers=32, heads=32, kv_heads=8),
        **special_tokens(bos=1, eos=2),
        "max_position_embeddings": size(131_072),
        "head_dim": size(None),
        "sliding_window": size(4096, nullable=True),
    },
    extra_keys=ROTARY_EXTRA_KEYS,
    heads=DECODER_HEADS,
    dimensions=decoder_dimensions,
    blueprint=_uniform(_mistral_layer),
    relations=DECODER_RELATIONS,
)


def _transposed(name: str, inputs: int, outputs: int) -> Tensors:
    return {f"{name}.weight": (inputs, outputs), f"{name}.bias": (outputs,)}


def _gpt2_layer(config: Config) -> Tensors:
    width = config["n_embd"]
    inner = 4 * width if config["n_inner"] is None else config["n_inner"]
    parts = [
        norm("ln_1", width),
        _transposed("attn.c_attn", width, 3 * width),
        _transposed("attn.c_proj", width, width),
        norm("ln_2", width),
    ]
    if config["add_cross_attention"]:
        parts += [
            _transposed("crossattention.c_attn", width, 2 * width),
            _transposed("crossattention.q_attn", width, width),
            _transposed("crossattention.c_proj", width, width),
            norm("ln_cross_attn", width),
        ]
    mlp = (_transposed("mlp.c_fc", width, inner), _transposed("mlp.c_proj", inner, width))
    return join((*parts, *mlp, activation("mlp.act", config["activation_function"])))


def _gpt2_blueprint(config: Config, head: str) -> Blueprint:
    width, vocab = config["n_embd"], config["vocab_size"]
    tied = head == "causal_lm" and config["tie_word_embeddings"]
    top = linear("lm_head", width, vocab) if head == "causal_lm" else linear("score", width, label_count(config))
    return Blueprint(
        tables={"transformer.wte.weight": (vocab, width), "transformer.wpe.weight": (config["n_positions"], width)},
        stem={},
        kinds={"dense": _gpt2_layer(config)},
        layers=tuple((f"transformer.h.{index}.", "dense") for index in range(config["n_layer"])),
        tail=norm("transformer.ln_f", width) | ({} if tied else top),
        tied=tied,
    )


def _gpt2_dimensions(config: Config) -> Dimensions:
    width, heads = config["n_embd"], config["n_head"]
    return Dimensions(
        hidden_size=width,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=width // heads,
        value_head_dim=width // heads,
        intermediate_size=4 * width if config["n_inner"] is None else config["n_inner"],
        vocab_size=config["vocab_size"],
        max_positions=config["n_positions"],
        learned_positions=True,
        causal=True,
    )


def _undivided_embedding(config: Config) -> Finding | None:
    width, heads = config["n_embd"], config["n_head"]
    return Finding(f"`n_embd` {width} is not a multiple of `n_head` {heads}") if width % heads else None


GPT2 = Family(
    keys={
        **special_tokens(bos=50_256, eos=50_256),
        "vocab_size": size(50_257),
        "n_positions": size(1024),
        "n_embd": size(768),
        "n_layer": depth(12),
        "n_head": size(12),
        "n_inner": size(None),
        "activation_function": function("gelu_new"),
        "resid_pdrop": share(0.1),
        "embd_pdrop": share(0.1),
        "attn_pdrop": share(0.1),
        "layer_norm_epsilon": decimal(1e-5),
        "initializer_range": decimal(0.02),
        "summary_type": Key("cls_index", TEXT),
        "summary_use_proj": flag(True),
        "summary_activation": Key(None, optional(TEXT)),
        "summary_proj_to_labels": flag(True),
        "summary_first_dropout": share(0.1),
        "scale_attn_weights": flag(True),
        "use_cache": flag(True),
        "scale_attn_by_inverse_layer_idx": flag(False),
        "reorder_and_upcast_attn": flag(False),
        "add_cross_attention": flag(False),
        "tie_word_embeddings": flag(True),
    },
    aliases={
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    },
    heads=DECODER_HEADS,
    dimensions=_gpt2_dimensions,
    blueprint=_gpt2_blueprint,
    relations=(Relation(("n_embd", "n_head"), _undivided_embedding),),
)
