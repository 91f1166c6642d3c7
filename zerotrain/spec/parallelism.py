"""How the run is spread over machines, and where its states live."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from zerotrain.spec.base import Auto, Bool, Fraction, NonNegativeInt, PositiveInt, Spec


class OffloadOptimizerSpec(Spec):
    """Keep optimizer states outside the GPU."""

    device: Literal["cpu", "nvme"]
    """Where they live; from `nvme` no checkpoint could be resumed, so it is refused."""
    nvme_path: str | None = None
    """Directory on a fast local disk."""
    pin_memory: Bool = True
    """Use page-locked host memory: faster copies, memory that cannot be swapped."""
    ratio: Fraction = 1.0
    """Share of the states that is offloaded; less than 1 needs stage 3."""


class OffloadParamSpec(Spec):
    """Keep parameters outside the GPU; stage 3 only."""

    device: Literal["cpu", "nvme"]
    """Where they live."""
    nvme_path: str | None = None
    """Directory on a fast local disk."""
    pin_memory: Bool = True
    """Use page-locked host memory: faster copies, memory that cannot be swapped."""


class ZeroSpec(Spec):
    """ZeRO: what is partitioned over the data-parallel ranks, and what is offloaded."""

    stage: Literal[0, 1, 2, 3] = 0
    """0: nothing is partitioned; 1: optimizer states; 2: and gradients; 3: and parameters."""
    offload_optimizer: OffloadOptimizerSpec | None = None
    """Where optimizer states live; `null`: on the GPU."""
    offload_param: OffloadParamSpec | None = None
    """Where parameters live; `null`: on the GPU."""
    overlap_comm: Bool | Auto = "auto"
    """Reduce gradients while the backward pass goes on; `auto`: on a GPU yes, on a CPU no."""
    reduce_bucket_size: PositiveInt | Auto = "auto"
    """Elements reduced at once; `auto`: hidden_size squared, at least 2 million and at most 500 million."""
    allgather_bucket_size: PositiveInt | Auto = "auto"
    """Elements gathered at once at stages 1 and 2; `auto`: the same as `reduce_bucket_size`."""
    prefetch_bucket_size: NonNegativeInt | Auto = "auto"
    """Elements fetched ahead at stage 3; `auto`: 0.9 x hidden_size squared."""
    param_persistence_threshold: NonNegativeInt | Auto = "auto"
    """Stage 3 does not partition parameters smaller than this; `auto`: 10 x hidden_size."""
    max_live_parameters: PositiveInt = 1_000_000_000
    """Stage 3 holds at most this many gathered elements."""
    sub_group_size: PositiveInt = 1_000_000_000
    """Stage 3 updates this many elements at a time."""
    hpz_partition_size: PositiveInt = 1
    """Stage 3 keeps a second copy of the weights for the backward pass, divided over this many neighbouring ranks: with
    the GPUs of a machine its gathers stay inside (ZeRO++ hpZ). 1: none."""
    quantized_weights: Bool = False
    """Stage 3 gathers weights in 8 bits (ZeRO++ qwZ); CUDA only, and the loss is another."""
    quantized_gradients: Bool = False
    """Stage 3 reduces gradients between machines in 4 bits (ZeRO++ qgZ); CUDA only, and the loss is another."""


class ParallelSpec(Spec):
    """Degrees of model parallelism; the data-parallel size follows from the world size."""

    tp: PositiveInt = 1
    """Tensor-parallel size."""
    pp: PositiveInt = 1
    """Pipeline-parallel size."""
    sp: PositiveInt = 1
    """Sequence-parallel (Ulysses) size."""
    ep: PositiveInt = 1
    """Expert-parallel size."""


Granularity = Literal["none", "full", "selective"]
Part = Literal["attention", "mlp"]


class ActivationCheckpointingSpec(Spec):
    """Recompute activations in the backward pass instead of keeping them; `full` is short for `{granularity: full}`."""

    granularity: Granularity = "none"
    """`full`: layers keep only their inputs; `selective`: `parts` of layers do, and the rest is kept."""
    every: PositiveInt = 1
    """Recompute in every so many-th layer, from the first on; the others keep their activations."""
    parts: list[Part] = ["attention"]
    """What `selective` computes again: `attention`, `mlp` or both."""
    implementation: Literal["torch", "deepspeed"] = "torch"
    """`deepspeed` uses DeepSpeed's own checkpointing; `full` only."""
    cpu_checkpointing: Bool = False
    """Keep the layers' inputs in host memory; `full` only."""
    partition_activations: Bool = False
    """Partition the layers' inputs over tensor-parallel ranks; `deepspeed` only."""


def _expand_granularity(value: Any) -> Any:
    return {"granularity": value} if isinstance(value, str) else value


ActivationCheckpointingField = Annotated[
    ActivationCheckpointingSpec,
    BeforeValidator(_expand_granularity, json_schema_input_type=ActivationCheckpointingSpec | Granularity),
]


class TilingSpec(Spec):
    """Work on one piece of a long sequence after the other, where tokens do not see each other anyway.

    Each piece is computed again in the backward pass, so that the activations of only one exist at a time.
    """

    mlp: PositiveInt = 1
    """Pieces in which an MLP works."""
    logits: PositiveInt = 1
    """Pieces in which logits and loss are computed; `pretrain` and `sft` only."""


CompileMethod = Literal["none", "torch", "deepcompile"]


class CompileSpec(Spec):
    """Compile the model's code before the first step; `torch` is short for `{method: torch}`."""

    method: CompileMethod = "none"
    """`torch`: `torch.compile`; `deepcompile`: DeepSpeed's, which plans ZeRO's communication too, CUDA only."""
    mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "default"
    """How much time `torch.compile` may take to find faster code."""
    fullgraph: Bool = False
    """Fail where the model cannot be compiled as a whole, instead of compiling it in parts."""


def _expand_method(value: Any) -> Any:
    return {"method": value} if isinstance(value, str) else value


CompileField = Annotated[
    CompileSpec, BeforeValidator(_expand_method, json_schema_input_type=CompileSpec | CompileMethod)
]


class HardwareSpec(Spec):
    """The machines the run is meant for."""

    gpu: str = "cpu"
    """Accelerator by name, such as `H100-SXM`, or `cpu`."""
    num_nodes: PositiveInt = 1
    """Machines."""
    gpus_per_node: PositiveInt = 1
    """Ranks per machine."""
