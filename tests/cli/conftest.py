"""Runs of the real command line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

SPEC: dict[str, Any] = {
    "name": "tiny",
    "model": {
        "architecture": "llama",
        "config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    },
    "data": {
        "train": [{"type": "python_stdlib", "max_documents": 12}],
        "tokenizer": {"type": "bytes"},
        "seq_len": 64,
    },
    "batch": {"global_batch_size": 4, "micro_batch_size": 2},
    "horizon": "3 steps",
    "optimizer": {"type": "adamw", "lr": 1.0e-2},
    "schedule": {"type": "constant"},
    "hardware": {"gpus_per_node": 2},
}


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def write(tmp_path: Path, shared_cache: Path) -> Callable[..., Path]:
    """Writes the tiny spec with changes, by dotted key, to `spec.yaml` in the test's own directory."""

    def run(changes: dict[str, Any] | None = None) -> Path:
        spec = yaml.safe_load(yaml.safe_dump(SPEC))
        spec["data"]["cache"] = str(shared_cache)
        for key, value in (changes or {}).items():
            *path, last = key.split(".")
            section = spec
            for part in path:
                section = section.setdefault(part, {})
            section[last] = value
        file = tmp_path / "spec.yaml"
        file.write_text(yaml.safe_dump(spec))
        return file

    return run


@pytest.fixture
def zerotrain(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a verb in the test's own directory: `zerotrain("train", spec)`."""

    def run(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "zerotrain", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a verb and returns at once; what a failed test has left is ended."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "zerotrain", *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=120)


@pytest.fixture
def worker_pids() -> Callable[[Path], list[int]]:
    """Finds the processes that train a run."""
    return _worker_pids


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Waits until a condition holds."""
    return _wait_for


def _worker_pids(run: Path) -> list[int]:
    """Returns the processes that train a run, by their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            where = (process / "cwd").readlink()
        except OSError:
            continue
        if b"zerotrain.worker" in words and b"-m" in words and where == run.parent.parent:
            found.append(int(process.name))
    return sorted(found)


def _wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
