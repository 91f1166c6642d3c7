"""Real runs on real ranks."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from zerotrain.hardware.builds import CHOSEN, build_root
from zerotrain.runs.history import curve, rows
from zerotrain.runs.layout import RunDirectory

os.environ[CHOSEN] = str(build_root())  # tests that use DeepSpeed by hand share what runs have compiled

_DRAW = 20261122


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves as many cases of a `sampled` test in the usual run as it says, and makes the others slow."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled") and not item.get_closest_marker("slow"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, found in cases.items():
        mark = found[0].get_closest_marker("sampled")
        count = mark.args[0] if mark else len(found)
        drawn = random.Random(f"{name} {_DRAW}").sample(range(len(found)), min(count, len(found)))
        for place, item in enumerate(found):
            if place not in drawn:
                item.add_marker("slow")


TINY: dict[str, Any] = {
    "name": "tiny",
    "model": {
        "architecture": "llama",
        "config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
    },
    "data": {
        "train": [{"type": "python_stdlib", "max_documents": 12}],
        "validation": [{"type": "python_stdlib", "split": "validation", "max_documents": 1}],
        "tokenizer": {"type": "bytes"},
        "seq_len": 64,
    },
    "batch": {"global_batch_size": 8, "micro_batch_size": 2},
    "horizon": "4 steps",
    "optimizer": {"type": "adamw", "lr": 1.0e-2, "weight_decay": 0.1, "clip_norm": 1.0},
    "schedule": {"type": "cosine", "warmup": "2 steps", "min_lr_ratio": 0.1},
    "evaluation": {"max_samples": 5},
}


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    run: RunDirectory
    codes: list[int]
    output: str
    """What rank 0 showed."""

    @property
    def losses(self) -> list[float]:
        return [row["loss"] for _, row in sorted(curve(self.run).items())]

    @property
    def grad_norms(self) -> list[float]:
        return [row["grad_norm"] for _, row in sorted(curve(self.run).items())]

    def rows(self, kind: str) -> list[dict[str, Any]]:
        return list(rows(self.run, kind))


class Ranks:
    """Starts runs in forked ranks."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        server = Path(__file__).with_name("ranks_server.py")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def train(self, directory: Path, changes: dict[str, Any], ranks: int = 1, *, expect: int | None = 0) -> Result:
        """Trains the tiny spec with changes, by dotted key; fails the test when a rank does not end as expected."""
        spec = write_spec(directory, {"data.cache": str(self._cache), **changes})
        return self.start(directory, [str(spec)], ranks, name=changes.get("name", "tiny"), expect=expect)

    def start(
        self,
        directory: Path,
        arguments: list[str],
        ranks: int,
        *,
        name: str = "tiny",
        expect: int | None = 0,
        before: Path | None = None,
        environment: dict[str, str] | None = None,
        seconds: float = 120,
    ) -> Result:
        """Starts the worker on every rank, in a process that has run the script `before` first."""
        case = {
            "arguments": arguments,
            "before": str(before) if before else None,
            "ranks": ranks,
            "directory": str(directory),
            "environment": environment or {},
            "seconds": seconds,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        codes = self._answer()["codes"]
        output = "\n".join((directory / f"output-{rank}.txt").read_text() for rank in range(ranks))
        result = Result(RunDirectory(directory / "runs" / name), codes, output)
        logs = "\n".join(path.read_text()[-3000:] for path in sorted(result.run.logs.glob("*/rank-*.log")))
        assert expect is None or codes == [expect] * ranks, f"{codes}\n{output}\n{logs}"
        return result

    def script(self, directory: Path, code: str, ranks: int = 1) -> str:
        """Runs Python code on every rank, the libraries loaded and a process group set up, and returns what it says."""
        file = directory / "script.py"
        file.write_text(dedent(code))
        return self.start(directory, [str(file)], ranks).output

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server has died"
        return json.loads(line)


def write_spec(directory: Path, changes: dict[str, Any]) -> Path:
    """Writes the tiny spec with changes, by dotted key."""
    spec = json.loads(json.dumps(TINY))
    for key, value in json.loads(json.dumps(changes)).items():
        *path, last = key.split(".")
        section = spec
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    file = directory / "spec.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def ranks(cache: Path) -> Iterator[Ranks]:
    started = Ranks(cache)
    yield started
    started.close()


Train = Callable[..., Result]


@pytest.fixture
def train(ranks: Ranks, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains the tiny spec in a directory of its own: `train({"zero.stage": 2}, ranks=2)`."""

    def run(changes: dict[str, Any] | None = None, ranks_: int = 1, **options: Any) -> Result:
        return ranks.train(tmp_path_factory.mktemp("run"), changes or {}, ranks_, **options)

    return run


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns the URL of an empty bucket; the environment has what is needed to reach it."""
    access = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**access, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
