"""Where records come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import Bool, Count, PositiveFloat, PositiveInt, Spec

Part = Literal["train", "validation", "all"]
Columns = dict[str, str]


FOLDER_SIGNS = ("/", "./", "../", "~")
"""How the name of a dataset begins that is a folder on this machine, not an id of the hub."""


class Source(Spec):
    """What every source has."""

    max_documents: PositiveInt | None = None
    """Read only this many records, from the first of the split on."""
    max_tokens: Count | None = None
    """Take records in their order until they have this many tokens, the ends of texts included: `10M`. The record that
    reaches it is the last. A tokenizer is trained on all that is read; `max_documents` bounds that too."""
    weight: PositiveFloat | None = None
    """Share of the samples that come from this source, relative to the weights of the others, whatever its size: what
    is used up begins again, in a new order. A source without one among others that have one weighs 1; `null` everywhere
    takes every sample as often."""


class DividedSource(Source):
    """A source that has no splits of its own."""

    split: Part = "all"
    """One record in twenty, chosen by the hash of its content, is `validation`, the rest is `train`, so copies are
    always in the same split, and of few records one may be empty; `all` reads every record."""


class PythonStdlibSource(DividedSource):
    """The source code of the interpreter's own standard library, without its tests: real text on every machine."""

    type: Literal["python_stdlib"]
    split: Part = "train"
    """One file in twenty, chosen by the hash of its path, is `validation`; the rest is `train`."""
    max_documents: PositiveInt | None = None
    """Read only this many files, in the order of their paths' hashes."""


class TextSource(DividedSource):
    """Plain UTF-8 text files, one document each."""

    type: Literal["text"]
    path: str
    """A file, or a pattern such as `corpus/**/*.txt`; relative to the directory the command runs in."""


class JsonlSource(DividedSource):
    """Lines of JSON, one record each."""

    type: Literal["jsonl"]
    path: str
    """A file, or a pattern such as `reviews/*.jsonl`; relative to the directory the command runs in. What ends in
    `.gz` is unpacked while it is read."""
    columns: Columns = {}
    """Columns of the file by what the task calls them: `{text: review, label: stars}`."""


class JsonSource(DividedSource):
    """A list of records in one JSON file, or in an object under `data`."""

    type: Literal["json"]
    path: str
    """A file, or a pattern such as `reviews/*.json`; relative to the directory the command runs in."""
    columns: Columns = {}
    """Columns of the file by what the task calls them: `{text: review, label: stars}`."""


class CsvSource(DividedSource):
    """A table of text, one record in each row; every value is text."""

    type: Literal["csv"]
    path: str
    """A file, or a pattern such as `reviews/*.csv`; relative to the directory the command runs in. What ends in `.gz`
    is unpacked while it is read."""
    delimiter: Annotated[str, Field(pattern=r'^[^"\r\n]$')] = ","
    """The character between two values; `"\\t"` for a tab."""
    header: Bool = True
    """The first row names the columns; without it they are `"0"`, `"1"` and so on."""
    columns: Columns = {}
    """Columns of the file by what the task calls them: `{text: review, label: stars}`."""


class ParquetSource(DividedSource):
    """Parquet files, one record in each row."""

    type: Literal["parquet"]
    path: str
    """A file, or a pattern such as `reviews/*.parquet`; relative to the directory the command runs in."""
    columns: Columns = {}
    """Columns of the file by what the task calls them: `{text: review, label: stars}`."""


class ArrowSource(Source):
    """A folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` of `datasets` wrote."""

    type: Literal["arrow"]
    path: str
    """The folder; relative to the directory the command runs in."""
    split: str | None = None
    """Which of its splits, where it has some: `train`."""
    part: Part = "all"
    """`validation` is one record in twenty of the split, chosen by the hash of its content, `train` the rest; `all`
    reads every record."""
    columns: Columns = {}
    """Columns of the dataset by what the task calls them: `{text: review, label: stars}`."""


class HubSource(Source):
    """A dataset of the Hugging Face hub, or a folder of data files that `datasets` can load."""

    type: Literal["hub"]
    id: str
    """Its id, `org/name`, or a folder, which begins with `/`, `./`, `../` or `~`."""
    subset: str | None = None
    """Which of its configurations, where it has some."""
    split: str = "train"
    """Which of its splits; `train[:1%]` takes a piece of one that is not streamed."""
    revision: str | None = None
    """Branch, tag or commit; only a commit names data that never changes."""
    streaming: Bool = False
    """Read over the network without keeping a copy of the files. Data is still prepared before training starts, and
    what was prepared is kept, so that a run resumes exactly: set `max_documents`, unless all of it is meant."""
    part: Part = "all"
    """`validation` is one record in twenty of the split, chosen by the hash of its content, `train` the rest; `all`
    reads every record."""
    columns: Columns = {}
    """Columns of the dataset by what the task calls them: `{text: review, label: stars}`."""


class ImagesSource(DividedSource):
    """Image files in a folder for each class: `photos/cat/1.png`."""

    type: Literal["images"]
    path: str
    """The folder that has the classes' folders; relative to the directory the command runs in."""


class SklearnDigitsSource(DividedSource):
    """The 1,797 handwritten digits of scikit-learn, 8 by 8 pixels in grey: real images on every machine."""

    type: Literal["sklearn_digits"]
    split: Part = "train"
    """One image in twenty, chosen by the hash of its content, is `validation`; the rest is `train`."""


SourceSpec = Annotated[
    PythonStdlibSource
    | TextSource
    | JsonlSource
    | JsonSource
    | CsvSource
    | ParquetSource
    | ArrowSource
    | HubSource
    | ImagesSource
    | SklearnDigitsSource,
    Field(discriminator="type"),
]
