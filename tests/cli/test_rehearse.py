"""`zerotrain rehearse`, with real ranks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

CLUSTER = {
    "hardware": {"gpu": "H100-SXM", "num_nodes": 64, "gpus_per_node": 8},
    "launch": {"type": "slurm"},
    "batch": {"global_batch_size": 4096, "micro_batch_size": 4},
    "model.attention": "flash_attention_2",
    "precision": "bf16",
}
STAGES = ["training 3 steps, saving after each", "resuming before step 3", "exporting, and reading back"]


@pytest.mark.parametrize(
    "changes",
    [
        {"zero": {"stage": 3, "offload_optimizer": {"device": "cpu"}}},
        pytest.param({"parallel": {"tp": 2}, "zero": {"stage": 2}}, marks=pytest.mark.slow),
        pytest.param({"parallel": {"tp": 2, "pp": 4}, "zero": {"stage": 1}}, marks=pytest.mark.slow),
        pytest.param({"parallel": {"sp": 4}, "zero": {"stage": 3}}, marks=pytest.mark.slow),
        pytest.param({"zero": {"stage": 2}, "model.adapter": {"type": "lora", "rank": 8}}, marks=pytest.mark.slow),
        pytest.param(
            {"zero": {"stage": 2}, "moe": {"experts": 64, "top_k": 6}, "parallel": {"ep": 8}}, marks=pytest.mark.slow
        ),
    ],
)
def test_a_run_for_512_gpus_is_trained_resumed_and_exported_here(write, zerotrain, tmp_path, changes):
    sizes = {"model.config.num_hidden_layers": 8, "model.config.num_attention_heads": 8}
    done = zerotrain("rehearse", write({**CLUSTER, **sizes, "model.config.num_key_value_heads": 4, **changes}))

    assert done.returncode == 0, done.stdout + done.stderr
    assert [f"{stage}: ok" for stage in STAGES] == [line for line in done.stdout.splitlines() if line.endswith(": ok")]
    assert "  - the launcher, `slurm`" in done.stdout
    assert "  - the kernels of FlashAttention 2" in done.stdout
    assert (tmp_path / "runs" / "tiny.rehearsal" / "exported" / "model.safetensors").is_file()


@pytest.mark.slow
def test_what_would_fail_after_hours_in_the_queue_fails_here(write, zerotrain):
    raw = {"deepspeed": {"checkpoint": {"load_universal": True}}}

    done = zerotrain("rehearse", write({**CLUSTER, "zero": {"stage": 3}, **raw}))

    assert done.returncode == 1
    assert "training 3 steps, saving after each: ok" in done.stdout
    assert "resuming before step 3: FAILED" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_broken_spec_starts_nothing(write, zerotrain, tmp_path):
    done = zerotrain("rehearse", write({"parallel": {"tp": 3}}))

    assert done.returncode == 1
    assert "error[ZT401]" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_zt878_a_model_of_unknown_size_is_not_trained_at_full_size(write, zerotrain, tmp_path):
    spec = write({"model": {"pretrained": "org/name"}, "data.tokenizer": {"type": "pretrained"}})

    done = zerotrain("rehearse", spec)

    assert done.returncode == 1
    assert "error[ZT878] unshrinkable-model" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_weights_of_a_folder_give_the_sizes_alone(write, zerotrain, tmp_path):
    sizes = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
    folder = tmp_path / "weights"
    folder.mkdir()
    config = {"model_type": "llama", **sizes, "num_key_value_heads": 8, "vocab_size": 257}
    (folder / "config.json").write_text(json.dumps(config))

    done = zerotrain("rehearse", write({"model": {"pretrained": str(folder)}}), "--dry-run")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "model.config.num_hidden_layers: 2" in done.stdout
    assert "model.architecture: llama" in done.stdout


def test_a_teacher_that_stays_as_large_as_it_is_is_named(zerotrain, tmp_path):
    spec = Path(__file__).parents[2] / "examples" / "distill.yaml"
    teacher = Path(__file__).parents[1] / "golden" / "teacher"
    shutil.copytree(teacher, tmp_path / "taught")

    done = zerotrain("rehearse", str(spec), "task.teacher.pretrained=./taught", "data.seq_len=16", "--dry-run")

    assert f"not smaller: the teacher, `{tmp_path / 'taught'}`" in done.stdout, done.stdout + done.stderr


def test_a_dry_run_shows_the_command(write, zerotrain, tmp_path):
    done = zerotrain("rehearse", write(CLUSTER), "--dry-run")

    assert done.returncode == 0
    assert "hardware.num_nodes: 1" in done.stdout
    assert "zerotrain train " in done.stdout.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
