"""A spec as the configuration DeepSpeed reads. The package can be called: `zerotrain.compile(path)`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from zerotrain.compile.dsconfig import Target


class _Compile(ModuleType):
    def __call__(
        self,
        spec: str | Path,
        overrides: Sequence[str] = (),
        world_size: int | None = None,
        target: Target = "deepspeed",
    ) -> dict[str, Any]:
        """Returns the configuration for a reader: `deepspeed`, `zerotrain`, `hf` or `accelerate`.

        Raises SpecError with every finding when the spec cannot be read, settled or compiled.
        """
        from zerotrain.compile.emit import compile_spec
        from zerotrain.compile.model import settle
        from zerotrain.hardware.probe import surroundings
        from zerotrain.spec.load import load_spec

        resolved = settle(load_spec(spec, overrides), surroundings(), world_size=world_size)
        return compile_spec(resolved, target).as_dict()


sys.modules[__name__].__class__ = _Compile
