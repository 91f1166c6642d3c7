"""Beside pydantic and PyYAML alone, as `pip install zerotrain` leaves it, specs are checked and training says no."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def needed(package: str) -> set[str]:
    """Returns a package and all that it needs without extras."""
    found = {package}
    for requirement in requires(package) or ():
        if "extra ==" not in requirement:
            found |= needed(re.split(r"[^\w.-]", requirement)[0])
    return found


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with what a light installation has, and nothing else."""
    place = tmp_path_factory.mktemp("light")
    for package in needed("zerotrain") - {"zerotrain"}:
        files = distribution(package).files or ()
        for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
            (place / top).symlink_to(Path(str(distribution(package).locate_file(top))))
    (place / "zerotrain").symlink_to(ROOT / "zerotrain")
    return place


@pytest.fixture
def run(light: Path, tmp_path: Path) -> Run:
    def start(*words: str) -> subprocess.CompletedProcess[str]:
        # -S leaves out the directory where this test's own packages are.
        command = [sys.executable, "-S", "-m", "zerotrain", *words]
        environment = {"PYTHONPATH": str(light), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return start


def test_specs_are_checked_compiled_and_explained(run: Run) -> None:
    example = str(ROOT / "examples" / "quickstart.yaml")
    done = [run("check", example), run("compile", example), run("explain", "batch", example), run("schema")]

    assert [(process.returncode, process.stderr) for process in done] == [(0, "")] * 4


def test_training_says_what_to_install(run: Run, tmp_path: Path) -> None:
    done = run("train", str(ROOT / "examples" / "quickstart.yaml"))

    assert done.returncode == 1
    assert "error[ZT802] missing-packages" in done.stderr
    assert "training needs `torch`, `deepspeed`" in done.stderr
    assert "pip install 'zerotrain[train]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_says_so_too(run: Run) -> None:
    done = run("doctor", str(ROOT / "examples" / "quickstart.yaml"))

    assert (done.returncode, done.stderr) == (1, "")
    assert "error[ZT802] missing-packages" in done.stdout
    assert "ZT851" not in done.stdout
