"""The command line of the `deepspeed` launcher."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from deepspeed.launcher.multinode_runner import PDSHRunner
from deepspeed.launcher.runner import EXPORT_ENVS, parse_args, parse_resource_filter

from zerotrain.errors import LaunchError
from zerotrain.launch.deepspeed import prepare
from zerotrain.launch.environment import shared_environment
from zerotrain.launch.job import Order

Make = Callable[..., Order]

H100 = "{gpu: H100-SXM, gpus_per_node: 2}"


def where(order: Order) -> tuple[str, ...]:
    """Returns the arguments that say which ranks run where."""
    arguments = prepare(order).commands[0].arguments
    return arguments[arguments.index("--hostfile") + 2 : arguments.index("--master_port")]


def test_the_whole_command_line(order: Make) -> None:
    made = order(launch="{type: deepspeed}")
    (command,) = prepare(made).commands

    assert command.arguments == (
        sys.executable,
        *("-m", "deepspeed.launcher.runner"),
        *("--hostfile", "/dev/null"),
        *("--num_nodes", "1", "--num_gpus", "2"),
        *("--master_port", "29501"),
        *("--log_level", "error", "--no_local_rank", "--module"),
        *("zerotrain.worker", "runs/tiny", "--attempt", "3"),
    )
    assert command.environment == shared_environment(made)


@pytest.mark.parametrize(
    ("launch", "expected"),
    [
        ("{type: deepspeed}", ("--num_nodes", "1", "--num_gpus", "2")),
        ("{type: deepspeed, hostfile: hosts}", ("--num_nodes", "1", "--num_gpus", "2")),
        ("{type: deepspeed, hostfile: hosts, include: 'a:0,1@b'}", ("--include", "a:0,1@b")),
        ("{type: deepspeed, hostfile: hosts, exclude: 'a:0'}", ("--exclude", "a:0")),
    ],
)
def test_hosts_and_slots(order: Make, launch: str, expected: tuple[str, ...]) -> None:
    made = order(launch=launch)
    arguments = prepare(made).commands[0].arguments

    assert where(made) == expected
    assert arguments[arguments.index("--hostfile") + 1] == ("hosts" if "hosts" in launch else "/dev/null")


def test_several_machines(order: Make) -> None:
    made = order(
        launch="{type: deepspeed, hostfile: hosts}",
        hardware="{gpu: H100-SXM, num_nodes: 2, gpus_per_node: 8}",
        batch="{global_batch_size: 16, micro_batch_size: 1}",
    )

    assert where(made) == ("--num_nodes", "2", "--num_gpus", "8")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,3", ("--include", "localhost:2,3")),
        ("4,5,6,7", ("--include", "localhost:4,5")),
        ("2", ("--num_nodes", "1", "--num_gpus", "2")),
        ("", ("--num_nodes", "1", "--num_gpus", "2")),
    ],
)
def test_the_devices_that_are_visible_are_used(
    order: Make, monkeypatch: pytest.MonkeyPatch, visible: str, expected: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert where(order(launch="{type: deepspeed}", hardware=H100)) == expected


def test_the_devices_that_are_visible_here_say_nothing_of_other_machines(
    order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")

    assert where(order(launch="{type: deepspeed, hostfile: hosts}", hardware=H100))[0] == "--num_nodes"


@pytest.mark.parametrize("visible", ["0,1", "-1,-1", "2,3"])
def test_a_run_on_a_cpu_does_not_look_at_gpus(order: Make, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    # On a CPU the launcher has one slot per NUMA node, and refuses `localhost:0,1` where there is one.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert where(order(launch="{type: deepspeed}")) == ("--num_nodes", "1", "--num_gpus", "2")


@pytest.mark.parametrize("visible", ["GPU-8f2e,GPU-91c0", "0,MIG-2", "-1", "²"])
def test_devices_the_launcher_would_take_others_for_are_refused(
    order: Make, monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    with pytest.raises(LaunchError, match="ZT808"):
        prepare(order(launch="{type: deepspeed}", hardware=H100))


def test_the_launcher_takes_the_devices_it_is_given(order: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 6, 7")
    option, value, *_ = where(order(launch="{type: deepspeed}", hardware=H100))

    assert option == "--include"
    assert parse_resource_filter({"localhost": list(range(8))}, include_str=value)["localhost"] == [6, 7]


@pytest.mark.parametrize(
    "launch",
    ["{type: deepspeed}", "{type: deepspeed, hostfile: hosts, include: 'a:0'}", "{type: deepspeed, exclude: b}"],
)
def test_the_launcher_understands_it(order: Make, launch: str) -> None:
    (command,) = prepare(order(launch=launch)).commands
    given = parse_args(list(command.arguments[3:]))

    assert (given.user_script, given.user_args) == ("zerotrain.worker", ["runs/tiny", "--attempt", "3"])
    assert (given.module, given.no_local_rank, given.master_port) == (True, True, 29501)


def test_other_machines_learn_the_attempt_and_the_environment(order: Make, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    (tmp_path / ".deepspeed_env").write_text("MINE=yes\n\n")
    made = order(
        launch="{type: deepspeed, hostfile: hosts, environment: {GREETING: 'say \"$hi\"'}}",
        hardware="{gpu: H100-SXM, num_nodes: 2, gpus_per_node: 8}",
        batch="{global_batch_size: 16, micro_batch_size: 1}",
    )
    job = prepare(made)
    (command,) = job.commands
    ((path, text),) = job.files.items()
    lines = dict(line.split("=", 1) for line in text.splitlines())

    assert command.arguments[-2:] == ("--attempt", "3")
    assert command.environment["DS_ENV_FILE"] == str(path)
    assert path.is_absolute()
    assert (
        lines.items()
        >= {
            "MINE": "yes",
            "NCCL_DEBUG": "INFO",
            "DEEPSPEED_TIMEOUT": "30",
            "GREETING": r"say \"\$hi\"",
        }.items()
    )
    unsent = {name for name in command.environment if not name.startswith(tuple(EXPORT_ENVS))} - {"DS_ENV_FILE"}
    assert unsent <= set(lines)


def test_what_other_machines_are_told_arrives_as_it_is(order: Make, monkeypatch, tmp_path) -> None:
    """Goes the way of the launcher: a line of the file, its own quoting, a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    made = order(launch="{type: deepspeed, hostfile: hosts, environment: {GREETING: 'a \"b\" $c `d` \\'}}")
    (text,) = prepare(made).files.values()
    runner = PDSHRunner(parse_args(["script"]), "")
    for line in text.splitlines():
        runner.add_export(*line.split("=", maxsplit=1))

    shell = f'export GREETING={runner.exports["GREETING"]}; printf %s "$GREETING"'
    assert subprocess.check_output(["sh", "-c", shell], text=True) == 'a "b" $c `d` \\'


def test_how_machines_are_reached_is_passed_on(order: Make) -> None:
    made = order(
        launch="{type: deepspeed, hostfile: hosts, launcher: openmpi, launcher_args: '-x A', "
        "master_address: 10.0.0.1, ssh_port: 2222}"
    )
    given = parse_args(list(prepare(made).commands[0].arguments[3:]))

    assert (given.launcher, given.launcher_args, given.master_addr, given.ssh_port) == (
        *("openmpi", "-x A"),
        *("10.0.0.1", 2222),
    )
