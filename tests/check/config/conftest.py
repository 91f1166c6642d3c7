"""Looking at small DeepSpeed configs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from zerotrain.check.config.case import Model, Reader
from zerotrain.check.config.runner import Circumstances, lint_tree
from zerotrain.check.dsschema.schema import NEWEST
from zerotrain.diagnostic import Diagnostic
from zerotrain.hardware.gpus import find_gpu
from zerotrain.spec.hjson import parse_hjson


@pytest.fixture
def lint() -> Callable[..., list[Diagnostic]]:
    """Returns every finding about a config, given as a mapping or as text."""

    def run(
        config: Mapping[str, Any] | str,
        *,
        reader: Reader | None = "raw",
        world_size: int | None = None,
        gpu: str | None = None,
        deepspeed: str = NEWEST,
        model: Model | None = None,
    ) -> list[Diagnostic]:
        text = config if isinstance(config, str) else json.dumps(config, indent=2)
        machines = world_size, find_gpu(gpu) if gpu else None
        around = Circumstances(reader, deepspeed, *machines, model=model)
        return lint_tree(parse_hjson(text, "ds_config.json"), around)

    return run
