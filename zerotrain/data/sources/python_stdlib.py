"""The source code of the interpreter's own standard library: real text that is on every machine."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from zerotrain.data.sources.record import Record, in_split, read_text
from zerotrain.diagnostic import Diagnostic
from zerotrain.spec.sources import PythonStdlibSource

_LEFT_OUT = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})


def python_stdlib(source: PythonStdlibSource, key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    """Yields the library's files in the order of their paths' hashes, named by their paths inside the library.

    Tests and installed packages are left out, and so are empty files: they only mark packages.
    """
    root = Path(sysconfig.get_path("stdlib"))
    names = [name for name in _names(root) if in_split(name.encode(), source.split)]
    names.sort(key=lambda name: blake2b(name.encode()).digest())
    return islice(_documents(root, names, key, problems), source.max_documents)


def _documents(root: Path, names: list[str], key: str, problems: list[Diagnostic]) -> Iterator[Record]:
    for name in names:
        text = read_text(root / name, name, key, problems)
        if text:
            yield Record(name, {"text": text})


def _names(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        paths = (Path(folder, name) for name in files if name.endswith(".py"))
        yield from (path.relative_to(root).as_posix() for path in paths)
