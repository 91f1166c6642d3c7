"""What the rest of the house knows about prepared data: how much there is, and what its tokens mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataFacts:
    """The measured size and identity of prepared data."""

    fingerprint: str
    """Identity of everything that is trained and evaluated on: text, tokenizer, sample length and packing."""
    tokenizer_fingerprint: str
    """Identity of the mapping from text to tokens."""
    vocab_size: int
    """Largest token id plus one."""
    eos_token_id: int
    """Ends every document."""
    pad_token_id: int
    """Fills the inputs of a sample that is not full."""
    train_samples: int
    train_tokens: int
    """Tokens that are predicted in one pass over the training samples."""
    validation_samples: int
    validation_tokens: int
    """Tokens that are predicted in one pass over the validation samples."""
