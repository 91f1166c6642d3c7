"""ZT67: masked language models."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.task import MaskedLmTask

_SHORTEST = 3


@rule("ZT670", "no-room-for-text")
def no_room_for_text(case: Case) -> Iterator[Diagnostic]:
    """Samples of a masked language model have no room for text.

    Why: each piece of text stands between two special tokens, and has at least one token of its own.
    Wrong: `{task: {type: masked_lm}, data: {seq_len: 2}}`
    Right: `{task: {type: masked_lm}, data: {seq_len: 128}}`
    """
    length = case.spec.data.seq_len
    if isinstance(case.spec.task, MaskedLmTask) and length is not None and length < _SHORTEST:
        message = f"samples of {length} tokens have no room for text between their two special tokens"
        yield case.error("data.seq_len", message, help=f"use at least {_SHORTEST}; 128 and 512 are usual")


@rule("ZT671", "too-large-shares")
def too_large_shares(case: Case) -> Iterator[Diagnostic]:
    """More than all hidden tokens are to be replaced.

    Why: a hidden token is seen as the mask token, as a random one, or as it is: the shares of the first two cannot come
    to more than 1.
    Wrong: `task: {type: masked_lm, mask_share: 0.9, random_share: 0.2}`
    Right: `task: {type: masked_lm, mask_share: 0.8, random_share: 0.1}`
    """
    task = case.spec.task
    if isinstance(task, MaskedLmTask) and task.mask_share + task.random_share > 1:
        message = f"`mask_share` {task.mask_share} and `random_share` {task.random_share} come to more than 1"
        yield case.error("task.random_share", message, help="the rest to 1 is seen as it is: 0.8 and 0.1 are usual")


@reported_by("preparing data", "ZT672", "no-mask-token")
def no_mask_token() -> None:
    """The tokenizer lacks special tokens that a masked language model needs.

    Why: a text stands between a first and a last special token, and the mask token stands for what is hidden; one that
    the model has never seen is not invented.
    Wrong: `{task: {type: masked_lm}, data: {tokenizer: {type: pretrained, path: ./gpt2}}}`
    Right: `{task: {type: masked_lm}, data: {tokenizer: {type: pretrained, path: ./bert}}}`
    """


@reported_by("preparing data", "ZT673", "unmarked-words")
def unmarked_words() -> None:
    """Whole words are to be hidden, but the tokenizer does not tell where they begin.

    Why: words are read off the tokens: WordPiece marks what continues a word with `##`, SentencePiece and byte-level
    tokenizers mark the space in front.
    Wrong: `task: {type: masked_lm, whole_word: true}` with a tokenizer that has neither
    Right: `task: {type: masked_lm, whole_word: false}`
    """


@reported_by("starting the engine", "ZT674", "entangled-documents")
def entangled_documents() -> None:
    """An encoder sees documents in one sample otherwise than each alone.

    Why: the architecture ignores the mask between documents, or counts positions its own way, and would train on
    neighbours without a word.
    Wrong: `packing: isolated` with such an architecture
    Right: `packing: none`
    """


@rule("ZT675", "packed-flash-encoder")
def packed_flash_encoder(case: Case) -> Iterator[Diagnostic]:
    """An encoder is to keep documents apart with flash attention.

    Why: a token of an encoder sees on both sides, so documents are kept apart by a mask, which flash attention does not
    take.
    Wrong: `{task: {type: masked_lm}, model: {attention: flash_attention_2}, data: {packing: isolated}}`
    Right: `{task: {type: masked_lm}, model: {attention: sdpa}, data: {packing: isolated}}`
    """
    spec = case.spec
    is_packed = isinstance(spec.task, MaskedLmTask) and spec.data.packing == "isolated"
    if is_packed and spec.model.attention == "flash_attention_2":
        message = "flash attention takes no mask that keeps packed documents of an encoder apart"
        yield case.error("model.attention", message, help="use `sdpa`, or `packing: none`")


RULES: tuple[Rule, ...] = (
    no_room_for_text,
    too_large_shares,
    no_mask_token,
    unmarked_words,
    entangled_documents,
    packed_flash_encoder,
)
