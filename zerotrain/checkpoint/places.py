"""Directories elsewhere: local ones, and URLs of any file system that fsspec opens (`s3://`, `gs://`, `memory://`).

Object stores have no rename. What makes a directory complete is one file of it, its seal: it is removed first when the
directory changes, and written last.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import split_protocol, url_to_fs

from zerotrain.diagnostic import error
from zerotrain.errors import CheckpointError, reason_of

_PROBE = ".zerotrain-probe"
_WITHOUT_DIRECTORIES = {"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "oci", "oss", "memory"}
"""Protocols of object stores; `makedirs` of some makes a bucket of any misspelled name."""


def is_url(place: str) -> bool:
    """Tells a URL from a path."""
    return split_protocol(place)[0] is not None


@dataclass(frozen=True)
class Place:
    """A directory on a file system."""

    url: str
    system: Any
    """An fsspec file system; none of its methods are typed."""
    root: str

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self.url.rstrip('/')}/{name}", self.system, f"{self.root.rstrip('/')}/{name}")

    def probe(self) -> None:
        """Writes a small file, reads and removes it; raises CheckpointError when that cannot be done."""
        with _telling(self.url, "write"):
            self._make_directory(self.root)
            self.system.pipe_file(f"{self.root}/{_PROBE}", b"zerotrain")
            found = self.system.cat_file(f"{self.root}/{_PROBE}")
            self.system.rm_file(f"{self.root}/{_PROBE}")
            if found != b"zerotrain":
                raise OSError("what was written is not what is read")

    def _make_directory(self, path: str) -> None:
        protocols = self.system.protocol
        if _WITHOUT_DIRECTORIES.isdisjoint([protocols] if isinstance(protocols, str) else protocols):
            self.system.makedirs(path, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file; None when it is not there."""
        with _telling(self.url, "read"):
            try:
                return self.system.cat_file(f"{self.root}/{name}")
            except FileNotFoundError:
                return None

    def files(self) -> dict[str, int]:
        """Returns all files below, as relative path to bytes."""
        with _telling(self.url, "read"):
            self.system.invalidate_cache()
            try:
                found = self.system.find(self.root, detail=True)
            except FileNotFoundError:
                return {}
            start = len(self.root.rstrip("/")) + 1
            return {path[start:]: entry["size"] for path, entry in found.items() if entry["type"] == "file"}

    def directories(self) -> list[str]:
        """Returns the names of the directories right below."""
        return sorted({name.partition("/")[0] for name in self.files() if "/" in name})

    def put(self, source: Path, names: Iterable[str]) -> None:
        """Copies files of a local directory here, and compares their sizes; those of a run in training may grow."""
        sizes = {name: (source / name).stat().st_size for name in names}
        with _telling(self.url, "write"):
            for name in sizes:
                self._make_directory(f"{self.root}/{name}".rpartition("/")[0])
                self.system.put_file(str(source / name), f"{self.root}/{name}")
        there = self.files()
        for name, size in sizes.items():
            if there.get(name, -1) < size:
                raise _failed(self.url, "write", f"`{name}` has {there.get(name, 0)} of {size} bytes")

    def put_sealed(self, source: Path, seal: str) -> bool:
        """Makes this a copy of a local directory; returns False when it is one already, as the seal tells."""
        content = (source / seal).read_bytes()
        if self.read(seal) == content:
            return False
        names = {str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()}
        self.remove([seal])
        self.remove(name for name in self.files() if name not in names)
        self.put(source, sorted(names - {seal}))
        self.put(source, [seal])
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Removes files, where they are there."""
        with _telling(self.url, "write"):
            for name in names:
                try:
                    self.system.rm_file(f"{self.root}/{name}")
                except FileNotFoundError:
                    continue

    def get(self, names: Iterable[str], target: Path) -> None:
        """Copies files from here into a local directory; CheckpointError when a name leads out of it."""
        names = list(names)
        for name in names:
            if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
                message = f"`{name}` at `{self.url}` leads out of the directory it is copied to"
                help = "somebody has put it there: look at the place before you use anything of it"
                raise CheckpointError(error("ZT786", "name-that-leads-out", message, help=help))
        with _telling(self.url, "read"):
            for name in names:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                self.system.get_file(f"{self.root}/{name}", str(target / name))


def open_place(url: str) -> Place:
    """Returns a place; raises CheckpointError when nothing can open such a URL."""
    try:
        system, root = url_to_fs(url)
    except (ImportError, ValueError) as missing:
        message = f"nothing installed opens `{url}`: {reason_of(missing)}"
        help = "install its file system for fsspec, such as `pip install s3fs`, or give a directory"
        raise CheckpointError(error("ZT780", "unopenable-place", message, help=help, key="archive.to")) from None
    return Place(url, system, root)


@contextmanager
def _telling(url: str, verb: str) -> Generator[None]:
    """Turns whatever a file system raises into a CheckpointError: each has classes of its own."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as failure:
        raise _failed(url, verb, reason_of(failure)) from None


def _failed(url: str, verb: str, reason: str) -> CheckpointError:
    help = "see that it exists, and that the credentials in the environment may read and write there"
    return CheckpointError(error("ZT781", "unreachable-place", f"cannot {verb} `{url}`: {reason}", help=help))
