"""The data a run is trained and measured on, and how it becomes samples."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Auto, Bool, PositiveFloat, PositiveInt, Spec
from zerotrain.spec.sources import SourceSpec


class BpeTokenizer(Spec):
    """A byte-level BPE tokenizer trained on the training data."""

    type: Literal["bpe"]
    vocab_size: Annotated[int, Field(strict=True, ge=257)] = 4096
    """Entries, the 256 bytes and the end-of-text token included; a small text may give fewer."""


class BytesTokenizer(Spec):
    """One token per byte, and an end-of-text token: 257 entries, nothing to train."""

    type: Literal["bytes"]


class PretrainedTokenizer(Spec):
    """A tokenizer that exists."""

    type: Literal["pretrained"]
    path: str | None = None
    """A folder or hub id; `null` takes the one beside the pretrained model."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""


TokenizerSpec = Annotated[BpeTokenizer | BytesTokenizer | PretrainedTokenizer, Field(discriminator="type")]


Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class ImageSpec(Spec):
    """How images become samples of one size."""

    size: PositiveInt
    """Height and width in pixels, to which every image is stretched."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for colour."""
    mean: Annotated[list[Finite], Field(min_length=1)] = [0.5]
    """What is taken off pixel values between 0 and 1: one number, or one for each channel."""
    std: Annotated[list[PositiveFloat], Field(min_length=1)] = [0.5]
    """What they are divided by then: one number, or one for each channel."""
    random_flip: Bool = False
    """Mirror left and right every other training image, at random; not for digits and letters."""
    random_crop: PositiveInt | None = None
    """Pad training images by so many pixels and cut a window of `size` out, at random; `null`: never."""


Packing = Literal["isolated", "concat", "none"]


class DataSpec(Spec):
    """The data, and how it becomes samples of `seq_len` tokens."""

    train: Annotated[list[SourceSpec], Field(min_length=1)]
    """Sources to train on, read one after the other."""
    validation: list[SourceSpec] = []
    """Sources to evaluate on."""
    tokenizer: TokenizerSpec | None = None
    """How text becomes tokens; images have none."""
    seq_len: PositiveInt | None = None
    """Tokens per sample; longer records are cut. Images have none."""
    image: ImageSpec | None = None
    """How images become samples; text has none."""
    packing: Packing = "isolated"
    """`isolated`: documents share a sample but do not see each other; `concat`: one stream of text cut every `seq_len`
    tokens; `none`: one document per sample, padded."""
    bad_samples: Literal["refuse", "skip"] = "refuse"
    """What becomes of records a task cannot use, such as one without a label: `refuse` stops before training, `skip`
    counts them and goes on. Empty documents are always skipped, and counted."""
    cache: str | Auto = "auto"
    """Directory of prepared data; `auto`: `zerotrain/data` in the user's cache directory."""
