"""The standard library as a source."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from zerotrain.data.sources.python_stdlib import python_stdlib
from zerotrain.data.sources.record import Record
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import PythonStdlibSource


def documents(**fields: object) -> list[Record]:
    problems: list[Diagnostic] = []
    source = PythonStdlibSource.model_validate({"type": "python_stdlib", **fields})
    found = list(python_stdlib(source, "data.train[0]", problems))
    assert problems == []
    return found


def test_documents_are_the_files_of_this_interpreter():
    library = Path(sysconfig.get_path("stdlib"))
    found = documents(split="all")

    assert len(found) > 400
    assert {"argparse.py", "json/decoder.py"} <= {document.name for document in found}
    assert all(document.fields["text"].encode() == (library / document.name).read_bytes() for document in found)


def test_tests_installed_packages_and_empty_files_are_left_out():
    found = documents(split="all")
    parts = {part for document in found for part in Path(document.name).parts[:-1]}

    assert not parts & {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
    assert all(document.fields["text"] for document in found)


def test_one_file_in_twenty_is_for_validation_and_no_file_is_in_both_splits():
    everything = [document.name for document in documents(split="all")]
    train = [document.name for document in documents(split="train")]
    validation = [document.name for document in documents(split="validation")]

    assert sorted(train + validation) == sorted(everything)
    assert 0.02 < len(validation) / len(everything) < 0.10


def test_the_order_is_always_the_same_and_not_alphabetical():
    names = [document.name for document in documents()]

    assert names == [document.name for document in documents()]
    assert names != sorted(names)


def test_max_documents_takes_the_first_of_the_split():
    assert documents(split="validation", max_documents=5) == documents(split="validation")[:5]
