"""The files a path or a pattern names."""

from __future__ import annotations

import glob
from pathlib import Path

from zerotrain.data.sources.record import unreadable
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import reason_of
from zerotrain.spec.suggest import nearest


def files_of(pattern: str, key: str, problems: list[Diagnostic]) -> list[Path]:
    """Returns the files, sorted by path; appends a finding (ZT601, ZT604) when there is none or it is no file."""
    try:
        return _matches(Path(pattern).expanduser(), key, problems)
    except (OSError, RuntimeError) as failure:  # RuntimeError: `~name` of a user that does not exist
        reason = reason_of(failure)
        problems.append(unreadable(pattern, reason, key, "make the path readable, or name another"))
        return []


def folder_of(name: str, key: str, problems: list[Diagnostic]) -> Path | None:
    """Returns the folder; appends a finding (ZT601, ZT604) and gives None when there is none."""
    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return path
        problems.append(_no_folder(path, key) if path.exists() else _missing(path, key))
    except (OSError, RuntimeError) as failure:  # RuntimeError: `~name` of a user that does not exist
        problems.append(unreadable(name, reason_of(failure), key, "make the folder readable, or name another"))
    return None


def _matches(path: Path, key: str, problems: list[Diagnostic]) -> list[Path]:
    if path.is_file():
        return [path]
    if path.exists():
        problems.append(_no_file(path, key))
        return []
    # Unlike Path.glob, glob.glob leaves hidden files out as a shell does, and means the same by `**` in every Python.
    matches = glob.glob(str(path), recursive=True)
    files = sorted(match for match in map(Path, matches) if match.is_file())
    if not files:
        problems.append(_missing(path, key))
    return files


def _no_file(path: Path, key: str) -> Diagnostic:
    if path.is_dir():
        return unreadable(str(path), "it is a directory", key, f"name its files: `{path / '**' / '*.txt'}`")
    return unreadable(str(path), "it is not a regular file", key, "copy the data to a regular file first")


def _no_folder(path: Path, key: str) -> Diagnostic:
    return unreadable(str(path), "it is not a folder", key, f"name the folder it is in: `{path.parent}`")


def _missing(path: Path, key: str) -> Diagnostic:
    fact = f"`{path}` matches no file" if glob.has_magic(str(path)) else f"`{path}` does not exist"
    close = _nearest_path(path)
    way_out = f"did you mean `{close}`?" if close else "paths are relative to the directory the command runs in"
    return error("ZT601", "missing-data", fact, help=way_out, key=key)


def _nearest_path(path: Path) -> Path | None:
    """Returns the path with its first missing part replaced by the sibling most like it, if there is one."""
    known = Path(path.anchor)
    for position, part in enumerate(path.parts[len(known.parts) :], start=len(known.parts)):
        if glob.has_magic(part):
            return None
        if not (known / part).exists():
            close = nearest(part, _children(known))
            return known.joinpath(close, *path.parts[position + 1 :]) if close else None
        known /= part
    return None


def _children(folder: Path) -> list[str]:
    try:
        return sorted(child.name for child in folder.iterdir())
    except OSError:
        return []
