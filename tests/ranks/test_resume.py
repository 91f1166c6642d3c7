"""A continued run is the same run, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from zerotrain.checkpoint.export import export_run
from zerotrain.checkpoint.weights import whole_weights
from zerotrain.errors import CheckpointError
from zerotrain.runs.attempts import attempts, end_attempt
from zerotrain.runs.catalogue import PARTIAL, catalogue, checksum
from zerotrain.runs.record import read_record

LONG = {"horizon": "6 steps", "checkpoint.save_every": "3 steps", "model.config.attention_dropout": 0.1}


def forget_the_end(result: Any) -> None:
    """Leaves the run as a crash after its third step would have left it."""
    shutil.rmtree(result.run.checkpoints / "step-6")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_every_loss_after_a_resume_is_bitwise_that_of_the_uninterrupted_run(train, ranks, stage, precision):
    result = train({**LONG, "zero.stage": stage, "precision": precision}, 2)
    first = [(row["step"], row["loss"], row["grad_norm"], row["lr"]) for row in result.rows("train")]
    forget_the_end(result)

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    second = [(r["step"], r["loss"], r["grad_norm"], r["lr"]) for r in again.rows("train") if r["attempt"] == 2]
    assert second == first[3:]
    before, after = (row["metrics"] for row in again.rows("eval"))
    assert after == before


@pytest.mark.parametrize(
    "memory", [{"zero.stage": 0}, {"zero.stage": 2, "zero.offload_optimizer": {"device": "cpu"}}, {"zero.stage": 3}]
)
def test_it_does_not_matter_after_which_step_a_run_was_interrupted(train, ranks, memory):
    """Adam's bias correction on a CPU is a running product, which a resume must not compute in another way."""
    saved = {"horizon": "7 steps", "checkpoint.save_every": "1 steps", "checkpoint.keep_last": 7}
    result = train({**saved, **memory, "precision": "fp32"}, 1)
    losses, weights = result.losses, whole_weights(catalogue(result.run)[0][0])
    for step in (5, 2):
        for later in range(step + 1, 8):
            shutil.rmtree(result.run.checkpoints / f"step-{later}")

        again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1)

        assert again.losses == losses
        found = whole_weights(catalogue(again.run)[0][0])
        assert all(torch.equal(found[name], weight) for name, weight in weights.items())


def test_tokens_samples_and_attempts_go_on_where_they_were(train, ranks):
    result = train(LONG, 1)
    forget_the_end(result)

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1)

    last = {row["attempt"]: row for row in again.rows("train")}
    assert last[2]["samples"] == last[1]["samples"] == 48
    assert last[2]["tokens"] == last[1]["tokens"]
    assert [(a.number, a.outcome, a.resumed_from) for a in attempts(again.run)] == [
        (1, "finished", None),
        (2, "finished", "step-3"),
    ]
    assert "continuing from `step-3`" in again.output
    receipt = json.loads((again.run.attempt(2) / "receipt.json").read_text())
    assert (receipt["step"], receipt["samples"], receipt["loss"]) == (4, [24, 32], receipt["loss_before"])
    assert "step 4 after `step-3`: loss " in again.output
    assert "; the same loss as before" in again.output


def test_a_torn_checkpoint_is_passed_over_and_named(train, ranks):
    result = train(LONG, 1)
    torn = next((result.run.checkpoints / "step-6").glob("*.pt"))
    torn.write_bytes(torn.read_bytes()[:-1])

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1)

    assert "passed over `step-6`" in again.output
    assert f"`{torn.name}` has" in again.output
    assert "continuing from `step-3`" in again.output


