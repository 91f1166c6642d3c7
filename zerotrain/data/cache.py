"""Content-addressed directories that are either whole or not there, whatever is killed while it builds them.

A layer is built in a sibling directory `<name>.building`, under a lock `<name>.lock` that the kernel releases when
its holder dies, and appears under its own name by one atomic rename.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import DataError, reason_of
from zerotrain.runs.files import sync

Facts = Mapping[str, Any]
"""Plain JSON values."""

Say = Callable[[str], None]
"""Takes a line of progress."""

_FORMAT = 1
_META = "meta.json"


@dataclass(frozen=True)
class Layer:
    """A finished directory of the cache."""

    path: Path
    facts: Facts
    """What its builder found out about it."""

    @property
    def name(self) -> str:
        """Returns the hash of everything the layer was built from."""
        return self.path.name


def cache_root(configured: str) -> Path:
    """Returns the directory of `data.cache`; `auto` is `zerotrain/data` in the user's cache directory (XDG).

    Raises DataError (ZT605) when the user has no home directory to look in.
    """
    try:
        if configured != "auto":
            return Path(configured).expanduser().absolute()
        home = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "zerotrain" / "data"
    except RuntimeError as homeless:
        raise DataError(_unwritable(Path("~"), OSError(str(homeless)))) from homeless


def digest(value: object) -> str:
    """Returns the identity of a plain JSON value: 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def obtain(root: Path, kind: str, key: Facts, build: Callable[[Path], Facts], say: Say) -> Layer:
    """Returns the layer of this kind and key, built by `build` (folder -> facts) unless it is there already.

    One process builds, others wait for it. Raises DataError: ZT605 when the cache cannot be written, ZT608 when the
    layer is damaged, and whatever `build` raises.
    """
    identity = {"format": _FORMAT, "kind": kind, "key": dict(key)}
    target = root / kind / digest(identity)
    try:
        if not target.exists():
            _build_once(target, identity, build, say)
    except OSError as failure:
        raise DataError(_unwritable(root, failure)) from failure
    return open_layer(target, kind)


def open_layer(path: Path, kind: str) -> Layer:
    """Returns the finished layer of this kind in this directory.

    Raises DataError (ZT608) when it is of another kind, or a file is missing or has another size than its builder
    wrote down.
    """
    try:
        meta = json.loads((path / _META).read_bytes())
        files, facts, found_kind = meta["files"], meta["facts"], meta["kind"]
    except (OSError, ValueError, KeyError, TypeError) as broken:
        raise DataError(damaged(path, f"its `{_META}` cannot be read ({broken})")) from broken
    if found_kind != kind:
        raise DataError(damaged(path, f"it holds `{found_kind}`, not `{kind}`"))
    for name, size in files.items():
        found = (path / name).stat().st_size if (path / name).is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found:,} bytes, not {size:,}"
            raise DataError(damaged(path, f"`{name}` {state}"))
    return Layer(path, facts)


def damaged(path: Path, fact: str) -> Diagnostic:
    """Returns the finding for a layer that is not what its builder wrote."""
    way_out = f"delete the directory `{path}` and prepare the data again"
    return error("ZT608", "damaged-store", f"prepared data in `{path}` is damaged: {fact}", help=way_out)


def _build_once(target: Path, identity: Facts, build: Callable[[Path], Facts], say: Say) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target, say):
        if target.exists():
            return
        _sweep(target.parent, target.name)
        folder = _building(target)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            _seal(folder, identity, build(folder))
            folder.rename(target)
            sync(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _seal(folder: Path, identity: Facts, facts: Facts) -> None:
    """Puts the files on the disk first, the file that vouches for them last."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for path in files:
        sync(path)
    sizes = {path.name: path.stat().st_size for path in files}
    meta = {**identity, "files": sizes, "facts": dict(facts)}
    (folder / _META).write_text(json.dumps(meta, indent=1) + "\n")
    sync(folder / _META)
    sync(folder)


def _building(target: Path) -> Path:
    return target.with_name(f"{target.name}.building")


@contextmanager
def _locked(target: Path, say: Say) -> Generator[None]:
    handle = _try_lock(target)
    if handle is None:
        say(f"waiting for another process that prepares {target.name[:12]}")
    while handle is None:
        handle = _try_lock(target, wait=True)
    try:
        yield
    finally:
        _unlock(target, handle)


def _try_lock(target: Path, *, wait: bool = False) -> int | None:
    """Returns a handle that holds the lock, or None when another process holds it or has just removed its file."""
    path = target.with_name(f"{target.name}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    held = False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.path.samestat(os.fstat(handle), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return None
    finally:
        if not held:
            os.close(handle)
    return handle if held else None


def _unlock(target: Path, handle: int) -> None:
    # Removed while it is held: whoever opened the file before sees that it is gone, and opens a new one.
    with suppress(OSError):
        target.with_name(f"{target.name}.lock").unlink()
    os.close(handle)


def _sweep(parent: Path, own: str) -> None:
    """Removes what killed builders of other layers left behind; a builder that lives holds its lock."""
    leftovers = {path.stem for path in parent.iterdir() if path.suffix in (".building", ".lock")} - {own}
    for name in sorted(leftovers):
        target = parent / name
        with suppress(OSError):
            handle = _try_lock(target)
            if handle is not None:
                shutil.rmtree(_building(target), ignore_errors=True)
                _unlock(target, handle)


def _unwritable(root: Path, failure: OSError) -> Diagnostic:
    reason = reason_of(failure)
    return error(
        "ZT605",
        "unwritable-cache",
        f"prepared data cannot be written to `{root}`: {reason}",
        help="make room there, or set `data.cache` to a directory that can be written",
        key="data.cache",
    )
