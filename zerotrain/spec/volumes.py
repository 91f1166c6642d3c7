"""What a pod of Kubernetes finds in its file system."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from zerotrain.spec.base import Bool, Spec

_QUANTITY = re.compile(r"\d+(\.\d+)?([EPTGMk]i?|Ki|m)?")


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError(f"`{text}` is no quantity of Kubernetes; write `500Gi`, `64G` or `8`")
    return text


def _absolute(path: str) -> str:
    if not path.startswith("/") or path == "/" or ".." in path.split("/") or ":" in path:
        raise ValueError(f"`{path}` is no place in a pod; write a path from the root, such as `/workspace`")
    return path.rstrip("/")


Quantity = Annotated[str, AfterValidator(_quantity)]
"""An amount as Kubernetes writes it: `500Gi`."""

PodPath = Annotated[str, AfterValidator(_absolute)]
"""A path in a pod, from the root."""


class _Volume(Spec):
    path: PodPath
    """Where the pod finds it."""


class ClaimVolume(_Volume):
    """A persistent volume claim; several pods need one that all of them may write to."""

    type: Literal["claim"]
    name: str
    """Name of the claim."""
    read_only: Bool = False
    """Nothing is written to it."""


class HostVolume(_Volume):
    """A directory of the machine a pod runs on, such as a file system that all machines see."""

    type: Literal["host"]
    source: PodPath
    """The directory on the machine."""
    read_only: Bool = False
    """Nothing is written to it."""


class SecretVolume(_Volume):
    """A secret, each of its keys a file."""

    type: Literal["secret"]
    name: str
    """Name of the secret."""


class ConfigMapVolume(_Volume):
    """A config map, each of its keys a file."""

    type: Literal["config_map"]
    name: str
    """Name of the config map."""


class ScratchVolume(_Volume):
    """An empty directory that is gone with the pod."""

    type: Literal["scratch"]
    size: Quantity | None = None
    """How much it may hold; `null`: what the machine has."""


VolumeSpec = Annotated[
    ClaimVolume | HostVolume | SecretVolume | ConfigMapVolume | ScratchVolume, Field(discriminator="type")
]

KEPT = (ClaimVolume, HostVolume)
"""Volumes that are there after a pod is gone."""


def is_below(path: str, folder: str) -> bool:
    """Tells whether a path is a folder's, or that folder."""
    return path == folder or path.startswith(f"{folder}/")
