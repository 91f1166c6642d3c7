"""Losses and gradients that are no numbers, leaps of the loss, and the floor of fp16's loss scale: on real ranks.

The faults are put into a real run by a forward hook of torch's, in the worker's own process.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.conftest import write_spec
from zerotrain.cli.main import main
from zerotrain.runs.attempts import attempts
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.events import events

SCRIPT = """
import os
import torch
from deepspeed.accelerator import get_accelerator

FAULTS, PASSES = {faults}, {passes}
seen = 0

def poison(module, inputs, output):
    global seen
    if type(module).__name__ != "{model}" or not module.training:
        return None
    step, seen = seen // PASSES + 1 + {before}, seen + 1
    kind = FAULTS.get(step)
    if kind is None or os.environ["RANK"] != "{rank}":
        return None
    if "{model}" != "LlamaForCausalLM":
        output.register_hook(lambda gradient: gradient * float("inf"))
    elif kind == "weights":
        module.lm_head.weight.data[0, 0] = float("inf")
    elif kind == "loss":
        output.logits = output.logits * float("nan")
    elif kind == "spike":
        output.logits = -200 * output.logits
    else:
        output.logits.register_hook(lambda gradient: gradient * float("inf"))
    return output

torch.nn.modules.module.register_module_forward_hook(poison)
# DeepSpeed refuses fp16 on a processor without instructions for it, though torch computes with it there too, slowly.
get_accelerator().is_fp16_supported = lambda: True
"""


@pytest.fixture
def poisoned(ranks, tmp_path, cache):
    """Trains with faults at steps, on one of the ranks."""

    def run(changes: dict[str, Any], faults: dict[int, str], world: int = 2, **options: Any) -> Any:
        spec = write_spec(tmp_path, {"data.cache": str(cache), **changes})
        return again([str(spec)], faults, world, **options)

    def again(arguments: list[str], faults: dict[int, str], world: int = 2, **options: Any) -> Any:
        passes = 8 // (2 * world)
        file, rank = tmp_path / "poisoned.py", world - 1
        where = {"rank": rank, "passes": options.pop("passes", passes), "before": options.pop("before", 0)}
        where["model"] = options.pop("model", "LlamaForCausalLM")
        file.write_text(SCRIPT.format(faults=faults, **where))
        return ranks.start(tmp_path, arguments, world, before=file, **options)

    run.again = again  # type: ignore[attr-defined]
    return run


LAYOUTS = [{"zero.stage": stage, "precision": dtype} for stage in (0, 1, 2, 3) for dtype in ("fp32", "bf16")]
LAYOUTS += [{"zero.stage": 0, "precision": "autocast-bf16"}, {"zero.stage": 2, "precision": "fp16"}]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_an_update_that_is_not_finite_is_skipped_and_the_batch_is_named(poisoned, layout, kind):
    health = {"health.nonfinite": {"action": "skip", "budget": 1}}
    static = {"precision": {"dtype": "fp16", "loss_scale": 128.0}} if layout["precision"] == "fp16" else {}

    result = poisoned({**layout, **static, **health, "zero.param_persistence_threshold": 0}, {2: kind})

    rows = result.rows("train")
    (event,) = events(result.run)
    assert [row["skipped"] for row in rows] == [False, True, False, False]
    assert [row["loss"] is None for row in rows] == [False, kind == "loss", False, False]
    assert all(math.isfinite(row["loss"]) for row in (*rows[2:], rows[0])), "no weight has become a NaN"
    assert (event.step, event.action, event.samples) == (2, "skip", (8, 16))
    what = "the loss is nan on rank `1`" if kind == "loss" else "the gradient is not finite"
    assert what in event.message
    assert "samples 8 to 15" in result.output


@pytest.mark.parametrize("axis", ["pp", "tp"])
def test_ranks_that_share_a_model_skip_together(poisoned, axis):
    """The gradient is bad on the second rank alone: in the last stage, or in one half of each layer."""
    options = {"model": "LlamaDecoderLayer", "passes": 4} if axis == "pp" else {"passes": 4}

    result = poisoned({"parallel": {axis: 2}, "health.nonfinite": {"action": "skip"}}, {2: "gradient"}, **options)

    assert [row["skipped"] for row in result.rows("train")] == [False, True, False, False]
    assert [(event.step, event.action) for event in events(result.run)] == [(2, "skip")]


def test_a_run_stops_at_a_nan_unless_it_may_skip_and_its_last_checkpoint_stays_good(poisoned, capsys):
    result = poisoned({"checkpoint.save_every": "1 steps", "zero.stage": 2}, {3: "loss"}, expect=1)

    assert "error[ZT760] nonfinite-update" in result.output
    assert "step 3 (samples 16 to 23, " in result.output
    assert [checkpoint.manifest.step for checkpoint in catalogue(result.run)[0]] == [2, 1]
    assert attempts(result.run)[0].outcome == "failed"
    main(["status", str(result.run.root)])
    assert "ZT760 nonfinite-update, stop: step 3" in capsys.readouterr().out


def test_updates_may_be_skipped_until_the_budget_is_spent_across_resumes_too(poisoned, capsys):
    skipping = {"health.nonfinite": {"action": "skip", "budget": 2}, "horizon": "6 steps"}
    saved = {"checkpoint.save_every": "1 steps"}

    first = poisoned({**skipping, **saved}, {2: "loss", 3: "gradient", 4: "loss"}, 1, expect=1)
    assert "2 updates were skipped before it" in first.output
    second = poisoned.again([str(first.run.root)], {5: "loss"}, 1, before=3, expect=1)

    assert "2 updates were skipped before it" in second.output
    actions = [(event.step, event.action) for event in events(second.run)]
    assert actions == [(2, "skip"), (3, "skip"), (4, "stop"), (5, "stop")]


def test_fp16_overflows_are_nobodys_fault_until_the_scale_is_at_its_smallest(poisoned):
    scale = {"dtype": "fp16", "loss_scale": {"initial_scale_power": 2, "hysteresis": 1, "min_scale": 1}}
    faults = dict.fromkeys((1, 2, 3), "gradient")

    result = poisoned({"precision": scale, "zero.stage": 2, "horizon": "5 steps"}, faults, 1, expect=1)

    assert "error[ZT763] loss-scale-at-floor" in result.output
    assert "step 3 (samples 16 to 23, " in result.output
    assert "at a loss scale of 1, which falls no further" in result.output


def test_weights_that_are_not_finite_are_not_saved(poisoned):
    changes = {"checkpoint.save_every": "1 steps", "health.nonfinite": {"action": "skip"}}

    result = poisoned(changes, {3: "weights"}, expect=1)

    assert "error[ZT764] nonfinite-weights" in result.output
    assert [checkpoint.manifest.step for checkpoint in catalogue(result.run)[0]] == [2, 1]


SPIKING = {"horizon": "8 steps", "checkpoint.save_every": "2 steps", "schedule": {"type": "constant"}}


def spike(action: str, **more: Any) -> dict[str, Any]:
    return {"health.loss_spike": {"action": action, "window": 4, "deviations": 10.0, **more}}


@pytest.mark.parametrize("action", ["warn", "stop"])
def test_a_spike_is_told_or_stops_the_run(poisoned, action):
    result = poisoned({**SPIKING, **spike(action)}, {6: "spike"}, 1, expect=int(action == "stop"))

    (event,) = events(result.run)
    assert (event.code, event.step, event.action) == ("ZT762", 6, action)
    assert "the loss leapt to" in result.output


@pytest.mark.parametrize("stage", [0, 3])
def test_a_run_goes_on_from_its_last_checkpoint_without_the_batch_of_a_spike(poisoned, train, stage):
    changes = {**SPIKING, **spike("rollback", budget=1), "zero.stage": stage}

    first = poisoned(changes, {6: "spike"}, expect=1)
    assert "error[ZT767] rolled-back" in first.output
    second = poisoned.again([str(first.run.root)], {})

    rows = {row["step"]: row for row in second.rows("train") if row["attempt"] == 2}
    assert list(rows) == [5, 6, 7, 8]
    assert rows[6]["skipped"]
    assert rows[6]["loss"] is None
    manifest = catalogue(second.run)[0][0].manifest
    assert (manifest.step, manifest.samples) == (8, 64)
    clean = train({**SPIKING, "zero.stage": stage, "name": "clean"}, 2)
    clean_rows = {row["step"]: row["loss"] for row in clean.rows("train")}
    assert rows[5]["loss"] == clean_rows[5], "the same as if nothing had happened"
    assert rows[7]["loss"] != clean_rows[7], "the batch of step 6 was not trained on"


def test_a_batch_stays_left_out_and_the_budget_of_rollbacks_spent(poisoned):
    changes = {**SPIKING, **spike("rollback", budget=1), "horizon": "10 steps"}
    first = poisoned(changes, {6: "spike"}, 1, expect=1)

    second = poisoned.again([str(first.run.root)], {8: "spike"}, 1, before=5, expect=1)

    assert "error[ZT762] loss-spike" in second.output
    assert "the run was rolled back 1 times before it" in second.output
    third = poisoned.again([str(first.run.root)], {}, 1)
    assert third.rows("train")[-1]["step"] == 10
    skipped = {row["step"] for row in third.rows("train") if row["skipped"]}
    assert skipped == {6}
    assert json.loads((third.run.attempt(3) / "receipt.json").read_text())["step"] == 9 - 2
