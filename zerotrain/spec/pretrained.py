"""The `config.json` beside weights that a spec starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.errors import reason_of
from zerotrain.spec.model import ModelSpec


def pretrained_config(model: ModelSpec, directory: Path) -> Mapping[str, Any] | Diagnostic | None:
    """Returns the config of `model.pretrained`; None when it is a hub id, or a finding when the folder is of no use.

    A name with at most one slash that is no folder is taken for a hub id.
    """
    if model.pretrained is None:
        return None
    folder = directory / model.pretrained
    try:
        if not folder.is_dir() and _may_be_hub_id(model.pretrained):
            return None
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as broken:
        reason = reason_of(broken)
        return _unusable(f"cannot read `{folder / 'config.json'}`: {reason}")
    if not isinstance(config, dict) or "model_type" not in config:
        return _unusable(f"`{folder / 'config.json'}` names no `model_type`")
    return config


def _may_be_hub_id(name: str) -> bool:
    return name.count("/") <= 1 and not name.startswith((".", "/", "~"))


def _unusable(message: str) -> Diagnostic:
    help = "give a folder with `config.json` and weights, or a hub id such as `org/name`"
    return error("ZT023", "unusable-pretrained", message, help=help, key="model.pretrained")
