"""What DeepSpeed does with a config, asked of DeepSpeed itself, and kept so that it is asked once."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from truth.cases import Case

SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    verdict: Literal["works", "refused", "hangs"]
    stage: str
    """How far it came: parse, initialize, step, save, load, done."""
    error: str | None = None
    message: str = ""
    in_force: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the engine went by after `initialize`."""

    def __str__(self) -> str:
        return (
            self.verdict if self.verdict == "works" else f"{self.verdict} at {self.stage}: {self.error}: {self.message}"
        )


class Oracle:
    """One process with the libraries loaded, which runs one case after another."""

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept
        self._outcomes = read_outcomes(kept)
        self._server: subprocess.Popen[str] | None = None

    def ask(self, case: Case) -> Outcome:
        """Runs a case, unless its outcome is known."""
        key = key_of(case)
        if key not in self._outcomes:
            self._outcomes[key] = self._run(case)
            self._keep(key, case)
        return self._outcomes[key]

    def close(self) -> None:
        if self._server:
            with self._server as server:
                assert server.stdin is not None
                server.stdin.close()

    def _run(self, case: Case) -> Outcome:
        if self._server is None:
            self._server = start()
        content = {"config": case.config, "model": case.model, "ranks": case.world_size, "seconds": SECONDS}
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(content) + "\n")
        self._server.stdin.flush()
        answer = line_of(self._server)
        fields = Outcome.__dataclass_fields__
        return Outcome(**{name: value for name, value in answer.items() if name in fields})

    def _keep(self, key: str, case: Case) -> None:
        if self._kept:
            asked = {"config": case.config, "world_size": case.world_size, "model": case.model}
            row = {"key": key, **asked, **asdict(self._outcomes[key])}
            with self._kept.open("a") as file:
                file.write(json.dumps(row) + "\n")


def start() -> subprocess.Popen[str]:
    """Starts the process and waits until it has loaded everything."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("server.py"))]
    log = subprocess.DEVNULL
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    line_of(server)
    return server


def line_of(server: subprocess.Popen[str]) -> dict[str, Any]:
    assert server.stdout is not None
    line = server.stdout.readline()
    assert line, "the server has died"
    return json.loads(line)


def key_of(case: Case) -> str:
    return hashlib.sha256(json.dumps([case.config, case.world_size, case.model]).encode()).hexdigest()[:24]


def read_outcomes(kept: Path | None) -> dict[str, Outcome]:
    if kept is None or not kept.is_file():
        return {}
    rows = map(json.loads, kept.read_text().splitlines())
    fields = Outcome.__dataclass_fields__
    return {row["key"]: Outcome(**{name: row[name] for name in fields}) for row in rows}
