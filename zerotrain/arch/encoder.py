"""Text encoders."""

from __future__ import annotations

from zerotrain.arch.family import (
    Config,
    Dimensions,
    Family,
    Finding,
    Relation,
    decimal,
    depth,
    flag,
    function,
    label_count,
    share,
    size,
    special_tokens,
)
from zerotrain.arch.relations import HEADS_DIVIDE_HIDDEN_SIZE, PADDING_IN_VOCABULARY
from zerotrain.arch.tensors import Blueprint, Tensors, activation, join, linear, norm, within


def _bert_attention(width: int) -> Tensors:
    return join(
        (
            linear("self.query", width, width, bias=True),
            linear("self.key", width, width, bias=True),
            linear("self.value", width, width, bias=True),
            linear("output.dense", width, width, bias=True),
            norm("output.LayerNorm", width),
        )
    )


def _bert_layer(config: Config) -> Tensors:
    width, inner = config["hidden_size"], config["intermediate_size"]
    attention = _bert_attention(width)
    return join(
        (
            within("attention.", attention),
            within("crossattention.", attention) if config["add_cross_attention"] else {},
            linear("intermediate.dense", width, inner, bias=True),
            activation("intermediate.intermediate_act_fn", config["hidden_act"]),
            linear("output.dense", inner, width, bias=True),
            norm("output.LayerNorm", width),
        )
    )


def _bert_masked_lm(config: Config) -> Tensors:
    width, vocab = config["hidden_size"], config["vocab_size"]
    # Tied weights bring a tied bias along, which then has only its first name.
    decoder = {} if config["tie_word_embeddings"] else linear("cls.predictions.decoder", width, vocab, bias=True)
    return join(
        (
            {"cls.predictions.bias": (vocab,)},
            linear("cls.predictions.transform.dense", width, width, bias=True),
            activation("cls.predictions.transform.transform_act_fn", config["hidden_act"]),
            norm("cls.predictions.transform.LayerNorm", width),
            decoder,
        )
    )


def _bert_classifier(config: Config) -> Tensors:
    width = config["hidden_size"]
    pooler = linear("bert.pooler.dense", width, width, bias=True)
    return pooler | linear("classifier", width, label_count(config), bias=True)


def _bert_blueprint(config: Config, head: str) -> Blueprint:
    width = config["hidden_size"]
    masked = head == "masked_lm"
    return Blueprint(
        tables={
            "bert.embeddings.word_embeddings.weight": (config["vocab_size"], width),
            "bert.embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
            "bert.embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        },
        stem=norm("bert.embeddings.LayerNorm", width),
        kinds={"dense": _bert_layer(config)},
        layers=tuple((f"bert.encoder.layer.{index}.", "dense") for index in range(config["num_hidden_layers"])),
        tail=_bert_masked_lm(config) if masked else _bert_classifier(config),
        tied=masked and config["tie_word_embeddings"],
    )


def _bert_dimensions(config: Config) -> Dimensions:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    return Dimensions(
        hidden_size=width,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=width // heads,
        value_head_dim=width // heads,
        intermediate_size=config["intermediate_size"],
        vocab_size=config["vocab_size"],
        max_positions=config["max_position_embeddings"],
        learned_positions=True,
        causal=config["is_decoder"],
    )


def _cross_attention_alone(config: Config) -> Finding | None:
    if config["is_decoder"] or not config["add_cross_attention"]:
        return None
    return Finding("`add_cross_attention` is for a decoder", "set `is_decoder: true` or leave it out")


BERT = Family(
    keys={
        **special_tokens(bos=None, eos=None, pad=0),
        "vocab_size": size(30_522),
        "hidden_size": size(768),
        "num_hidden_layers": depth(12),
        "num_attention_heads": size(12),
        "intermediate_size": size(3072, least=0),
        "hidden_act": function("gelu"),
        "hidden_dropout_prob": share(0.1),
        "attention_probs_dropout_prob": share(0.1),
        "max_position_embeddings": size(512),
        "type_vocab_size": size(2),
        "initializer_range": decimal(0.02),
        "layer_norm_eps": decimal(1e-12),
        "use_cache": flag(True),
        "classifier_dropout": share(None),
        "is_decoder": flag(False),
        "add_cross_attention": flag(False),
        "tie_word_embeddings": flag(True),
    },
    heads=("masked_lm", "sequence_classification"),
    dimensions=_bert_dimensions,
    blueprint=_bert_blueprint,
    relations=(
        HEADS_DIVIDE_HIDDEN_SIZE,
        PADDING_IN_VOCABULARY,
        Relation(("add_cross_attention", "is_decoder"), _cross_attention_alone),
    ),
)
