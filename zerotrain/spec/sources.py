"""Where records come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zerotrain.spec.base import PositiveInt, Spec

Split = Literal["train", "validation", "all"]
Columns = dict[str, str]


class Source(Spec):
    """What every source has."""

    split: Split = "all"
    """One record in twenty, chosen by the hash of its content, is `validation`, the rest is `train`, so copies are
    always in the same split, and of few records one may be empty; `all` reads every record."""
    max_documents: PositiveInt | None = None
    """Read only this many records, from the first of the split on."""


class PythonStdlibSource(Source):
    """The source code of the interpreter's own standard library, without its tests: real text on every machine."""

    type: Literal["python_stdlib"]
    split: Split = "train"
    """One file in twenty, chosen by the hash of its path, is `validation`; the rest is `train`."""
    max_documents: PositiveInt | None = None
    """Read only this many files, in the order of their paths' hashes."""


class TextSource(Source):
    """Plain UTF-8 text files, one document each."""

    type: Literal["text"]
    path: str
    """A file, or a pattern such as `corpus/**/*.txt`; relative to the directory the command runs in."""


class JsonlSource(Source):
    """Lines of JSON, one record each."""

    type: Literal["jsonl"]
    path: str
    """A file, or a pattern such as `reviews/*.jsonl`; relative to the directory the command runs in. A file that ends
    in `.gz` is unpacked while it is read."""
    columns: Columns = {}
    """Columns of the file by what the task calls them: `{text: review, label: stars}`."""


class ImagesSource(Source):
    """Image files in a folder for each class: `photos/cat/1.png`."""

    type: Literal["images"]
    path: str
    """The folder that has the classes' folders; relative to the directory the command runs in."""


class SklearnDigitsSource(Source):
    """The 1,797 handwritten digits of scikit-learn, 8 by 8 pixels in grey: real images on every machine."""

    type: Literal["sklearn_digits"]
    split: Split = "train"
    """One image in twenty, chosen by the hash of its content, is `validation`; the rest is `train`."""


SourceSpec = Annotated[
    PythonStdlibSource | TextSource | JsonlSource | ImagesSource | SklearnDigitsSource, Field(discriminator="type")
]
