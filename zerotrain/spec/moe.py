"""Experts in the place of a dense model's feed-forward layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Bool, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Spec


class MoeSpec(Spec):
    """Feed-forward layers of a dense decoder become layers of DeepSpeed's `MoE`: a router and several experts.

    `parallel.ep` says over how many ranks the experts of a layer are spread.
    """

    experts: Annotated[int, Field(strict=True, ge=2)]
    """Experts of a layer, each as large as the feed-forward layer it stands for."""
    top_k: PositiveInt = 2
    """Experts that compute a token; for 1 its result counts by the router's probability, for more these sum to 1."""
    every: PositiveInt = 1
    """Every so many-th layer has experts: layer i, counted from 0, where (i + 1) is a multiple."""
    init: Literal["random", "upcycled"] = "random"
    """`random`: each expert is drawn by itself; `upcycled`: each begins as the dense layer (Komatsuzaki et al., ICLR
    2023), so that the model begins as the dense one if `top_k` is more than 1."""
    drop_tokens: Bool = False
    """Experts have a capacity in each micro-batch, and tokens beyond it pass the layer by. Keeps memory in bounds, but
    makes a loss depend on what else is in the micro-batch."""
    capacity_factor: PositiveFloat = 1.25
    """Capacity while training, as a multiple of an even share of the tokens; with `drop_tokens`."""
    eval_capacity_factor: PositiveFloat = 2.0
    """The same while evaluating."""
    min_capacity: NonNegativeInt = 4
    """Least capacity of an expert, in tokens; for `top_k: 1` a micro-batch must have as many."""
    noisy_gate: Literal["jitter", "rsample"] | None = None
    """Noise in the router while training. `jitter`: what it sees is multiplied by 0.99 to 1.01; `rsample`: its choice
    is drawn, for `top_k: 1` alone; `null`: none."""
    residual: Bool = False
    """The dense layer stays beside the experts, and learned weights mix the two (Rajbhandari et al., arXiv
    2201.05596)."""
    aux_loss_weight: NonNegativeFloat = 0.01
    """How much an even load of experts counts beside the loss; summed over the layers. 0: it is not trained."""
