"""What is in the files of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zerotrain.runs.catalogue import checksum
from zerotrain.runs.files import sync

Contents = dict[str, tuple[int, str]]
"""Relative path to size in bytes and checksum."""


def contents_of(directory: Path, files: Sequence[Path]) -> Contents:
    """Returns the sizes and checksums of files once they are on the disk."""
    contents: Contents = {}
    for file in files:
        sync(file)
        contents[str(file.relative_to(directory))] = file.stat().st_size, checksum(file)
    return contents


def missing_from(contents: Contents, directory: Path) -> list[Path]:
    """Returns the files in a directory that are not among its contents."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return [file for file in files if str(file.relative_to(directory)) not in contents]
