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
import os, threading

def grind():
    while True:
        sum(range(1000))

if os.environ["RANK"] == "1":
    threading.Thread(target=grind, daemon=True).start()
"""


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


def test_a_slow_rank_is_named_with_what_it_is_slow_at(prepared):
    changes = {"horizon": "6 steps", "health.straggler": {"every": 2, "factor": 3.0, "patience": 2}}

    result = prepared(changes, SLOW, 2)

    (event, *_) = [event for event in events(result.run) if event.code == "ZT768"]
    assert event.message.startswith("rank 1 takes ")
    assert "warning[ZT768] slow-rank" in result.output
