"""CPU time of `zerotrain check` and `lint` on one file and on a thousand, beside `import deepspeed`.

Each command runs in turn several times; the medians of user plus system time are printed. Goals: one file under 0.3 s,
a thousand in one call under 5 s.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROUNDS = 7
ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "quickstart.yaml"
COMPILED = ROOT / "ds_configs" / "quickstart.json"
FILES = 1000


def main() -> None:
    """Prints the median CPU seconds of every command."""
    with tempfile.TemporaryDirectory() as directory:
        commands = {**once(), **often(Path(directory))}
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS + 1):
            for name, arguments in commands.items():
                times[name].append(cpu_seconds([sys.executable, *arguments]))
    for name, measured in times.items():
        print(f"{statistics.median(measured[1:]):6.3f} s of CPU  {name}")


def once() -> Mapping[str, list[str]]:
    """Returns the commands about one file."""
    return {
        "zerotrain check examples/quickstart.yaml": ["-m", "zerotrain", "check", str(EXAMPLE)],
        "zerotrain lint ds_configs/quickstart.json": ["-m", "zerotrain", "lint", str(COMPILED)],
        "zerotrain compile examples/quickstart.yaml": ["-m", "zerotrain", "compile", str(EXAMPLE)],
        "python -c pass": ["-c", "pass"],
        "python -c 'import deepspeed'": ["-c", "import deepspeed"],
    }


def often(directory: Path) -> Mapping[str, list[str]]:
    """Returns the commands about a thousand files."""
    commands: dict[str, list[str]] = {}
    for verb, source in (("check", EXAMPLE), ("lint", COMPILED)):
        copies = [directory / f"{number}{source.suffix}" for number in range(FILES)]
        for copy in copies:
            copy.write_bytes(source.read_bytes())
        commands[f"zerotrain {verb} on {FILES} copies"] = ["-m", "zerotrain", verb, *map(str, copies)]
    return commands


def cpu_seconds(command: list[str]) -> float:
    """Returns the user and system seconds of a command and its children."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
