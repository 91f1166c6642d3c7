"""Networks that see images."""

from __future__ import annotations

from typing import Any

from zerotrain.arch.family import (
    ANYTHING,
    AREA,
    TEXT,
    TEXTS,
    WHOLE,
    WHOLES,
    Config,
    Dimensions,
    Family,
    Finding,
    Key,
    Relation,
    decimal,
    depth,
    depths,
    flag,
    function,
    head_dim,
    label_count,
    optional,
    share,
    size,
)
from zerotrain.arch.tensors import Blueprint, Tensors, activation, join, linear, norm, within

IMAGE_HEADS = ("image_classification",)


def _convolution(name: str, inputs: int, outputs: int, kernel: tuple[int, int], bias: bool = False) -> Tensors:
    weight: Tensors = {f"{name}.weight": (outputs, inputs, *kernel)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def _classifier(name: str, width: int, config: Config) -> Tensors:
    labels = label_count(config)
    return linear(name, width, labels, bias=True) if labels > 0 else {}


def _both_sides(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _patch_count(config: Config) -> int:
    (height, width), (down, across) = _both_sides(config["image_size"]), _both_sides(config["patch_size"])
    return (height // down) * (width // across)


def _vit_layer(config: Config) -> Tensors:
    width, inner, bias = config["hidden_size"], config["intermediate_size"], config["qkv_bias"]
    queries = config["num_attention_heads"] * head_dim(config)
    return join(
        (
            linear("attention.q_proj", width, queries, bias),
            linear("attention.k_proj", width, queries, bias),
            linear("attention.v_proj", width, queries, bias),
            linear("attention.o_proj", queries, width, bias=True),
            norm("layernorm_before", width),
            norm("layernorm_after", width),
            activation("mlp.activation_fn", config["hidden_act"]),
            linear("mlp.fc1", width, inner, bias=True),
            linear("mlp.fc2", inner, width, bias=True),
        )
    )


def _vit_blueprint(config: Config, head: str) -> Blueprint:
    width, patch = config["hidden_size"], _both_sides(config["patch_size"])
    projection = "vit.embeddings.patch_embeddings.projection"
    return Blueprint(
        tables={
            "vit.embeddings.cls_token": (1, 1, width),
            "vit.embeddings.position_embeddings": (1, _patch_count(config) + 1, width),
        },
        stem=_convolution(projection, config["num_channels"], width, patch, bias=True),
        kinds={"dense": _vit_layer(config)},
        layers=tuple((f"vit.layers.{index}.", "dense") for index in range(config["num_hidden_layers"])),
        tail=norm("vit.layernorm", width) | _classifier("classifier", width, config),
    )


def _vit_dimensions(config: Config) -> Dimensions:
    heads = config["num_attention_heads"]
    return Dimensions(
        hidden_size=config["hidden_size"],
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head_dim(config),
        value_head_dim=head_dim(config),
        intermediate_size=config["intermediate_size"],
        max_positions=_patch_count(config) + 1,
        learned_positions=True,
    )


def _empty_heads(config: Config) -> Finding | None:
    width, heads = config["hidden_size"], config["num_attention_heads"]
    return (
        Finding(f"`hidden_size` {width} is less than `num_attention_heads` {heads}") if head_dim(config) < 1 else None
    )


def _patch_beyond_image(config: Config) -> Finding | None:
    if _patch_count(config):
        return None
    return Finding(f"`patch_size` {config['patch_size']} does not fit into `image_size` {config['image_size']}")


VIT = Family(
    keys={
        "hidden_size": size(768),
        "num_hidden_layers": depth(12),
        "num_attention_heads": size(12),
        "intermediate_size": size(3072, least=0),
        "hidden_act": function("gelu"),
        "hidden_dropout_prob": share(0.0),
        "attention_probs_dropout_prob": share(0.0),
        "initializer_range": decimal(0.02),
        "layer_norm_eps": decimal(1e-12),
        "image_size": Key(224, AREA, 1),
        "patch_size": Key(16, AREA, 1),
        "num_channels": size(3),
        "qkv_bias": flag(True),
        "encoder_stride": Key(16, WHOLE),
        "pooler_output_size": Key(None, optional(WHOLE)),
        "pooler_act": Key("tanh", TEXT),
    },
    extra_keys={"head_dim": Key(None, WHOLE, 1)},
    heads=IMAGE_HEADS,
    dimensions=_vit_dimensions,
    blueprint=_vit_blueprint,
    relations=(
        Relation(("hidden_size", "num_attention_heads", "head_dim"), _empty_heads),
        Relation(("patch_size", "image_size"), _patch_beyond_image),
    ),
)


def _unit(name: str, inputs: int, outputs: int, kernel: int) -> Tensors:
    convolution = _convolution(f"{name}.convolution", inputs, outputs, (kernel, kernel))
    return convolution | norm(f"{name}.normalization", outputs)


def _residual_block(config: Config, inputs: int, outputs: int, shortcut: bool) -> Tensors:
    # (inputs, outputs, kernel) of each convolution; a bottleneck works on a quarter of the channels.
    inner = outputs // 4
    units = {
        "basic": ((inputs, outputs, 3), (outputs, outputs, 3)),
        "bottleneck": ((inputs, inner, 1), (inner, inner, 3), (inner, outputs, 1)),
    }[config["layer_type"]]
    return join(
        (
            _unit("shortcut", inputs, outputs, 1) if shortcut else {},
            *(_unit(f"layer.{index}", *unit) for index, unit in enumerate(units)),
            # The last unit is activated after the sum; the others use ReLU whatever `hidden_act` says.
            activation("activation", config["hidden_act"]),
        )
    )


def _resnet_stages(config: Config) -> list[tuple[int, int, int]]:
    """Input channels, output channels and blocks of each stage; a stage has at least one block."""
    sizes = config["hidden_sizes"]
    inputs = (config["embedding_size"], *sizes)
    return [(wide, out, max(depth, 1)) for wide, out, depth in zip(inputs, sizes, config["depths"], strict=False)]


def _resnet_blueprint(config: Config, head: str) -> Blueprint:
    kinds: dict[str, Tensors] = {}
    layers: list[tuple[str, str]] = []
    for stage, (inputs, outputs, number) in enumerate(_resnet_stages(config)):
        strided = stage > 0 or config["downsample_in_first_stage"]
        kinds[f"first-{stage}"] = _residual_block(config, inputs, outputs, strided or inputs != outputs)
        kinds[f"rest-{stage}"] = _residual_block(config, outputs, outputs, shortcut=False)
        prefixes = [f"resnet.encoder.stages.{stage}.layers.{index}." for index in range(number)]
        layers += [(prefix, f"{'rest' if index else 'first'}-{stage}") for index, prefix in enumerate(prefixes)]
    stem = _unit("embedder", config["num_channels"], config["embedding_size"], 7)
    return Blueprint(
        tables={},
        stem=within("resnet.embedder.", stem | activation("embedder.activation", config["hidden_act"])),
        kinds=kinds,
        layers=tuple(layers),
        tail=_classifier("classifier.1", config["hidden_sizes"][-1], config),
    )


def _empty_stages(config: Config) -> Finding | None:
    sizes, depths = config["hidden_sizes"], config["depths"]
    if not sizes or not depths:
        return Finding("`hidden_sizes` and `depths` need at least one stage")
    if len(sizes) > len(depths):
        return Finding(f"`hidden_sizes` has {len(sizes)} stages, but `depths` has {len(depths)}")
    return None


def _empty_bottleneck(config: Config) -> Finding | None:
    least = min(config["hidden_sizes"], default=4)
    if config["layer_type"] != "bottleneck" or least >= 4:
        return None
    return Finding(f"`hidden_sizes` has {least}; a bottleneck works on a quarter of its channels, which is none")


RESNET = Family(
    keys={
        "num_channels": size(3),
        "embedding_size": size(64),
        "hidden_sizes": Key((256, 512, 1024, 2048), WHOLES, 1),
        "depths": depths((3, 4, 6, 3)),
        "layer_type": Key("bottleneck", TEXT, choices=("basic", "bottleneck")),
        "hidden_act": function("relu"),
        "downsample_in_first_stage": flag(False),
        "downsample_in_bottleneck": flag(False),
    },
    extra_keys={
        "out_features": Key(None, optional(TEXTS)),
        "out_indices": Key(None, optional(WHOLES)),
        "stage_names": Key(None, ANYTHING),
    },
    heads=IMAGE_HEADS,
    dimensions=lambda config: Dimensions(hidden_size=config["hidden_sizes"][-1]),
    blueprint=_resnet_blueprint,
    relations=(
        Relation(("hidden_sizes", "depths"), _empty_stages),
        Relation(("hidden_sizes", "layer_type"), _empty_bottleneck),
    ),
)
