"""A checkpoint before the first step: it changes nothing, and what would fail later fails then."""

from __future__ import annotations

import pytest

from tests.conftest import write_spec
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.history import curve

LAYOUTS = [
    *({"zero.stage": stage, "precision": dtype} for stage in (0, 1, 2, 3) for dtype in ("fp32", "bf16")),
    {"parallel": {"tp": 2}},
    {"parallel": {"pp": 2}},
    {"zero.stage": 2, "ema": {"decay": 0.5}},
    {"model.adapter": {"type": "lora", "rank": 2}},
    {"zero.stage": 2, "zero.offload_optimizer": {"device": "cpu"}},
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_what_is_learned_after_it_is_the_same_to_the_bit(train, layout):
    plain = train(layout, 2)

    result = train({**layout, "checkpoint.at_start": True}, 2)

    assert "saving and loading a checkpoint" in result.output
    assert result.losses == plain.losses
    assert [checkpoint.manifest.step for checkpoint in catalogue(result.run)[0]] == [4]
    assert [path.name for path in result.run.checkpoints.iterdir() if path.is_dir()] == ["step-4"]


def test_a_place_that_does_not_take_it_ends_the_run_before_its_first_step(ranks, tmp_path, cache):
    """The directory of checkpoints is a link to nowhere, as after an unmounted disk."""
    before = tmp_path / "before.py"
    before.write_text(UNMOUNT)

    spec = write_spec(tmp_path, {"data.cache": str(cache), "checkpoint.at_start": True})
    result = ranks.start(tmp_path, [str(spec)], 1, before=before, expect=1)

    assert "error[ZT707] unsaved-checkpoint" in result.output
    assert curve(result.run) == {}


UNMOUNT = """
import shutil, threading, time
from pathlib import Path

def unmount():
    folder = Path("runs/tiny/checkpoints")
    while not folder.is_dir():
        time.sleep(0.001)
    shutil.rmtree(folder)
    folder.symlink_to("/dev/full")

threading.Thread(target=unmount, daemon=True).start()
"""
