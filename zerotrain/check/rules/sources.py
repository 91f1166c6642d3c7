"""ZT63 and ZT64: sources of data."""

from __future__ import annotations

from collections.abc import Iterator

from zerotrain.check.case import Case
from zerotrain.check.rule import Rule, reported_by, rule
from zerotrain.diagnostic import Diagnostic

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


@rule("ZT635", "weight-without-mixture")
def weight_without_mixture(case: Case) -> Iterator[Diagnostic]:
    """A weight has nothing to be weighed against.

    Why: weights share out the samples of training between its sources; validation reads every sample once, and a
    single source gives all samples.
    Wrong: `validation: [{type: text, path: a.txt, weight: 2}]`
    Right: `train: [{type: text, path: a.txt, weight: 2}, {type: text, path: b.txt}]`
    """
    data = case.spec.data
    for position, source in enumerate(data.validation):
        if source.weight is not None:
            message, help = "validation reads every sample once, whatever its weight", "remove `weight`"
            yield case.warning(f"data.validation[{position}].weight", message, help=help)
    if len(data.train) == 1 and data.train[0].weight is not None:
        message, help = "a single source gives all samples, whatever its weight", "remove it, or add another source"
        yield case.warning("data.train[0].weight", message, help=help)


@rule("ZT636", "budget-of-records")
def budget_of_records(case: Case) -> Iterator[Diagnostic]:
    """A number of tokens is to bound a source whose task does not train on plain text.

    Why: tokens are counted document by document of plain text; pairs, classes and images have no such count.
    Wrong: `{task: {type: sequence_classification}, data: {train: [{type: jsonl, path: a.jsonl, max_tokens: 10M}]}}`
    Right: `max_documents: 20000`
    """
    data = case.spec.data
    for key, sources in (("train", data.train), ("validation", data.validation)):
        for position, source in enumerate(sources):
            if source.max_tokens is not None and case.spec.task.type != "pretrain":
                message = f"`max_tokens` bounds plain text, but the task is `{case.spec.task.type}`"
                help = "bound the source by `max_documents`"
                yield case.error(f"data.{key}[{position}].max_tokens", message, help=help)


RULES: tuple[Rule, ...] = (
    broken_image,
    image_without_class,
    unknown_column,
    unknown_split,
    unloadable_dataset,
    weight_without_mixture,
    budget_of_records,
)