@pytest.mark.parametrize("stage", [0, 3])
def test_a_flipped_bit_is_found_by_the_checksum_and_the_checkpoint_before_is_taken(train, ranks, stage):
    result = train({**LONG, "checkpoint.verify": "full", "zero.stage": stage}, 2)
    end_attempt(result.run, 1, "failed")
    file = flip_a_bit(result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    assert f"passed over `step-6`: `{file.name}` is not what was saved" in again.output
    assert "continuing from `step-3`" in again.output
    assert again.losses == result.losses


def flip_a_bit(checkpoint: Path) -> Path:
    """Flips a bit in the middle of the largest file, among the weights or the states of the optimizer."""
    file = max(checkpoint.glob("*.pt"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return file


def test_a_checkpoint_that_cannot_be_read_is_named_and_passed_over_from_then_on(train, ranks):
    result = train({**LONG, "zero.stage": 2}, 2)
    end_attempt(result.run, 1, "failed")
    file = next((result.run.checkpoints / "step-6").glob("zero*.pt"))
    file.write_bytes(bytes(file.stat().st_size))

    named = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2, expect=None)
    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    assert "error[ZT711] damaged-checkpoint" in named.output
    assert f"`{file.name}` cannot be read" in named.output
    assert "passed over `step-6`" in again.output
    assert "continuing from `step-3`" in again.output


class Burglar:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("stolen",)


@pytest.mark.parametrize("kind", ["model", "optim"])
def test_nothing_in_a_checkpoint_is_run(train, ranks, kind):
    result = train({**LONG, "zero.stage": 2}, 1)
    end_attempt(result.run, 1, "failed")
    file = next((result.run.checkpoints / "step-6").glob(f"*{kind}_states.pt"))
    states = torch.load(file, weights_only=False)
    torch.save({**states, "more": Burglar()}, file)
    put_into_manifest(result.run.checkpoints / "step-6", file)

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1, expect=1)
    with pytest.raises(CheckpointError, match="ZT720"):
        export_run(result.run, result.run.root / "weights")

    assert "error[ZT720] untrusted-checkpoint" in again.output
    assert not list(result.run.root.parent.parent.rglob("stolen"))
    assert not Path("stolen").exists()


def put_into_manifest(checkpoint: Path, file: Path) -> None:
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"][file.name] = file.stat().st_size
    manifest["sha256"][file.name] = checksum(file)
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def test_a_checkpoint_of_another_run_is_none_of_this_one(train, ranks):
    result, other = train(LONG, 1), train({**LONG, "seed": 2}, 1)
    end_attempt(result.run, 1, "failed")
    shutil.rmtree(result.run.checkpoints / "step-6")
    shutil.copytree(other.run.checkpoints / "step-6", result.run.checkpoints / "step-6")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1)

    assert "passed over `step-6`: it belongs to another run" in again.output
    assert "continuing from `step-3`" in again.output


def test_a_manifest_says_what_was_saved(train):
    result = train({**LONG, "zero.stage": 2}, 2)

    manifest = catalogue(result.run)[0][0].manifest
    record, last = read_record(result.run), result.rows("train")[-1]

    assert (manifest.loss, manifest.lr) == (last["loss"], last["lr"])
    assert (manifest.attempt, manifest.seed) == (1, 1234)
    assert manifest.data_fingerprint == record.data.fingerprint
    assert manifest.versions == record.versions
    assert manifest.sha256.keys() == manifest.files.keys()
    assert all(checksum(result.run.checkpoints / "step-6" / name) == sha for name, sha in manifest.sha256.items())


def test_a_partial_checkpoint_is_never_loaded(train, ranks):
    result = train(LONG, 1)
    (result.run.checkpoints / "step-6").rename(result.run.checkpoints / f"step-6{PARTIAL}")

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1)

    assert "passed over `step-6.partial`: it was never completed" in again.output
    assert catalogue(again.run)[0][0].manifest.step == 6


def test_a_run_that_trained_but_has_no_checkpoint_does_not_start_over(train, ranks):
    result = train(LONG, 1)
    shutil.rmtree(result.run.checkpoints)

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1, expect=1)

    assert "error[ZT705] nothing-to-resume" in again.output
    assert "the run has made 6 steps but has no complete checkpoint" in again.output


