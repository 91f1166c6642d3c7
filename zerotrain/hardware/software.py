"""Which packages are installed, and the versions zerotrain is tested with."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("zerotrain", "torch", "deepspeed", "transformers", "tokenizers", "accelerate", "datasets", "pydantic")
"""Packages whose versions are recorded with a run."""

TRAINING_PACKAGES = ("torch", "deepspeed", "transformers", "tokenizers", "safetensors", "numpy")
"""Packages without which nothing can be trained."""


def installed_version(package: str) -> str | None:
    """Returns the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Returns the versions of Python and of every package that is recorded with a run."""
    return {"python": platform.python_version()} | {package: installed_version(package) for package in PACKAGES}


def missing_packages() -> list[str]:
    """Returns the packages training needs that are not installed."""
    return [package for package in TRAINING_PACKAGES if installed_version(package) is None]
