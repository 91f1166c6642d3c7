"""How many entries the tokenizer of a run has, as far as its spec tells."""

from __future__ import annotations

from collections.abc import Mapping

from zerotrain.compile.facts import DataFacts
from zerotrain.spec.data import BpeTokenizer, BytesTokenizer
from zerotrain.spec.run import RunSpec

END_OF_TEXT = "<|endoftext|>"
CLASSIFY, SEPARATE, MASK = "[CLS]", "[SEP]", "[MASK]"
TURN_BEGINS, TURN_ENDS = "<|im_start|>", "<|im_end|>"

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""The template that turns a chat into text, for tokenizers of our making."""

_ENCODER = (END_OF_TEXT, CLASSIFY, SEPARATE, MASK)
_CHAT = (END_OF_TEXT, TURN_BEGINS, TURN_ENDS)

SPECIAL_TOKENS: Mapping[str, tuple[str, ...]] = {
    "pretrain": (END_OF_TEXT,),
    "masked_lm": _ENCODER,
    "sequence_classification": _ENCODER,
    "sft": _CHAT,
    "dpo": _CHAT,
    "reward": _CHAT,
    "distill": (END_OF_TEXT,),
}
"""Entries of a tokenizer of our making that are not text, by `task.type`."""


IMAGE_TASKS = ("image_classification",)
"""Tasks without a tokenizer, by `task.type`."""


def vocabulary_size(spec: RunSpec, facts: DataFacts | None = None) -> int | None:
    """Returns the entries of the tokenizer's vocabulary; None without one, and while only itself knows."""
    tokenizer = None if spec.task.type in IMAGE_TASKS else spec.data.tokenizer
    if isinstance(tokenizer, BpeTokenizer):
        return tokenizer.vocab_size
    if isinstance(tokenizer, BytesTokenizer):
        return 256 + len(SPECIAL_TOKENS[spec.task.type])
    return facts.vocab_size or None if facts else None