def test_a_run_that_was_ended_before_its_first_checkpoint_begins_again(train, ranks):
    result = train({**LONG, "checkpoint.save_every": "6 steps", "zero.stage": 1}, 1)
    losses = result.losses
    end_attempt(result.run, 1, "failed")
    (result.run.checkpoints / "latest").unlink()
    (result.run.checkpoints / "step-6").rename(result.run.checkpoints / f"step-6{PARTIAL}")
    assert (result.run.checkpoints / "zero_to_fp32.py").exists(), "DeepSpeed leaves it there before one is complete"

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1)

    assert "ended before its first checkpoint: it begins again" in again.output
    assert again.losses == losses
    assert [checkpoint.path.name for checkpoint in catalogue(again.run)[0]] == ["step-6"]


def test_a_finished_run_says_so(train, ranks):
    result = train({}, 1)

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1, expect=1)

    assert "error[ZT709] finished-run" in again.output


def test_a_worker_on_another_number_of_ranks_is_refused(train, ranks):
    result = train({**LONG, "zero.stage": 2}, 2)
    forget_the_end(result)

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 1, expect=1)

    assert "error[ZT706] other-world-size" in again.output
    assert "laid out for 2 ranks and was started on 1" in again.output
    assert "zerotrain resume" in again.output


def test_lost_data_is_prepared_again_and_must_be_the_same(ranks, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 400)
    changes = {
        **LONG,
        "data.train": [{"type": "text", "path": str(text)}],
        "data.validation": [],
        "data.cache": str(tmp_path / "cache"),
    }
    result = ranks.train(tmp_path, changes, 1)
    forget_the_end(result)
    shutil.rmtree(tmp_path / "cache")

    again = ranks.start(tmp_path, [str(result.run.root)], 1)
    forget_the_end(again)
    shutil.rmtree(tmp_path / "cache")
    text.write_text("something else\n" * 400)
    changed = ranks.start(tmp_path, [str(result.run.root)], 1, expect=1)

    assert [row["loss"] for row in again.rows("train")][3:6] == [row["loss"] for row in again.rows("train")][6:9]
    assert "error[ZT710] lost-data" in changed.output


def test_only_the_newest_checkpoints_are_kept(train):
    result = train({"horizon": "5 steps", "checkpoint.save_every": "1 steps", "checkpoint.keep_last": 2}, 1)

    names = sorted(path.name for path in result.run.checkpoints.iterdir() if path.is_dir())
    assert names == ["step-4", "step-5"]
    assert (result.run.checkpoints / "latest").read_text() == "step-5"


def test_deepspeeds_own_tools_read_the_checkpoints(train):
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    result = train({"zero.stage": 2, "precision": "bf16"}, 2)

    weights = get_fp32_state_dict_from_zero_checkpoint(str(result.run.checkpoints))
    assert weights["model.embed_tokens.weight"].shape == (257, 32)


def test_every_file_of_a_checkpoint_is_in_its_manifest(train):
    result = train({"zero.stage": 3}, 2)

    checkpoint = catalogue(result.run)[0][0]
    on_disk = {path.name for path in Path(checkpoint.path).iterdir()} - {"manifest.json"}
    assert set(checkpoint.manifest.files) == on_disk
    assert checkpoint.manifest.world_size == 2


@pytest.mark.sampled(2)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_what_is_written_while_training_goes_on_is_what_the_weights_were(train, ranks, stage, precision):
    """Training changes them while they are written; a resume from there tells whether the copy was in time."""
    changes = {**LONG, "zero.stage": stage, "precision": precision, "ema": {"decay": 0.9}}
    plain = train(changes, 2)
    result = train({**changes, "checkpoint.asynchronous": True}, 2)
    complete, passed_over = catalogue(result.run)
    kept = {name: complete[1].manifest.sha256[name] for name in complete[1].manifest.sha256 if name.endswith(".json")}
    forget_the_end(result)

    again = ranks.start(result.run.root.parent.parent, [str(result.run.root)], 2)

    assert [checkpoint.path.name for checkpoint in complete] == ["step-6", "step-3"]
    assert passed_over == []
    assert kept, "layouts and scripts are in the manifest too"
    assert again.losses == result.losses == plain.losses
    assert not list(complete[1].path.glob(".rank-*"))
