"""What the rest of the house knows about prepared data: how much there is, and what its tokens mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


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

    def as_json(self) -> dict[str, str | int]:
        """Returns the facts as plain values, in the order of the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DataFacts:
        """Returns the facts that `as_json` wrote; KeyError when one is missing. Other values are not looked at."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})
