"""The action, the hooks and the examples for other projects' CI: valid, and run for real in a project of someone's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / "examples" / "ci" / "github.yml"
GITLAB = ROOT / "examples" / "ci" / "gitlab-ci.yml"
GOOD_CONFIG, BAD_CONFIG = '{"train_batch_size": 8}', '{"train_batch_size": 8, "zero_optimization": {"stage": 7}}'


def read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Done:
    """What became of a step."""

    name: str
    code: int
    output: str


@dataclass(frozen=True)
class Runner:
    """Executes the `run:` steps of someone else's CI in a project, with an environment of its own for Python."""

    project: Path
    temp: Path
    environment: Mapping[str, str]

    def steps(self, steps: list[dict[str, Any]], context: Mapping[str, str]) -> list[Done]:
        """Runs steps as GitHub does: after a failure only those whose `if` asks for it."""
        done: list[Done] = []
        for step in steps:
            failed = any(before.code for before in done)
            if "run" in step and (not failed or "!cancelled()" in step.get("if", "")):
                done.append(self.step(step, context))
        return done

    def step(self, step: dict[str, Any], context: Mapping[str, str] | None = None) -> Done:
        own = {name: filled(value, context or {}) for name, value in step.get("env", {}).items()}
        bash = shutil.which("bash")
        assert bash is not None
        process = subprocess.run(
            [bash, "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.project,
            env={**self.environment, "RUNNER_TEMP": str(self.temp), **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Done(step.get("name", step["run"]), process.returncode, process.stdout)


def filled(text: str, context: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda match: context[match[1]], text)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a checkout of this project has, apart, since installing from a directory writes into it."""
    place = tmp_path_factory.mktemp("source") / "zerotrain"
    place.mkdir()
    shutil.copytree(ROOT / "zerotrain", place / "zerotrain", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "action.yml", ".pre-commit-hooks.yaml"):
        shutil.copy(ROOT / name, place)
    git(place, "init", "--quiet")
    git(place, "add", "--all")
    git(place, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "first")
    return place


@pytest.fixture(scope="module")
def wheels(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this version of zerotrain lies as a package, as if it were published."""
    place = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(place), str(source)]
    subprocess.run(pip, check=True)
    return place


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a fresh machine: a Python without packages, and `zerotrain` among those to be had."""
    place = tmp_path_factory.mktemp("machine")
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    found = f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}".strip()
    own = {"PATH": f"{place / 'bin'}:/usr/bin:/bin", "PIP_FIND_LINKS": found, "HOME": os.environ["HOME"]}
    return {**{name: value for name, value in os.environ.items() if name.startswith("PIP_")}, **own}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """Someone's repository, with a good spec and a good config in it."""
    place = tmp_path / "project"
    for folder in ("specs", "configs"):
        (place / folder).mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "quickstart.yaml", place / "specs" / "good.yaml")
    (place / "configs" / "ds_good.json").write_text(GOOD_CONFIG)
    git(place, "init", "--quiet")
    git(place, "add", "--all")
    return place


@pytest.fixture
def runner(project: Path, tmp_path: Path, installed: dict[str, str]) -> Runner:
    temp = tmp_path / "temp"
    temp.mkdir()
    return Runner(project, temp, installed)


def git(place: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=place, check=True)


def spoil(project: Path) -> None:
    """Puts one mistake into a spec and one into a config."""
    text = (project / "specs" / "good.yaml").read_text(encoding="utf-8")
    (project / "specs" / "bad.yaml").write_text(text.replace("horizon:", "horizont:"), encoding="utf-8")
    (project / "configs" / "ds_bad.json").write_text(BAD_CONFIG)
    git(project, "add", "--all")


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("github-workflows", GITHUB),
        ("gitlab-ci", GITLAB),
        ("github-actions", ROOT / "action.yml"),
        ("compose-spec", ROOT / "docker" / "compose.yaml"),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else value,
)
def test_a_file_is_what_its_published_schema_says(schema: str, file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_the_hooks_are_what_pre_commit_reads() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")]

    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.slow
def test_the_action_installs_itself_and_annotates_what_is_wrong(runner: Runner, source: Path, project: Path) -> None:
    steps = read(ROOT / "action.yml")["runs"]["steps"]
    context = {"github.action_path": str(source), "inputs.verb": "lint", "inputs.args": ""}
    good = runner.steps(steps, {**context, "inputs.paths": "configs/*.json"})
    spoil(project)
    bad = runner.step(steps[-1], {**context, "inputs.paths": "configs/*.json"})

    assert [step.code for step in good] == [0, 0], good
    assert bad.code == 1
    assert "::error file=configs/ds_bad.json,line=1," in bad.output


@pytest.mark.slow
def test_the_workflow_for_github_writes_sarif_for_specs_and_configs(runner: Runner, project: Path) -> None:
    steps = read(GITHUB)["jobs"]["check"]["steps"]
    spoil(project)
    done = runner.steps(steps, {})
    found = [json.loads((project / name).read_text()) for name in ("specs.sarif", "configs.sarif")]

    assert [step.code for step in done] == [0, 1, 1], done
    assert [{result["level"] for result in file["runs"][0]["results"]} & {"error"} for file in found] == [{"error"}] * 2
    uploaded = [step["with"]["sarif_file"] for step in steps if "upload-sarif" in step.get("uses", "")]
    assert uploaded == ["specs.sarif", "configs.sarif"]


@pytest.mark.slow
def test_the_job_for_gitlab_passes_what_is_good_and_fails_on_what_is_not(runner: Runner, project: Path) -> None:
    job = read(GITLAB)["zerotrain"]
    script = "\n".join([*job["before_script"], *job["script"]])
    good = runner.step({"run": script})
    spoil(project)
    bad = runner.step({"run": script})

    assert good.code == 0, good.output
    assert bad.code == 1
    assert "ZT005" in bad.output


@pytest.mark.slow
def test_pre_commit_runs_both_hooks_on_the_files_that_are_meant(
    source: Path, project: Path, installed: dict[str, str], tmp_path: Path
) -> None:
    spoil(project)
    environment = {**installed, "PATH": os.environ["PATH"], "PRE_COMMIT_HOME": str(tmp_path / "hooks")}
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(source), "--all-files", "--color", "never"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"specs/bad\.yaml:.*error\[ZT005\]", done.stdout), done.stdout + done.stderr
    assert "configs/ds_bad.json:1:" in done.stdout
    assert not re.search(r"good\.\w+:\d+:\d+: error", done.stdout), "an error in a good file"
