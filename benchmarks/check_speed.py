"""CPU time of `zerotrain check` on one file, beside `python -c pass` and `import deepspeed`.

Each command runs in turn several times; the medians of user plus system time are printed. Goal: check under 0.3 s.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 7
ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {
    "zerotrain check examples/quickstart.yaml": ["-m", "zerotrain", "check", "examples/quickstart.yaml"],
    "zerotrain compile examples/quickstart.yaml": ["-m", "zerotrain", "compile", "examples/quickstart.yaml"],
    "python -c pass": ["-c", "pass"],
    "python -c 'import deepspeed'": ["-c", "import deepspeed"],
}


def main() -> None:
    """Prints the median CPU seconds of every command."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS + 1):
        for name, arguments in COMMANDS.items():
            times[name].append(cpu_seconds([sys.executable, *arguments]))
    for name, measured in times.items():
        print(f"{statistics.median(measured[1:]):6.3f} s of CPU  {name}")


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
