"""Floating-point operations a model needs, whatever the hardware does."""

from __future__ import annotations

from zerotrain.arch.shape import ModelShape


def forward_backward_flops_per_token(shape: ModelShape, sequence_length: int, causal: bool = True) -> float:
    """Returns the model FLOPs of one token in a sequence, forward and backward, without any recomputation.

    6 per parameter that multiplies, and 6 x layers x sequence x heads x (query length + value length) for attention,
    half of it where a token sees only earlier ones: the count of PaLM (Chowdhery et al. 2022, appendix B), which for
    equal lengths is 12 x layers x hidden x sequence. Input tables multiply nothing and do not count; the output matrix
    counts even where it is the input embedding; of routed experts only those a token is sent to count. Sliding windows
    and packed documents are counted as if every token saw the whole sequence. For an image transformer a token is a
    patch. Raises ValueError for a convolutional network, whose work per image has no such formula.
    """
    if not shape.num_attention_heads:
        raise ValueError(f"`{shape.architecture}` has no tokens to count operations for")
    output = shape.vocab_size * shape.hidden_size if shape.tied_embeddings else 0
    multiplying = shape.active_parameters - shape.embedding_parameters + output
    lengths = shape.num_attention_heads * (shape.head_dim + shape.value_head_dim)
    attention = 6 * shape.num_layers * sequence_length * lengths
    return 6.0 * multiplying + (attention / 2 if causal else attention)
