"""Everything that is wrong with a spec, before anything starts. The package can be called: `zerotrain.check(path)`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from zerotrain.diagnostic import Diagnostic


class _Check(ModuleType):
    def __call__(
        self, spec: str | Path, overrides: Sequence[str] = (), world_size: int | None = None
    ) -> list[Diagnostic]:
        """Returns every finding about a spec, in the order of the file."""
        from zerotrain.check.runner import check_file
        from zerotrain.hardware.probe import surroundings

        return check_file(spec, surroundings(), overrides, world_size)


sys.modules[__name__].__class__ = _Check
