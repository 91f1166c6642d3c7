"""Images with a class each, as pixels of one size."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zerotrain.data.cache import Facts, Layer, damaged, obtain, open_layer
from zerotrain.data.corpus import Example
from zerotrain.data.forms.base import Preparation
from zerotrain.data.stores.base import IGNORED, Arrays, Counts, Int64s
from zerotrain.errors import DataError
from zerotrain.spec.data import ImageSpec

KIND = "images"
PIXELS_KIND = "pixels"

_PIXELS_FILE, _LABELS_FILE = "pixels.bin", "labels.npy"
_TRAINING = "data.train"
_MODES = {1: "L", 3: "RGB"}
"""Pillow's names of grey and of colour."""

Pixels = npt.NDArray[np.uint8]


class ImageStore:
    """Prepared images; what is random about one is drawn when it is read."""

    def __init__(self, facts: Facts, pixels: Layer) -> None:
        self._image = ImageSpec.model_validate(facts["image"])
        self._augments = facts["augments"]
        self._labels: Int64s = np.load(pixels.path / _LABELS_FILE, mmap_mode="r")
        shape = (len(self._labels), self._image.channels, self._image.size, self._image.size)
        self._pixels: Pixels = np.memmap(pixels.path / _PIXELS_FILE, np.uint8, mode="r", shape=shape)

    @classmethod
    def open(cls, path: Path) -> ImageStore:
        """Returns the images in a directory of the cache; DataError (ZT608) when it is damaged."""
        facts = open_layer(path, KIND).facts
        pixels = open_layer(path.parent.parent / PIXELS_KIND / facts["pixels_layer"], PIXELS_KIND)
        try:
            return cls(facts, pixels)
        except (OSError, ValueError) as broken:
            raise DataError(damaged(path, f"its arrays cannot be read ({broken})")) from broken

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, indices: Int64s, draws: Int64s, rows: int) -> Arrays:
        """Returns `pixel_values` float32 [rows, channels, size, size] and `labels` [rows]; an empty row is zero."""
        pixels = np.asarray(self._pixels[indices])
        if self._augments:
            drawn = zip(pixels, draws, strict=True)
            pixels = np.stack([augmented(image, int(draw), self._image) for image, draw in drawn])
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (self._image.mean, self._image.std))
        values = np.zeros((rows, *self._pixels.shape[1:]), np.float32)
        values[: len(indices)] = (pixels.astype(np.float32) / 255 - mean) / std
        labels = np.full(rows, IGNORED, np.int64)
        labels[: len(indices)] = self._labels[indices]
        return {"pixel_values": values, "labels": labels}

    def counts(self, indices: Int64s, draws: Int64s) -> Counts:
        """Returns one target for each image, and no token."""
        return Counts(len(indices), 0)


def augmented(image: Pixels, draw: int, how: ImageSpec) -> Pixels:
    """Returns an image [channels, size, size] moved and mirrored at random: a pure function of the draw."""
    random = np.random.Generator(np.random.Philox(key=draw))
    down, across, mirrored = random.random(3)
    if how.random_crop is not None:
        border, places = how.random_crop, 2 * how.random_crop + 1
        padded = np.pad(image, ((0, 0), (border, border), (border, border)))
        top, left = int(down * places), int(across * places)
        image = padded[:, top : top + how.size, left : left + how.size]
    return image[:, :, ::-1] if how.random_flip and mirrored < 0.5 else image


def images_layer(
    preparation: Preparation,
    decode: Callable[[bytes], Any],
    number: Callable[[Example], int],
    classes: Mapping[str, Any],
) -> Layer:
    """Returns the images of a corpus, which are augmented only where they are trained on.

    `decode` makes a Pillow image of bytes, `number` tells the class of an example.
    """
    image, corpus = preparation.data.image, preparation.corpus
    assert image is not None, "a task on images without a size is refused before"
    pixels = _pixels_layer(preparation, image, decode, number, classes)
    augments = corpus.key == _TRAINING and (image.random_flip or image.random_crop is not None)
    facts = {"image": image.model_dump(mode="json"), "augments": augments, "pixels_layer": pixels.name}

    def build(folder: Path) -> Facts:
        return {**facts, "samples": pixels.facts["samples"], "targets": pixels.facts["samples"], "tokens": 0}

    return obtain(preparation.root, KIND, facts, build, preparation.say)


def _pixels_layer(
    preparation: Preparation,
    image: ImageSpec,
    decode: Callable[[bytes], Any],
    number: Callable[[Example], int],
    classes: Mapping[str, Any],
) -> Layer:
    corpus = preparation.corpus

    def build(folder: Path) -> Facts:
        preparation.say(f"decoding {corpus.documents:,} images")
        labels = array("q")
        with (folder / _PIXELS_FILE).open("wb") as file:
            for example in corpus.examples():
                file.write(_resized(decode(example["image"]), image).tobytes())
                labels.append(number(example))
        np.save(folder / _LABELS_FILE, np.frombuffer(labels, np.int64))
        return {"samples": len(labels)}

    key = {"records": corpus.digest, "size": image.size, "channels": image.channels, **classes}
    return obtain(preparation.root, PIXELS_KIND, key, build, preparation.say)


def _resized(image: Any, wanted: ImageSpec) -> Pixels:
    """Returns the pixels [channels, size, size] of a Pillow image, stretched to the size as transformers does."""
    from PIL.Image import Resampling

    size = (wanted.size, wanted.size)
    fitting = image.convert(_MODES[wanted.channels]).resize(size, Resampling.BILINEAR)
    pixels = np.asarray(fitting, np.uint8)
    return pixels[None] if wanted.channels == 1 else pixels.transpose(2, 0, 1)
