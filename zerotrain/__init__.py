"""zerotrain: a run is a file.

import zerotrain

zerotrain.load_spec("run.yaml")       # the spec, or SpecError with every finding
zerotrain.check("run.yaml")           # every finding
zerotrain.compile("run.yaml")         # the DeepSpeed configuration, as a dictionary
zerotrain.train("run.yaml")           # what `zerotrain train` does
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zerotrain.version import __version__

_NAMES = {"load_spec": "zerotrain.spec.load", "train": "zerotrain.cli.train"}
_PACKAGES = ("check", "compile")
"""Packages that can be called; named here so that they are found before anyone imports them."""

__all__ = ["__version__", "check", "compile", "load_spec", "train"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name in _PACKAGES:
        return import_module(f"zerotrain.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module `zerotrain` has no attribute `{name}`")
