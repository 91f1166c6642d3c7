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


@reported_by(_PREPARING, "ZT632", "unknown-column")
def unknown_column() -> None:
    """A column that the spec names is not in the data.

    Why: the task would miss it in every record.
    Wrong: `columns: {text: reveiw}` for records with `review` and `stars`
    Right: `columns: {text: review}`
    """


@reported_by(_PREPARING, "ZT633", "unknown-split")
def unknown_split() -> None:
    """A dataset does not have the split that is asked for.

    Why: another split is not guessed: it may be the one that is meant for testing.
    Wrong: `{type: arrow, path: ./imdb}` for a folder with the splits `train` and `test`
    Right: `{type: arrow, path: ./imdb, split: train}`
    """


@reported_by(_PREPARING, "ZT634", "unloadable-dataset")
def unloadable_dataset() -> None:
    """A dataset of the hub cannot be loaded.

    Why: its id, subset or revision does not exist, access is restricted, or the hub cannot be reached.
    Wrong: `{type: hub, id: imdb-reviews}`
    Right: `{type: hub, id: stanfordnlp/imdb}`
    """


RULES: tuple[Rule, ...] = (
    broken_image,
    image_without_class,
    unknown_column,
    unknown_split,
    unloadable_dataset,
)
