"""What is done to the engine before the first step; the rest is shown by whole runs in tests/ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_one_timeout_reaches_every_process_group(ranks: Any, tmp_path: Path) -> None:
    said = ranks.script(
        tmp_path,
        """
        import deepspeed
        import torch
        import torch.distributed as dist

        from zerotrain.engine.setup import limit_all_groups
        from zerotrain.units import TimeSpan

        own = deepspeed.comm.new_group([0, 1])
        before = own._get_backend(torch.device("cpu")).options._timeout
        limit_all_groups(TimeSpan.parse("90 seconds"))
        for group in (own, dist.group.WORLD):
            print(before, group._get_backend(torch.device("cpu")).options._timeout)
        """,
        2,
    )

    assert [line for line in said.splitlines() if line.startswith("0:")] == ["0:30:00 0:01:30"] * 4
