"""Processes are started, watched, and none outlives the one that started it. All of them are real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zerotrain.launch.watch import Interrupted, remove_shared_memory

DRIVER = """
import json, sys
from pathlib import Path
from zerotrain.launch.job import Command, Job
from zerotrain.launch.watch import Interrupted, run_job

commands = tuple(Command(tuple(words), variables) for words, variables in json.loads(sys.argv[1]))
try:
    print("code", run_job(Job(commands, Path(sys.argv[2]))), flush=True)
except Interrupted as interrupted:
    print("interrupted by", interrupted, flush=True)
"""
SLEEP = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
STUBBORN = (
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('pid', os.getpid(), flush=True); time.sleep(60)"
)
PARENT = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('pid', child.pid, flush=True)\n"
)

Start = Callable[..., "Watcher"]


class Watcher:
    """A process that runs a job, and what its children have said."""

    def __init__(self, log: Path, *commands: tuple[list[str], dict[str, str]]) -> None:
        self.log = log
        self.children: list[int] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, json.dumps(commands), str(log)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_child(self) -> int:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("pid "), line
        self.children.append(int(line.split()[1]))
        return self.children[-1]

    def output(self) -> str:
        return self.process.communicate(timeout=50)[0]


def lives(pid: int) -> bool:
    """Tells whether a process runs; one that is dead and not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def dies(pid: int, seconds: float = 1.5) -> bool:
    deadline = time.monotonic() + seconds
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not lives(pid)


def python(program: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-c", program], variables


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Watcher] = []

    def run(*commands: tuple[list[str], dict[str, str]]) -> Watcher:
        started.append(Watcher(tmp_path / "launcher.log", *commands))
        return started[-1]

    yield run
    for watcher in started:
        for pid in (watcher.process.pid, *watcher.children):
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
        watcher.process.communicate()


def test_all_is_well_when_every_command_ends_well(start: Start) -> None:
    watcher = start(*(python(f"import os; os.write(1, b'{word}\\n')") for word in ("one", "two")))

    assert sorted(watcher.output().splitlines()) == ["code 0", "one", "two"]
    assert watcher.process.returncode == 0


def test_what_ranks_print_is_shown_and_their_complaints_go_to_the_log(start: Start) -> None:
    watcher = start(python("import sys; print('shown'); print('logged', file=sys.stderr)"))

    assert watcher.output() == "shown\ncode 0\n"
    assert watcher.log.read_text() == "logged\n"


def test_a_command_gets_its_variables_besides_those_of_this_process(start: Start) -> None:
    program = "import os; print(os.environ['MINE'], 'PATH' in os.environ)"

    assert start(python(program, MINE="yes")).output() == "yes True\ncode 0\n"


def test_nobody_can_ask_the_terminal(start: Start) -> None:
    assert start(python("import sys; print(repr(sys.stdin.read()))")).output() == "''\ncode 0\n"


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("raise SystemExit(3)", 3),
        ("raise SystemExit(255)", 255),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -11),
        ("import os; os._exit(1)", 1),
    ],
)
def test_the_code_of_a_command_that_fails_is_passed_on(start: Start, program: str, code: int) -> None:
    assert start(python(program)).output().splitlines()[-1] == f"code {code}"


def test_when_one_fails_the_others_are_ended(start: Start) -> None:
    watcher = start(python(SLEEP), python("import time; time.sleep(0.5); raise SystemExit(4)"))
    child = watcher.wait_for_child()

    assert watcher.output() == "code 4\n"
    assert not lives(child)


@pytest.mark.parametrize("end", ["", "raise SystemExit(5)"])
def test_what_a_command_has_started_ends_with_it(start: Start, end: str) -> None:
    watcher = start(python(PARENT + end))
    grandchild = watcher.wait_for_child()

    assert watcher.output() == ("code 5\n" if end else "code 0\n")
    assert not lives(grandchild)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_is_ended_before_whoever_asked_is_told(start: Start, number: signal.Signals) -> None:
    watcher = start(python(SLEEP), python(PARENT + "import time; time.sleep(60)"))
    children = [watcher.wait_for_child(), watcher.wait_for_child()]
    watcher.process.send_signal(number)

    assert watcher.output() == f"interrupted by {number.name}\n"
    assert not any(map(lives, children))


def test_a_command_that_does_not_want_to_end_is_killed(start: Start) -> None:
    watcher = start(python(STUBBORN), python("import time; time.sleep(0.5); raise SystemExit(6)"))
    child = watcher.wait_for_child()

    assert watcher.output() == "code 6\n"
    assert not lives(child)


def test_what_leads_a_group_of_its_own_ends_with_whoever_has_started_it(start: Start) -> None:
    leave = PARENT.replace("time.sleep(60)'])", "time.sleep(60)'], start_new_session=True)")
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    watcher = start(python(deaf + leave + "import time; time.sleep(60)"))
    grandchild = watcher.wait_for_child()
    for _ in range(2):
        watcher.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    watcher.process.wait(timeout=15)

    assert dies(grandchild)


def test_a_second_ctrl_c_leaves_nobody_behind(start: Start) -> None:
    watcher = start(python(STUBBORN))
    child = watcher.wait_for_child()
    for _ in range(2):
        watcher.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    watcher.process.wait(timeout=15)

    assert dies(child)


def test_a_terminal_that_closes_leaves_nobody_behind(start: Start) -> None:
    watcher = start(python(SLEEP))
    child = watcher.wait_for_child()
    watcher.process.send_signal(signal.SIGHUP)
    watcher.process.wait(timeout=15)

    assert dies(child)


def test_a_command_that_cannot_be_started_leaves_nobody_behind(start: Start) -> None:
    watcher = start(python(SLEEP), (["/no/such/program"], {}))
    watcher.process.wait(timeout=15)

    # It may have been ended before it could say its number.
    assert all(dies(int(line.split()[1])) for line in watcher.output().splitlines())


def test_the_log_is_continued(start: Start, tmp_path: Path) -> None:
    (tmp_path / "launcher.log").write_text("before\n")
    watcher = start(python("import sys; print('after', file=sys.stderr)"))
    watcher.output()

    assert watcher.log.read_text() == "before\nafter\n"


def test_an_interruption_has_its_signal_s_name_and_number() -> None:
    interrupted = Interrupted(signal.SIGTERM)

    assert (str(interrupted), interrupted.number) == ("SIGTERM", 15)


def test_the_buffers_of_killed_ranks_are_removed_and_no_others() -> None:
    shm, user = Path("/dev/shm"), os.getuid()
    ours = [shm / f"deepspeed_allreduce_buffer_{user}_10.9.8.7_1_{end}" for end in (0, 1)]
    other = shm / f"deepspeed_allreduce_buffer_{user}_10.9.8.7_2_0"
    for buffer in (*ours, other):
        buffer.touch()
    try:
        assert remove_shared_memory("10.9.8.7", 1) == ours
        assert not any(buffer.exists() for buffer in ours)
        assert other.exists()
        assert remove_shared_memory("10.9.8.7", 1) == []
    finally:
        for buffer in (*ours, other):
            buffer.unlink(missing_ok=True)


def test_the_buffers_of_a_port_that_begins_alike_are_kept() -> None:
    other = Path("/dev/shm") / f"deepspeed_allreduce_buffer_{os.getuid()}_10.9.8.7_29501_0"
    other.touch()
    try:
        assert remove_shared_memory("10.9.8.7", 2950) == []
    finally:
        other.unlink(missing_ok=True)
