"""DeepSpeed configs: ZeRO++."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zerotrain.check.config.case import ConfigCase, whole
from zerotrain.check.config.partitioning import Z, asked
from zerotrain.check.rule import Rule, config_rule
from zerotrain.diagnostic import Diagnostic

ZEROPP_SETTINGS: Mapping[str, Any] = {
    "zero_hpz_partition_size": 1,
    "zero_quantized_weights": False,
    "zero_quantized_nontrainable_weights": False,
    "zero_quantized_gradients": False,
}
"""Keys of ZeRO++, with the value that asks for nothing."""


@config_rule("ZT324", "zeropp-below-stage-3")
def zeropp_below_stage_3(case: ConfigCase) -> Iterator[Diagnostic]:
    """A setting of ZeRO++ stands in a config below stage 3.

    Why: ZeRO++ changes how stage 3 gathers weights and reduces gradients; the lower stages never look at it.
    Wrong: `{"zero_optimization": {"stage": 2, "zero_hpz_partition_size": 8}}`
    Right: `{"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 8}}`
    """
    stage = case.known_stage
    for name in asked(case, ZEROPP_SETTINGS) if stage in (0, 1, 2) else ():
        if case.get(f"{Z}.{name}") == 0:
            continue
        message = f"`{name}` is part of ZeRO++, which needs stage 3; stage {stage} ignores it"
        yield case.ignored_key(f"{Z}.{name}", message, help="use `stage: 3`, or remove it")


@config_rule("ZT325", "refused-quantized-weights")
def refused_quantized_weights(case: ConfigCase) -> Iterator[Diagnostic]:
    """Weights are to be quantized where DeepSpeed cannot.

    Why: the quantizer is a CUDA kernel, and its `load` fails on other devices. Together with `torch_autocast`
    `deepspeed.initialize` stops with `Cannot enable both torch autocast and zero quantized weights`, at any stage.
    Wrong: `{"zero_optimization": {"stage": 3, "zero_quantized_weights": true}, "torch_autocast": {"enabled": true}}`
    Right: `{"zero_optimization": {"stage": 3, "zero_quantized_weights": true}, "bf16": {"enabled": true}}`
    """
    weights, frozen = f"{Z}.zero_quantized_weights", f"{Z}.zero_quantized_nontrainable_weights"
    if case.on(weights) and case.on("torch_autocast.enabled"):
        message = "DeepSpeed refuses `zero_quantized_weights` together with `torch_autocast`"
        yield case.error(weights, message, help="use `bf16` instead of `torch_autocast`, or remove it")
    for key in (weights, frozen):
        if case.known_stage == 3 and case.on(key) and case.gpu is not None and case.gpu.host:
            message = f"`{key.removeprefix(f'{Z}.')}` needs a CUDA GPU"
            yield case.error(key, message, help="remove it")


@config_rule("ZT326", "hpz-does-not-divide")
def hpz_does_not_divide(case: ConfigCase) -> Iterator[Diagnostic]:
    """The groups of hpZ do not divide the ranks.

    Why: every group of `zero_hpz_partition_size` ranks holds one copy of the weights; `deepspeed.initialize` asserts
    that the groups come out even.
    Wrong: `{"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 3}}` on 8 ranks
    Right: `{"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 4}}` on 8 ranks
    """
    size, world = whole(case.value(f"{Z}.zero_hpz_partition_size")), case.world_size
    if case.known_stage == 3 and size and world and size > 1 and world % min(size, world):
        message = f"groups of `zero_hpz_partition_size` {size} do not divide {world} ranks"
        yield case.error(f"{Z}.zero_hpz_partition_size", message, help="use the number of GPUs of a node")


@config_rule("ZT327", "hpz-larger-than-world")
def hpz_larger_than_world(case: ConfigCase) -> Iterator[Diagnostic]:
    """A group of hpZ is to have more ranks than there are.

    Why: DeepSpeed takes the smaller of the two numbers without a word. All ranks then form one group, and the second
    copy of the weights costs memory and saves nothing.
    Wrong: `{"zero_optimization": {"stage": 3, "zero_hpz_partition_size": 16}}` on 8 ranks
    Right: `{"zero_optimization": {"stage": 3}}` on 8 ranks
    """
    size, world = whole(case.value(f"{Z}.zero_hpz_partition_size")), case.world_size
    if case.known_stage == 3 and size and world and size > max(world, 1):
        message = f"`zero_hpz_partition_size` is {size}, and there are {world} ranks: DeepSpeed uses {world}"
        yield case.warning(f"{Z}.zero_hpz_partition_size", message, help="use the number of GPUs of a node")


@config_rule("ZT328", "quantized-gradients-on-one-node")
def quantized_gradients_on_one_node(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients are to be quantized on a single node.

    Why: DeepSpeed quantizes what travels between nodes; on one node it uses the plain reduce-scatter.
    Wrong: `{"zero_optimization": {"stage": 3, "zero_quantized_gradients": true}}` on 8 ranks of one node
    Right: `{"zero_optimization": {"stage": 3}}` on 8 ranks of one node
    """
    world, local = case.world_size, case.gpus_per_node
    one_node = world is not None and (world == 1 or (local is not None and world <= local))
    if case.known_stage == 3 and one_node and case.on(f"{Z}.zero_quantized_gradients"):
        message = "`zero_quantized_gradients` does nothing on a single node"
        yield case.warning(f"{Z}.zero_quantized_gradients", message, help="remove it, or run on several nodes")


@config_rule("ZT329", "quantized-gradients-without-reduce-scatter")
def quantized_gradients_without_reduce_scatter(case: ConfigCase) -> Iterator[Diagnostic]:
    """Gradients are to be quantized, but not scattered.

    Why: quantized gradients travel through a reduce-scatter of their own; stage 3 asserts that it may use one.
    Wrong: `{"zero_optimization": {"stage": 3, "zero_quantized_gradients": true, "reduce_scatter": false}}`
    Right: `{"zero_optimization": {"stage": 3, "zero_quantized_gradients": true}}`
    """
    scatters = case.value(f"{Z}.reduce_scatter") is not False
    if case.known_stage == 3 and not scatters and case.on(f"{Z}.zero_quantized_gradients"):
        message = "`zero_quantized_gradients` needs `reduce_scatter`"
        yield case.error(f"{Z}.reduce_scatter", message, help="remove `reduce_scatter: false`")


RULES: tuple[Rule, ...] = (
    zeropp_below_stage_3,
    refused_quantized_weights,
    hpz_does_not_divide,
    hpz_larger_than_world,
    quantized_gradients_on_one_node,
    quantized_gradients_without_reduce_scatter,
)
