"""How the weights move: batch, optimizer, schedule, precision."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from zerotrain.spec.base import (
    Auto,
    Beta,
    Bool,
    Fraction,
    Length,
    NonNegativeFloat,
    NonNegativeInt,
    Pattern,
    PositiveFloat,
    PositiveInt,
    Spec,
)


class BatchSpec(Spec):
    """The batch: global = micro-batch x accumulation steps x data-parallel size."""

    global_batch_size: PositiveInt
    """Samples per optimizer step, over all ranks."""
    micro_batch_size: PositiveInt
    """Samples per forward pass on one rank."""
    gradient_accumulation_steps: PositiveInt | Auto = "auto"
    """Micro-batches per optimizer step; `auto`: global_batch_size / (micro_batch_size x data-parallel size)."""


class ParameterGroup(Spec):
    """Parameters that move otherwise than the rest."""

    match: Pattern
    """A regular expression, searched in names such as `model.embed_tokens.weight`; the first that matches wins."""
    lr: PositiveFloat | None = None
    """Peak learning rate, which the schedule scales as it does the others; `null`: that of the optimizer."""
    weight_decay: NonNegativeFloat | None = None
    """Weight decay of all of them, norms and biases too; `null`: as outside of the group."""


class _Optimizer(Spec):
    lr: PositiveFloat
    """Peak learning rate."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay."""
    decay_norms_and_biases: Bool = False
    """Decay parameters with one dimension and biases too; `false` decays only matrices and what is larger."""
    groups: list[ParameterGroup] = []
    """Parameters with a learning rate or a weight decay of their own."""
    clip_norm: PositiveFloat | None = 1.0
    """Clip the global gradient norm to this value; `null` does not clip."""


class AdamSpec(_Optimizer):
    """Adam: weight decay is added to the gradient."""

    type: Literal["adam"]
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""


class AdamWSpec(_Optimizer):
    """AdamW: weight decay is applied to the weights."""

    type: Literal["adamw"]
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""


class AdagradSpec(_Optimizer):
    """Adagrad."""

    type: Literal["adagrad"]
    eps: PositiveFloat = 1e-10
    """Added to the denominator."""


class SgdSpec(_Optimizer):
    """Stochastic gradient descent."""

    type: Literal["sgd"]
    momentum: Beta = 0.0
    """Momentum factor."""
    nesterov: Bool = False
    """Nesterov momentum; needs a momentum."""


class LionSpec(_Optimizer):
    """Lion; on a CPU it needs `zero.offload_optimizer`."""

    type: Literal["lion"]
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    """Interpolation and momentum factors."""


class LambSpec(_Optimizer):
    """Lamb; CUDA only, and a loss scale must be dynamic."""

    type: Literal["lamb"]
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""
    max_coeff: PositiveFloat = 10.0
    """Largest trust ratio."""
    min_coeff: NonNegativeFloat = 0.01
    """Smallest trust ratio."""


class MuonSpec(_Optimizer):
    """Muon for matrices, Adam for embeddings, norms, biases and the head."""

    type: Literal["muon"]
    clip_norm: PositiveFloat | None = None
    """Under ZeRO DeepSpeed clips the norm of Muon's updates, not of the gradient; `null` does not clip."""
    momentum: Beta = 0.95
    """Momentum of the matrices."""
    adam_lr: PositiveFloat | None = None
    """Peak learning rate of the Adam part; `null`: the same as `lr`."""
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    """Decay rates of the Adam part."""
    eps: PositiveFloat = 1e-10
    """Added to the denominator of the Adam part."""
    ns_method: Literal["gram", "standard"] = "gram"
    """How the Newton-Schulz iteration is computed."""


class NAdamSpec(_Optimizer):
    """NAdam of `torch.optim`: Adam with Nesterov momentum."""

    type: Literal["nadam"]
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""
    momentum_decay: NonNegativeFloat = 4e-3
    """How fast the momentum approaches its final value."""
    decoupled_weight_decay: Bool = False
    """Apply weight decay to the weights, as AdamW does, instead of adding it to the gradient."""


class RAdamSpec(_Optimizer):
    """RAdam of `torch.optim`: Adam whose first steps are made without the second moment."""

    type: Literal["radam"]
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""
    decoupled_weight_decay: Bool = False
    """Apply weight decay to the weights, as AdamW does, instead of adding it to the gradient."""


class RmspropSpec(_Optimizer):
    """RMSprop of `torch.optim`: weight decay is added to the gradient."""

    type: Literal["rmsprop"]
    alpha: Beta = 0.99
    """Decay rate of the squared gradient."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""
    momentum: Beta = 0.0
    """Momentum factor."""
    centered: Bool = False
    """Divide by an estimate of the variance instead of the second moment."""


class AdamaxSpec(_Optimizer):
    """Adamax of `torch.optim`, Adam with the infinity norm: weight decay is added to the gradient."""

    type: Literal["adamax"]
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay rates of the moment and of the norm."""
    eps: PositiveFloat = 1e-8
    """Added to the norm."""


