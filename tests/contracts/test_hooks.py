"""What other projects' pre-commit and GitHub Actions read of this one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from zerotrain.cli.main import VERBS

ROOT = Path(__file__).parents[2]
HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOK_KEYS = {"id", "name", "description", "entry", "language", "types", "types_or", "files", "exclude"}


def hook(name: str) -> dict[str, Any]:
    return next(hook for hook in HOOKS if hook["id"] == name)


def test_there_is_a_hook_for_specs_and_one_for_deepspeed_configs() -> None:
    assert [hook["id"] for hook in HOOKS] == ["zerotrain-check", "zerotrain-lint"]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_has_what_pre_commit_needs(hook: dict[str, Any]) -> None:
    assert {"id", "name", "entry", "language", "files"} <= set(hook) <= HOOK_KEYS
    assert hook["language"] == "python"
    re.compile(hook["files"])


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_the_command_of_a_hook_exists(hook: dict[str, Any]) -> None:
    program, verb = hook["entry"].split()

    assert program == "zerotrain"
    assert verb in VERBS


@pytest.mark.parametrize(
    ("name", "path", "is_meant"),
    [
        ("zerotrain-lint", "ds_config.json", True),
        ("zerotrain-lint", "configs/deepspeed/zero3.json", True),
        ("zerotrain-lint", "configs/ds_z2_offload.hjson", True),
        ("zerotrain-lint", "zero_2.json", True),
        ("zerotrain-lint", "llm/zero3_bf16.json", True),
        ("zerotrain-lint", "package.json", False),
        ("zerotrain-lint", "hundreds.json", False),
        ("zerotrain-lint", "ds_config.py", False),
        ("zerotrain-check", "runs/tiny.yaml", True),
        ("zerotrain-check", "a/specs/big/one.yml", True),
        ("zerotrain-check", ".github/workflows/test.yml", False),
        ("zerotrain-check", "prunes/x.yaml", False),
    ],
)
def test_the_files_a_hook_looks_at(name: str, path: str, is_meant: bool) -> None:
    assert (re.search(hook(name)["files"], path) is not None) is is_meant


def test_the_action_has_what_github_needs() -> None:
    assert {"name", "description", "runs", "inputs"} <= set(ACTION)
    assert ACTION["runs"]["using"] == "composite"
    assert set(ACTION["inputs"]) == {"verb", "paths", "args"}
    assert all("description" in given for given in ACTION["inputs"].values())
    assert all({"run", "shell"} <= set(step) for step in ACTION["runs"]["steps"])


def test_the_action_puts_no_input_into_a_script() -> None:
    assert not any("${{" in step["run"] for step in ACTION["runs"]["steps"])


def test_every_input_of_the_action_is_used() -> None:
    values = " ".join(value for step in ACTION["runs"]["steps"] for value in step["env"].values())

    assert all(f"inputs.{name} " in values for name in ACTION["inputs"])


@pytest.fixture
def look(tmp_path: Path) -> Any:
    """Runs the action's last step as GitHub would, on an environment that is already installed."""
    programs = tmp_path / "temp" / "zerotrain" / "bin"
    programs.mkdir(parents=True)
    program = programs / "zerotrain"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zerotrain "$@"\n')
    program.chmod(0o755)

    def run(verb: str, paths: str, args: str = "") -> subprocess.CompletedProcess[str]:
        bash = shutil.which("bash")
        assert bash is not None
        environment = {"PATH": "/usr/bin:/bin", "RUNNER_TEMP": str(tmp_path / "temp")}
        script = ACTION["runs"]["steps"][-1]["run"]
        return subprocess.run(
            [bash, "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={**environment, "VERB": verb, "PATHS": paths, "ARGS": args},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_action_annotates_what_it_finds(tmp_path: Path, look: Any) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "ds.json").write_text('{"train_batch_size": 8, "zero_optimization": {"stage": 7}}')
    (tmp_path / "good.json").write_text('{"train_batch_size": 8}')
    found = look("lint", "**/*.json")

    assert found.returncode == 1
    assert "::error file=a/b/ds.json,line=1," in found.stdout
    assert look("lint", "good.json", "--world-size 8").returncode == 0
    assert look("check", "gone.yaml").returncode == 2


def test_the_action_runs_no_other_verb(look: Any) -> None:
    assert look("train", "run.yaml").returncode == 2
