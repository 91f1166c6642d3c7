"""The `config.json` beside weights that a spec names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import reason_of
from zerotrain.spec.model import ModelSpec


def pretrained_config(model: ModelSpec, directory: Path) -> Mapping[str, Any] | Diagnostic | None:
    """Returns the config of `model.pretrained`; None when it is a hub id, or a finding when the folder is of no use."""
    if model.pretrained is None:
        return None
    return config_of(model.pretrained, directory / model.pretrained, "model.pretrained")


def config_of(name: str, folder: Path, key: str) -> Mapping[str, Any] | Diagnostic | None:
    """Returns the config in the folder that a name at a key stands for; None for a hub id, or a finding (ZT023)."""
    if is_hub_id(name, folder):
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as broken:
        reason = reason_of(broken)
        return _unusable(f"cannot read `{folder / 'config.json'}`: {reason}", key)
    if not isinstance(config, dict) or "model_type" not in config:
        return _unusable(f"`{folder / 'config.json'}` names no `model_type`", key)
    return config


def is_hub_id(name: str, folder: Path) -> bool:
    """Tells whether a name that could mean a folder means a hub id: it has at most one slash, and there is none."""
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        return False
    try:
        return not folder.is_dir()
    except OSError:
        return False


def _unusable(message: str, key: str) -> Diagnostic:
    help = "give a folder with `config.json` and weights, or a hub id such as `org/name`"
    return error("ZT023", "unusable-pretrained", message, help=help, key=key)