class AdafactorSpec(_Optimizer):
    """Adafactor of `torch.optim`: second moments by rows and columns, so only at ZeRO stage 0; decoupled decay."""

    type: Literal["adafactor"]
    beta2_decay: Annotated[float, Field(strict=True, le=0)] = -0.8
    """Exponent by which the decay rate of the second moment approaches 1."""
    eps: tuple[PositiveFloat | None, PositiveFloat] = (None, 1e-3)
    """Smallest second moment, `null` for that of the number format, and smallest root mean square of a weight: steps
    are relative to it."""
    d: PositiveFloat = 1.0
    """Largest root mean square of an update before the learning rate."""


OptimizerSpec = Annotated[
    AdamSpec
    | AdamWSpec
    | AdagradSpec
    | SgdSpec
    | LionSpec
    | LambSpec
    | MuonSpec
    | NAdamSpec
    | RAdamSpec
    | RmspropSpec
    | AdamaxSpec
    | AdafactorSpec,
    Field(discriminator="type"),
]


class WarmedSchedule(Spec):
    """A schedule that begins with a warmup."""

    warmup: Length | None = None
    """Rise in equal steps to the peak, which the last warmup step reaches; `null`: no warmup."""


class DecayingSchedule(WarmedSchedule):
    """A schedule that ends lower than its peak."""

    min_lr_ratio: Fraction = 0.0
    """Learning rate of the last step, as a fraction of the peak."""


class ConstantSchedule(WarmedSchedule):
    """The peak learning rate from the end of the warmup on."""

    type: Literal["constant"]


class LinearSchedule(DecayingSchedule):
    """A straight fall from the peak to `min_lr_ratio` of it at the last step."""

    type: Literal["linear"]


class CosineSchedule(DecayingSchedule):
    """Half a cosine from the peak to `min_lr_ratio` of it at the last step."""

    type: Literal["cosine"]


class PolynomialSchedule(DecayingSchedule):
    """A fall from the peak to `min_lr_ratio` of it by a power of the steps that are left."""

    type: Literal["polynomial"]
    power: PositiveFloat = 1.0
    """The power; 1 is a straight line, 2 falls faster at first."""


class WsdSchedule(DecayingSchedule):
    """Warmup, stable, decay: the peak until the last `decay` steps, which fall to `min_lr_ratio` of it."""

    type: Literal["wsd"]
    decay: Length
    """How long the fall at the end is."""
    decay_shape: Literal["linear", "cosine", "sqrt"] = "linear"
    """`linear`: a straight line; `cosine`: half a cosine; `sqrt`: 1 minus the root of the progress, steep at first."""


class OneCycleSchedule(Spec):
    """One rise and one longer fall, as in torch's `OneCycleLR`; momentum stays as it is."""

    type: Literal["one_cycle"]
    pct_start: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.3
    """Fraction of the run in which the rate rises."""
    div_factor: Annotated[float, Field(strict=True, ge=1)] = 25.0
    """The first step has the peak divided by this."""
    final_div_factor: Annotated[float, Field(strict=True, ge=1)] = 1e4
    """The last step has the rate of the first divided by this."""
    anneal: Literal["cosine", "linear"] = "cosine"
    """Form of the rise and of the fall."""


class LrRangeTestSchedule(Spec):
    """A learning rate that grows through the whole run, to see at which rate the loss rises."""

    type: Literal["lr_range_test"]
    start_lr_ratio: Annotated[float, Field(strict=True, gt=0, lt=1)] = 1e-4
    """Learning rate of the first step, as a fraction of `optimizer.lr`, which the last step has."""
    growth: Literal["exponential", "linear"] = "exponential"
    """`exponential`: by the same factor at each step; `linear`: by the same amount."""


ScheduleSpec = Annotated[
    ConstantSchedule
    | LinearSchedule
    | CosineSchedule
    | PolynomialSchedule
    | WsdSchedule
    | OneCycleSchedule
    | LrRangeTestSchedule,
    Field(discriminator="type"),
]

DType = Literal["fp32", "bf16", "fp16"]
PrecisionName = Literal["fp32", "bf16", "fp16", "autocast-bf16"]


class LossScaleSpec(Spec):
    """Dynamic loss scaling of fp16."""

    initial_scale_power: NonNegativeInt = 16
    """The first scale is 2 to this power."""
    window: PositiveInt = 1000
    """Good steps before the scale is doubled."""
    hysteresis: PositiveInt = 2
    """Overflows before the scale is halved."""
    min_scale: PositiveInt = 1
    """The scale never falls below this."""


class PrecisionSpec(Spec):
    """Number formats; `precision: bf16` is short for `precision: {dtype: bf16}`."""

    dtype: PrecisionName = "fp32"
    """Format of weights and activations; `autocast-bf16` keeps fp32 weights and computes in bf16 where it is safe."""
    grad_accum_dtype: DType | Auto = "auto"
    """Format gradients are accumulated in; `auto`: fp32, except at ZeRO stage 0, where DeepSpeed only knows `dtype`."""
    communication_dtype: DType | Auto = "auto"
    """Format gradients travel in; `auto`: the same as `grad_accum_dtype`."""
    loss_scale: PositiveFloat | LossScaleSpec | None = None
    """fp16 only: a fixed scale, or the parameters of a dynamic one; `null`: dynamic with the usual parameters."""


def _expand_precision(value: Any) -> Any:
    return {"dtype": value} if isinstance(value, str) else value


PrecisionField = Annotated[
    PrecisionSpec, BeforeValidator(_expand_precision, json_schema_input_type=PrecisionSpec | PrecisionName)
]
