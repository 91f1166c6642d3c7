"""What a model is made of: its sizes and its parameters, known before any weight exists."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExpertShape:
    """The experts of a mixture-of-experts model."""

    num_experts: int
    """Routed experts in each of `moe_layers`."""
    experts_per_token: int
    """Routed experts that compute one token."""
    moe_layers: tuple[int, ...]
    """Indices of the layers that have experts; the others are dense."""
    expert_parameters: int
    """Parameters of one expert in one layer."""


@dataclass(frozen=True)
class ModelShape:
    """A model with a head. A size the model does not have is 0."""

    architecture: str
    head: str
    hidden_size: int
    """Width of the residual stream; for a convolutional network the channels of its last stage."""
    num_layers: int
    """Decoder or encoder layers; for a convolutional network residual blocks."""
    num_attention_heads: int
    num_key_value_heads: int
    """Heads of keys and values as attention sees them: latent attention (MLA) expands them to every head."""
    head_dim: int
    """Length of a query and of a key of one head."""
    value_head_dim: int
    """Length of a value of one head."""
    intermediate_size: int
    """Inner width of the dense MLP; experts may have another."""
    vocab_size: int
    max_positions: int | None
    """Longest sequence the model is meant for; `None` when it has no such length."""
    learned_positions: bool
    """Positions are a table: a sequence longer than `max_positions` fails. Otherwise it is only not what is meant."""
    causal: bool
    """A token sees only itself and earlier tokens."""
    tied_embeddings: bool
    """The output matrix is the input embedding."""
    parameters: int
    """Distinct parameters: a shared one counts once, buffers do not count."""
    active_parameters: int
    """Parameters one token meets: all of them but the routed experts that are not chosen."""
    embedding_parameters: int
    """Parameters that are looked up or added to the input and multiply nothing: token, position and type tables."""
    layer_parameters: tuple[int, ...]
    """Parameters of each layer, in order."""
    experts: ExpertShape | None


@dataclass(frozen=True)
class ShapeProblem:
    """One reason why a config cannot become a model."""

    key: str
    """The key of the config to blame, as the user wrote it."""
    message: str
    """The fact with its values, lower case, names in backticks."""
    help: str | None = None
    """The way out."""


class UnknownArchitecture(LookupError):
    """The architecture is not one of `architectures()`."""
