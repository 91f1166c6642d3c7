"""What the rest of the house knows about prepared data: how much there is, and what its tokens mean."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataFacts:
    """The measured size and identity of prepared data."""

    fingerprint: str
    """Identity of everything that is trained and evaluated on: records, tokenizer, sample length and packing."""
    tokenizer_fingerprint: str
    """Identity of the mapping from text to tokens."""
    vocab_size: int
    """Largest token id plus one; 0 without a tokenizer."""
    eos_token_id: int
    """Ends every document."""
    pad_token_id: int
    """Fills the inputs of a sample that is not full."""
    train_samples: int
    train_tokens: int
    """Tokens in one pass over the training samples, without padding; 0 for images."""
    validation_samples: int
    validation_tokens: int
    """Tokens in one pass over the validation samples, without padding; 0 for images."""
    labels: list[str] = field(default_factory=list[str])
    """Names of the classes in the order of their numbers; empty where there are none."""
    skipped: int = 0
    """Records that were left out because they are of no use."""
