"""A rank that hangs in its own code is named with the place, a slow one with what it is slow at."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import write_spec
from zerotrain.runs.attempts import attempts
from zerotrain.runs.events import events

HANGING = """
import os, time
import torch

def hang_at_the_reader(module, inputs):
    if type(module).__name__ == "LlamaForCausalLM" and module.training and os.environ["RANK"] == "1":
        time.sleep(60)

torch.nn.modules.module.register_module_forward_pre_hook(hang_at_the_reader)
"""

SLOW = """
import os, time
{module}

def slow(*arguments, do={name}, **options):
    time.sleep({seconds})
    return do(*arguments, **options)

if os.environ["RANK"] == "1":
    {name} = slow
"""
SLOW_DISK = SLOW.format(
    module="import zerotrain.data.stores.packed as packed", name="packed.SampleStore.batch", seconds=0.5
)
SLOW_PROCESSOR = SLOW.format(module="import torch", name="torch.mm", seconds=0.2)


@pytest.fixture
def prepared(ranks, tmp_path, cache):
    def run(changes: dict[str, Any], script: str, world: int = 2, **options: Any) -> Any:
        spec = write_spec(tmp_path, {"data.cache": str(cache), **changes})
        before = tmp_path / "before.py"
        before.write_text(script)
        return ranks.start(tmp_path, [str(spec)], world, before=before, **options)

    return run


@pytest.mark.parametrize("world", [2, 4])
def test_a_rank_that_hangs_is_named_with_the_line_it_is_at(prepared, world):
    result = prepared({"health.hang": "2 seconds", "batch.micro_batch_size": 1}, HANGING, world, expect=1)

    (attempt,) = attempts(result.run)
    assert attempt.reason is not None
    others = "1 other waits" if world == 2 else "3 others wait"
    assert "rank 1 moved no more for 2 seconds in step 1, in `hang_at_the_reader`" in attempt.reason
    assert attempt.reason.endswith(others)
    assert "error[ZT766] hung-rank" in result.output
    assert "hang_at_the_reader" in result.run.rank_log(1, 1).read_text()


def test_a_long_step_is_no_hang(prepared):
    result = prepared({"health.hang": "1 seconds", "batch.micro_batch_size": 1}, "", 2)

    assert attempts(result.run)[0].outcome == "finished"


@pytest.mark.parametrize(
    ("script", "chore"), [(SLOW_DISK, "to read its data"), (SLOW_PROCESSOR, "to compute the same as all")]
)
def test_a_slow_rank_is_named_with_what_it_is_slow_at(prepared, script, chore):
    changes = {"horizon": "6 steps", "health.straggler": {"every": 2, "factor": 3.0, "patience": 2}}

    result = prepared(changes, script, 2)

    (event,) = [event for event in events(result.run) if event.code == "ZT768" and chore in event.message]
    assert event.message.startswith("rank 1 takes ")
    assert "warning[ZT768] slow-rank" in result.output
