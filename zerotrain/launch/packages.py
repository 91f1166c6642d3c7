"""What must be installed before a run is started."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import LaunchError
from zerotrain.hardware.software import installed_version, missing_packages
from zerotrain.spec.run import RunSpec

INSTALL = "pip install 'zerotrain[train]'"


def refuse_missing_packages() -> None:
    """Raises LaunchError when packages that training needs are not installed."""
    missing = missing_packages()
    if missing:
        raise LaunchError(error("ZT802", "missing-packages", said_of_missing(missing, sys.executable), help=INSTALL))


def refuse_other_deepspeed(spec: RunSpec) -> None:
    """Raises LaunchError when the DeepSpeed that is installed is not the one the spec is meant for."""
    other = other_deepspeed(spec, installed_version("deepspeed"))
    if other is not None:
        raise LaunchError(other)


def said_of_missing(packages: Sequence[str], executable: str, whose: str = "training needs") -> str:
    """Returns what is said of packages that are not installed beside an interpreter."""
    named = ", ".join(f"`{package}`" for package in packages)
    return f"{whose} {named}, not installed beside {executable}"


def other_deepspeed(spec: RunSpec, installed: str | None) -> Diagnostic | None:
    """Returns an error when a spec is meant for another DeepSpeed than the one installed."""
    wanted = spec.software.deepspeed
    if wanted is None or wanted == installed:
        return None
    message = f"the spec is meant for DeepSpeed {wanted}, and {installed} is installed"
    help = f"`pip install deepspeed=={wanted}`, or change `software.deepspeed`"
    return error("ZT809", "other-deepspeed", message, help=help, key="software.deepspeed")
