"""Images with a class each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

from zerotrain.data.cache import Layer
from zerotrain.data.corpus import Example
from zerotrain.data.forms.base import Preparation, missing_column, wrong_type
from zerotrain.data.forms.classification import LabelReader
from zerotrain.data.sources.record import Fault, Record
from zerotrain.data.stores.images import images_layer
from zerotrain.spec.task import ImageClassificationTask

if TYPE_CHECKING:
    from PIL.Image import Image


class ImageClassificationForm:
    """Image classification: a record has `image`, the bytes of an encoded image, and `label`."""

    def __init__(self, task: ImageClassificationTask) -> None:
        self._classes = LabelReader(task.labels)

    @property
    def labels(self) -> Sequence[str]:
        """The names of the classes."""
        return self._classes.names

    def read(self, record: Record) -> Mapping[str, Any] | Fault:
        """Returns image and label."""
        image, label = _image(record), self._classes.read(record)
        faults = (value for value in (image, label) if isinstance(value, Fault))
        return next(faults, None) or {"image": image, "label": label}

    def settle(self) -> None:
        """Fixes the classes."""
        self._classes.settle()

    def texts(self, example: Mapping[str, Any]) -> Iterator[str]:
        """Yields nothing."""
        yield from ()

    def layer(self, preparation: Preparation) -> Layer:
        """Returns pixels, one array for each record."""
        return images_layer(preparation, decoded, self._number, {"labels": list(self.labels)})

    def _number(self, example: Example) -> int:
        return self._classes.number(example["label"])


def decoded(content: bytes) -> Image:
    """Returns an image the way up it was taken; raises what Pillow raises for broken ones."""
    from PIL import Image, ImageOps

    with Image.open(BytesIO(content)) as image:
        return ImageOps.exif_transpose(image)


def _image(record: Record) -> bytes | Fault:
    if "image" not in record.fields:
        return missing_column(record, "image")
    content = record.fields["image"]
    if not isinstance(content, bytes):
        return wrong_type("image", "the bytes of an encoded image", content)
    try:
        decoded(content)
    except Exception as broken:  # Pillow's decoders raise many unrelated types
        return Fault("ZT630", "broken-image", f"has a broken `image`: {_reason(broken)}")
    return content


def _reason(broken: Exception) -> str:
    """Returns what is wrong, without the address of an object that Pillow names."""
    from PIL import UnidentifiedImageError

    return "its format is unknown" if isinstance(broken, UnidentifiedImageError) else str(broken).splitlines()[0]
