"""The machines of a hostfile, asked over ssh."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from zerotrain.doctor.machine import Answer, BadLine, Host, Hosts
from zerotrain.doctor.probes import answer
from zerotrain.doctor.probes.software import last_json, last_words
from zerotrain.errors import reason_of

PACKAGES = ("zerotrain", "torch", "deepspeed", "transformers", "numpy")
"""Packages that must have one version on all machines."""

_CONNECT_SECONDS, _SECONDS = 8, 40
_AT_ONCE = 32
_LINE = re.compile(r"^(\S+)\s+slots=(\d+)")
_SSH_OPTIONS = "PDSH_SSH_ARGS_APPEND"
"""Options that pdsh, which starts the ranks, gives to ssh too."""


def hosts(hostfile: Path, paths: Sequence[Path], chosen: Callable[[str], bool]) -> Hosts:
    """Returns what the machines of a hostfile that are chosen answer, all asked at once."""
    try:
        text = hostfile.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        return Hosts(str(hostfile), problem=reason_of(failure))
    listed, bad = parse_hostfile(text)
    if bad is not None:
        return Hosts(str(hostfile), bad=bad)
    question = json.dumps([PACKAGES, [str(path) for path in paths]])
    asked = [host for host in listed if chosen(host.name)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = tuple(pool.map(lambda host: ask(host, question), asked))
    here = _answer(json.loads(json.dumps(answer.answer(list(PACKAGES), []))))
    return Hosts(str(hostfile), hosts=answers, here=here, pdsh=shutil.which("pdsh"))


def parse_hostfile(text: str) -> tuple[list[Host], BadLine | None]:
    """Returns the machines of a hostfile, or its first line that DeepSpeed refuses (launcher/runner.py)."""
    found: dict[str, Host] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        written = line.strip()
        match = _LINE.match(written)
        if not written or written.startswith("#"):
            continue
        if match is None:
            return [], BadLine(number, line, f"`{written}` is not `host slots=N`")
        if match[1] in found:
            return [], BadLine(number, line, f"`{match[1]}` stands in line {found[match[1]].line} already")
        found[match[1]] = Host(match[1], int(match[2]), number)
    return list(found.values()), None if found else BadLine(1, "", "no machine stands in it")


def ask(host: Host, question: str) -> Host:
    """Returns a machine with its answer, or with the reason why there is none."""
    program = inspect.getsource(answer)
    before = time.time()
    try:
        done = subprocess.run(
            _ssh(host.name, question), input=program, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError:
        return replace(host, problem="there is no `ssh` here")
    except subprocess.TimeoutExpired:
        return replace(host, problem=f"no answer within {_SECONDS}s")
    after, found = time.time(), last_json(done.stdout)
    if done.returncode != 0 or found is None:
        return replace(host, problem=_why(done))
    return replace(host, answer=_answer(found), skew=_skew(before, found["time"], after))


def _ssh(name: str, question: str) -> list[str]:
    own = shlex.split(os.environ.get(_SSH_OPTIONS, ""))
    options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}"]
    return ["ssh", *own, *options, name, shlex.join([sys.executable, "-", question])]


def _why(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode in (126, 127):
        return f"it has no interpreter `{sys.executable}`"
    return last_words(done.stderr).rstrip(".") or f"ssh ended with exit code {done.returncode}"


def _answer(found: Mapping[str, Any]) -> Answer:
    return Answer(found["hostname"], found["python"], found["packages"], tuple(found["missing"]), found["gpus"])


def _skew(before: float, there: float, after: float) -> float:
    """Returns by how many seconds a clock is off at least, if it was read between two looks at ours."""
    return there - after if there > after else min(0.0, there - before)
