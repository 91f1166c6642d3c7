"""ZT63 and ZT64: sources of data."""

from __future__ import annotations

from zerotrain.check.rule import Rule, reported_by

_PREPARING = "preparing data"


@reported_by(_PREPARING, "ZT630", "broken-image")
def broken_image() -> None:
    """Files cannot be read as images.

    Why: a file cut off in a download, or one that is no image, has no pixels to train on.
    Wrong: `photos/cat/notes.txt`
    Right: `photos/cat/1.png`
    """


@reported_by(_PREPARING, "ZT631", "image-without-class")
def image_without_class() -> None:
    """Images lie beside the folders of the classes, in none of them.

    Why: the class of an image is the name of its folder.
    Wrong: `photos/1.png`
    Right: `photos/cat/1.png`
    """


RULES: tuple[Rule, ...] = (
    broken_image,
    image_without_class,
)
