"""`zerotrain train`, with real launchers and real ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zerotrain.runs.attempts import attempts
from zerotrain.runs.catalogue import catalogue
from zerotrain.runs.history import curve, evaluations
from zerotrain.runs.layout import RunDirectory

LAUNCHERS = ("local", "deepspeed", "torchrun")


def losses(run: Path) -> list[float]:
    return [row["loss"] for _, row in sorted(curve(RunDirectory(run)).items())]


@pytest.fixture(scope="module")
def expected_losses(tmp_path_factory) -> list[float]:
    return []


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_trains_to_the_end_with_the_same_losses(write, zerotrain, tmp_path, expected_losses, launcher):
    done = zerotrain("train", write(), "--on", launcher)

    run = tmp_path / "runs" / "tiny"
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step 3/3" in done.stdout
    assert "zerotrain status runs/tiny" in done.stdout
    assert [attempt.outcome for attempt in attempts(RunDirectory(run))] == ["finished"]
    assert sorted(path.name for path in (run / "logs" / "attempt-1").glob("*.log")) == [
        "launcher.log",
        "rank-0.log",
        "rank-1.log",
    ]
    expected_losses[:] = expected_losses or losses(run)
    assert losses(run) == expected_losses


@pytest.mark.parametrize(
    "command",
    [
        ["deepspeed", "--num_gpus", "2", "--module", "zerotrain.worker"],
        ["torchrun", "--standalone", "--nproc-per-node", "2", "--module", "zerotrain.worker"],
        ["python", "-m", "zerotrain.worker"],
    ],
    ids=["deepspeed", "torchrun", "python"],
)
def test_a_worker_can_be_started_by_hand_from_a_spec(write, tmp_path, command):
    own = Path(sys.executable).parent
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{own}{os.pathsep}{os.environ['PATH']}"}

    done = subprocess.run(
        [str(own / command[0]), *command[1:], str(write())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    record = json.loads((tmp_path / "runs" / "tiny" / "run.json").read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "step 3/3" in done.stdout
    assert record["topology"]["dp"] == (1 if command[0] == "python" else 2)
    assert len(losses(tmp_path / "runs" / "tiny")) == 3


def test_the_run_directory_holds_what_the_contract_says(write, zerotrain, tmp_path):
    done = zerotrain("train", write({"monitor.tensorboard": True, "launch": {"type": "local"}}), "seed=7")

    run = tmp_path / "runs" / "tiny"
    record, row = json.loads((run / "run.json").read_text()), curve(RunDirectory(run))[3]
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run / "spec.yaml").read_text() == (tmp_path / "spec.yaml").read_text()
    assert record["overrides"] == ["seed=7"]
    assert record["resolved"]["seed"] == 7
    assert record["versions"]["deepspeed"] == "0.19.8"
    assert list((run / "tensorboard").glob("events.*"))
    assert set(row) >= {
        *("kind", "step", "attempt", "loss", "lr", "grad_norm", "tokens", "samples", "step_seconds"),
        *("tokens_per_second", "mfu", "peak_bytes", "time"),
    }
    assert (row["samples"], row["mfu"]) == (12, None)
    assert json.loads((run / "ds_config.json").read_text())["train_batch_size"] == 4


def test_an_existing_run_is_never_overwritten(write, zerotrain, tmp_path):
    spec = write({"horizon": "1 steps", "launch": {"type": "local"}, "hardware.gpus_per_node": 1})
    zerotrain("train", spec)
    before = (tmp_path / "runs" / "tiny" / "metrics.jsonl").read_text()

    again = zerotrain("train", spec)
    fresh = zerotrain("train", spec, "--fresh")

    assert again.returncode == 1
    assert "error[ZT701] existing-run" in again.stderr
    assert "spec.yaml" in again.stderr, "the finding stands at the name in the spec"
    assert fresh.returncode == 0
    assert "the old run is kept as `runs/tiny.1`" in fresh.stdout
    assert (tmp_path / "runs" / "tiny.1" / "metrics.jsonl").read_text() == before


def test_a_dry_run_starts_and_writes_nothing(write, zerotrain, tmp_path):
    done = zerotrain("train", write(), "--dry-run", "--on", "deepspeed")

    assert done.returncode == 0, done.stderr
    assert "deepspeed.launcher.runner" in done.stdout
    assert "--num_gpus 2" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_a_wrong_spec_starts_nothing(write, zerotrain, tmp_path):
    done = zerotrain("train", write({"batch.global_batch_size": 7, "zero.stag": 2}))

    assert done.returncode == 1
    assert "ZT005" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "ZT601"), (b"caf\xe9 " * 100, "ZT602"), (b"", "ZT603")],
    ids=["missing", "not UTF-8", "empty"],
)
def test_useless_data_is_named_at_its_place_in_the_spec(write, zerotrain, tmp_path, content, code):
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    spec = write({"data.train": [{"type": "text", "path": "text.txt"}]})

    done = zerotrain("train", spec)

    assert done.returncode == 1
    assert f"error[{code}]" in done.stderr
    assert "spec.yaml:" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_killed_rank_ends_the_run_and_a_resume_is_bitwise_the_same(
    write, zerotrain, start, wait_for, worker_pids, tmp_path, launcher
):
    """15 steps, SIGKILL, resume: every logged loss is that of an uninterrupted run."""
    changes = {"horizon": "40 steps", "checkpoint.save_every": "5 steps", "zero.stage": 2, "precision": "bf16"}
    spec, run = write(changes), tmp_path / "runs" / "tiny"
    whole = zerotrain("train", spec, "--on", "local", "name=whole")
    process = start("train", spec, "--on", launcher)
    wait_for((run / "checkpoints" / "step-15").exists)
    os.kill(worker_pids(run)[-1], signal.SIGKILL)
    output, errors = process.communicate(timeout=60)

    resumed = zerotrain("resume", run)

    assert whole.returncode == 0, whole.stderr
    assert process.returncode == 1, output + errors
    assert "ZT806" in errors, errors
    assert "zerotrain resume runs/tiny" in errors
    assert worker_pids(run) == []
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert losses(run) == losses(tmp_path / "runs" / "whole")
    assert [attempt.outcome for attempt in attempts(RunDirectory(run))] == ["failed", "finished"]


MEASURED = {
    "horizon": "40 steps",
    "zero.stage": 2,
    "precision": "bf16",
    "data.validation": [{"type": "python_stdlib", "split": "validation", "max_documents": 1}],
    "evaluation": {"every": "1 steps", "max_samples": 2},
}
"""Whichever step it is stopped after, that step is to be measured."""


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("launcher", "asked"), [("local", "us"), ("local", "a rank"), ("deepspeed", "us"), ("torchrun", "us")]
)
def test_who_is_asked_to_stop_saves_and_the_run_goes_on_as_if_nothing_had_been(
    write, zerotrain, start, wait_for, worker_pids, tmp_path, launcher, asked
):
    spec, run = write(MEASURED), RunDirectory(tmp_path / "runs" / "tiny")
    whole = zerotrain("train", spec, "--on", "local", "name=whole")
    process = start("train", spec, "--on", launcher)
    wait_for(lambda: len(curve(run)) > 5)
    if asked == "us":
        process.send_signal(signal.SIGINT)
    else:
        os.kill(worker_pids(run.root)[-1], signal.SIGUSR1)
    output, errors = process.communicate(timeout=60)
    (stopped,), (checkpoint,) = attempts(run), catalogue(run)[0]

    resumed = zerotrain("resume", run.root)

    assert process.returncode == (130 if asked == "us" else 75), output + errors
    assert "continue with `zerotrain resume runs/tiny`" in output
    assert worker_pids(run.root) == []
    assert (stopped.outcome, stopped.last_step) == ("stopped", checkpoint.manifest.step)
    assert (stopped.reason or "").startswith("received SIGINT" if asked == "us" else "another rank was asked to stop")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert whole.returncode == 0, whole.stderr
    assert losses(run.root) == losses(tmp_path / "runs" / "whole")
    assert evaluations(run) == evaluations(RunDirectory(tmp_path / "runs" / "whole"))


def test_ranks_that_are_asked_to_stop_before_they_train_leave_and_the_run_begins_later(
    write, zerotrain, start, wait_for, worker_pids, tmp_path
):
    """A scheduler does so when the time it gives is short, or the data long to prepare."""
    spec, run = write({"horizon": "2 steps", "launch.type": "local"}), RunDirectory(tmp_path / "runs" / "tiny")
    process = start("train", spec)
    wait_for(lambda: sum(map(listens_to_schedulers, worker_pids(run.root))) == 2)
    for pid in worker_pids(run.root):
        os.kill(pid, signal.SIGUSR1)
    output, errors = process.communicate(timeout=60)
    (stopped,) = attempts(run)

    resumed = zerotrain("resume", run.root)

    assert process.returncode == 75, output + errors
    assert (stopped.outcome, stopped.reason, stopped.last_step) == ("stopped", "received SIGUSR1", None)
    assert worker_pids(run.root) == []
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert sorted(curve(run)) == [1, 2]


def listens_to_schedulers(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught & 1 << signal.SIGUSR1 - 1)


def test_torchrun_starts_ranks_again_that_fail(write, zerotrain, start, wait_for, worker_pids, tmp_path):
    changes = {"horizon": "40 steps", "checkpoint.save_every": "5 steps", "launch.max_restarts": 1}
    spec, run = write({**changes, "launch.type": "torchrun"}), RunDirectory(tmp_path / "runs" / "tiny")
    process = start("train", spec)
    wait_for((run.checkpoints / "step-10").exists)
    os.kill(worker_pids(run.root)[-1], signal.SIGKILL)
    output, errors = process.communicate(timeout=120)

    assert process.returncode == 0, output + errors
    assert "step 40/40" in output
    assert [attempt.outcome for attempt in attempts(run)][-1] == "finished"
    assert len(attempts(run)) == 2
    assert sorted(curve(run)) == list(range(1, 41))


def test_continue_goes_on_with_what_is_there_and_starts_what_is_not(write, zerotrain, tmp_path):
    changes = {"horizon": "2 steps", "checkpoint.save_every": "1 steps", "hardware.gpus_per_node": 1}
    spec = write({**changes, "launch": {"type": "local"}})
    run = tmp_path / "runs" / "tiny"

    begun = zerotrain("train", spec, "--continue")
    (run / "logs" / "attempt-1" / "attempt.json").unlink()
    (run / "checkpoints" / "step-2" / "manifest.json").unlink()
    again = zerotrain("train", spec, "--continue")
    other = zerotrain("train", spec, "--continue", "seed=2")

    assert (begun.returncode, again.returncode, other.returncode) == (0, 0, 1), again.stderr
    assert "passed over `step-2`" in again.stdout
    assert "error[ZT714] another-run" in other.stderr


def test_the_first_failing_rank_is_told_once(write, zerotrain, tmp_path):
    """The package of a monitor is missing, which only the ranks can find out."""
    spec = write({"horizon": "2 steps", "launch": {"type": "local"}, "deepspeed": {"comet": {"enabled": True}}})

    done = zerotrain("train", spec)

    assert done.returncode == 1
    assert done.stderr.count("error[ZT805]") == 1, done.stderr
    assert "rank-" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_deepspeed_never_reads_starts_nothing(write, zerotrain, tmp_path):
    done = zerotrain("train", write({"deepspeed": {"aio": {"blocksize": 1}}}))

    assert done.returncode == 1
    assert "error[ZT909] unread-raw-key" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_worker_started_by_hand_stops_on_such_a_key_before_its_first_step(write, tmp_path):
    spec = write({"deepspeed": {"aio": {"blocksize": 1}}})

    done = subprocess.run(
        [sys.executable, "-m", "zerotrain.worker", str(spec)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 1
    assert "error[ZT804] unread-key" in done.stderr, done.stderr
    assert "`aio.blocksize`" in done.stderr
    assert losses(tmp_path / "runs" / "tiny") == []


def test_without_a_compiler_the_way_out_is_said(write, zerotrain, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    environment = {"PATH": str(tools), "TORCH_EXTENSIONS_DIR": str(tmp_path / "ops"), "CXX": ""}

    done = zerotrain("train", write({"launch": {"type": "local"}}), environment=environment)

    assert done.returncode == 1
    assert "error[ZT801] no-compiler" in done.stderr, done.stderr
    assert "apt-get install g++" in done.stderr


def test_a_save_that_cannot_be_written_is_said_and_training_goes_on(write, tmp_path):
    """No file may grow beyond 100 KiB, which is less than a checkpoint has."""
    spec, run = write({"horizon": "4 steps", "checkpoint.save_every": "2 steps"}), tmp_path / "runs" / "tiny"
    command = f"ulimit -f 100; exec {sys.executable} -m zerotrain train {spec} --on local"

    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == 1
    assert "ZT707" in done.stdout + done.stderr, done.stdout + done.stderr
    assert catalogue(RunDirectory(run)) == ([], [])
    assert len(losses(run)) == 4, "training went on after the save that failed"


PODS = {
    "launch": {
        "type": "kubernetes",
        "image": "zerotrain:1",
        "volumes": [{"type": "claim", "name": "training", "path": "/workspace"}],
    }
}


def answering(tmp_path: Path, answer: str) -> dict[str, str]:
    """Puts a `kubectl` on the path that takes everything."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho \"$@\" > asked\necho 'configmap/x created'\necho '{answer}'\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def test_a_run_on_kubernetes_is_handed_over_and_nothing_else_is_done_here(write, zerotrain, tmp_path):
    shown = zerotrain("train", write(PODS), "--dry-run")
    done = zerotrain("train", write(PODS), environment=answering(tmp_path, "job.batch/tiny created"))

    assert (shown.returncode, done.returncode) == (0, 0), shown.stderr + done.stderr
    assert "kubectl apply --filename runs/tiny.kubernetes.yaml" in shown.stdout
    assert "XDG_CACHE_HOME=/workspace/.cache" in shown.stdout
    assert done.stdout.startswith("submitted to kubernetes as job job.batch/tiny\n")
    assert "kubectl logs --follow --container node --selector app.kubernetes.io/instance=tiny" in done.stdout
    assert (tmp_path / "asked").read_text() == "apply --filename runs/tiny.kubernetes.yaml\n"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny.kubernetes.yaml"]


def test_a_run_on_kubernetes_cannot_be_set_aside_from_here(write, zerotrain):
    done = zerotrain("train", write(PODS), "--fresh")

    assert done.returncode == 1
    assert "error[ZT844] fresh-elsewhere" in done.stderr


def test_a_job_that_kubernetes_has_already_is_not_taken_for_a_new_one(write, zerotrain, tmp_path):
    done = zerotrain("train", write(PODS), environment=answering(tmp_path, "job.batch/tiny unchanged"))

    assert done.returncode == 1
    assert "there is a `job.batch/tiny` already" in done.stderr


def test_the_launcher_that_is_written_keeps_what_is_written_with_it(write, zerotrain):
    shown = zerotrain("train", write(PODS), "--on", "kubernetes", "launch.namespace=lab", "--dry-run")

    assert shown.returncode == 0, shown.stderr
    assert "image: zerotrain:1" in shown.stdout
    assert "kubectl --namespace lab apply" in shown.stdout


def test_continuing_a_finished_run_is_well_and_does_nothing(write, zerotrain):
    spec = write()
    zerotrain("train", spec)
    again = zerotrain("train", spec, "--continue")

    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "`runs/tiny` is finished")
