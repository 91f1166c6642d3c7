"""What Slurm is asked for. That it does it is shown in tests/cluster/test_slurm.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from socket import gethostname

import pytest

from zerotrain.errors import SpecError
from zerotrain.launch.job import Order
from zerotrain.launch.slurm import prepare

Make = Callable[..., Order]

BIG = {
    "hardware": "{gpu: H100-SXM, num_nodes: 4, gpus_per_node: 8}",
    "batch": "{global_batch_size: 32, micro_batch_size: 1}",
}


def script(order: Order) -> str:
    (text,) = prepare(replace(order, attempt=None)).files.values()
    return text


def options(order: Order) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script(order).splitlines() if line.startswith("#SBATCH ")]


def test_outside_an_allocation_a_script_is_submitted(order: Make) -> None:
    job = prepare(replace(order(launch="{type: slurm}"), attempt=None))
    (path,) = job.files

    assert job.is_submitted
    assert [command.arguments for command in job.commands] == [("sbatch", "--parsable", str(path))]
    assert str(path) == "runs/tiny/logs/job.sbatch"


def test_the_whole_script(order: Make) -> None:
    launch = (
        "{type: slurm, time: 1 day 6 hours, save_before: 5 minutes, partition: a100, account: physics, qos: high, "
        "constraint: 'hbm80', exclusive: true, cpus_per_task: 6, memory: 0, "
        "sbatch_args: ['--mail-type=END'], setup: ['module load cuda']}"
    )
    here = Path.cwd()

    assert script(order(launch=launch, **BIG)) == "\n".join(
        [
            "#!/bin/bash",
            "#SBATCH --job-name=tiny",
            "#SBATCH --nodes=4",
            "#SBATCH --ntasks-per-node=8",
            f"#SBATCH --output={here}/runs/tiny/logs/slurm-%j.log",
            "#SBATCH --open-mode=append",
            "#SBATCH --signal=USR1@300",
            "#SBATCH --requeue",
            "#SBATCH --time=1-06:00:00",
            "#SBATCH --partition=a100",
            "#SBATCH --account=physics",
            "#SBATCH --qos=high",
            "#SBATCH --constraint=hbm80",
            "#SBATCH --gres=gpu:8",
            "#SBATCH --cpus-per-task=6",
            "#SBATCH --mem=0",
            "#SBATCH --exclusive",
            "#SBATCH --mail-type=END",
            f"cd {here} || exit 2",
            "module load cuda",
            f"{sys.executable} -m zerotrain resume runs/tiny --unless-finished &",
            "launcher=$!",
            "trap 'kill -TERM $launcher' TERM",
            "wait $launcher; code=$?",
            "while kill -0 $launcher 2> /dev/null; do wait $launcher; code=$?; done",
            "if [ $code -eq 75 ]; then",
            '  scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"',
            "fi",
            "exit $code",
            "",
        ]
    )


def test_processors_need_no_generic_resources_and_an_array_is_a_row_of_jobs(order: Make) -> None:
    given = options(order(launch="{type: slurm, array: 5, requeue: false}"))

    assert {"--array=1-5%1", "--no-requeue"} <= set(given)
    assert not any(option.startswith("--gres") for option in given)
    assert "--gres=mps:4" in options(order(launch="{type: slurm, gres: 'mps:4'}"))


@pytest.mark.parametrize("launch", ["{type: slurm}", "{type: slurm, requeue: false, array: 3}"])
def test_a_shell_understands_the_script(order: Make, launch: str) -> None:
    subprocess.run(["bash", "-n"], input=script(order(launch=launch)), text=True, check=True)


def test_inside_an_allocation_srun_starts_one_process_per_rank(order: Make) -> None:
    (command,) = prepare(order(launch="{type: slurm}", **BIG)).commands
    words = command.arguments

    assert words[:7] == ("srun", "--nodes", "4", "--ntasks", "32", "--ntasks-per-node", "8")
    assert words[-3:-1] == ("bash", "-c")
    assert words[-1].startswith("RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS")
    assert words[-1].endswith(f"exec {sys.executable} -u -m zerotrain.worker runs/tiny --attempt 3")
    assert (command.environment["MASTER_ADDR"], command.environment["MASTER_PORT"]) == (gethostname(), "29501")


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "memory", "gres"])
def test_a_value_cannot_end_its_line_and_begin_a_command(order: Make, key: str) -> None:
    with pytest.raises(SpecError, match="would end its line in a batch script"):
        order(launch=f'{{type: slurm, {key}: "a\\nrm -rf ~"}}')


def test_a_value_is_one_word_whatever_is_in_it(order: Make) -> None:
    made = order(launch="{type: slurm, constraint: '[a|b]&c d', sbatch_args: ['--comment=$(id)']}")

    assert {"'--constraint=[a|b]&c d'", "'--comment=$(id)'"} <= set(options(made))
