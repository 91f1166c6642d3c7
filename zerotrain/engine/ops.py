"""DeepSpeed's compiled ops: built before the ranks meet, once per machine, with a word about the wait."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepspeed.git_version_info import accelerator_name, installed_ops
from torch.utils import cpp_extension

from zerotrain.compile.ops import needed_ops
from zerotrain.diagnostic import Diagnostic, error
from zerotrain.engine.device import accelerator, on_cpu
from zerotrain.errors import LaunchError
from zerotrain.hardware.builds import CHOSEN, build_root
from zerotrain.hardware.probe import compiler, is_open, ninja

_BUILD = "import sys; from deepspeed.accelerator import get_accelerator as a; a().create_op_builder(sys.argv[1]).load()"


def build_ops(ds_config: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Builds the ops this configuration loads and this machine does not have yet; one process at a time does it.

    Raises LaunchError when there is no compiler or a build fails.
    """
    show_ninja()
    compile_apart()
    needed = needed_ops(ds_config, on_cpu())
    if all(_is_built(builder) and not _lock(builder).exists() for builder in needed):
        return
    with _one_at_a_time(say):
        for builder in needed:
            remove_stale_lock(_lock(builder))
        missing = [builder for builder in needed if not _is_built(builder)]
        if missing:
            _build(missing, say)


def _name(builder: str) -> str:
    return accelerator().create_op_builder(builder).name


def _is_built(builder: str) -> bool:
    name = _name(builder)
    return is_installed(name) or (build_directory(name) / f"{name}.so").is_file()


def _lock(builder: str) -> Path:
    """Returns the file that torch keeps while it compiles an op."""
    return build_directory(_name(builder)) / "lock"


def is_installed(op: str) -> bool:
    """Tells whether DeepSpeed was installed with an op, by `DS_BUILD_*`; it then loads that and compiles nothing."""
    return bool(installed_ops.get(op)) and accelerator_name == accelerator().device_name()


def build_directory(op: str) -> Path:
    """Returns where an op is compiled, and makes that directory."""
    # torch has no public function for this.
    return Path(cpp_extension._get_build_directory(op, verbose=False))


def compile_apart() -> None:
    """Lets torch compile where nobody else does."""
    os.environ[CHOSEN] = str(build_root())


def show_ninja() -> None:
    """Puts the interpreter's own directory on the path, where pip installs the ninja that torch looks for."""
    own = str(Path(sys.executable).parent)
    if own not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = own + os.pathsep + os.environ.get("PATH", "")


@contextmanager
def _one_at_a_time(say: Callable[[str], None]) -> Generator[None]:
    root = build_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / "zerotrain.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that compiles DeepSpeed's ops")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(builders: list[str], say: Callable[[str], None]) -> None:
    _require_compiler()
    names = [_name(builder) for builder in builders]
    say(f"compiling DeepSpeed's {' and '.join(names)}: first use on this machine, a minute or more")
    builds = [
        subprocess.Popen(
            [sys.executable, "-c", _BUILD, builder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for builder in builders
    ]
    for name, build in zip(names, builds, strict=True):
        output, _ = build.communicate()
        print(output)
        if build.returncode != 0:
            raise LaunchError(_failed(name, output))


def _require_compiler() -> None:
    missing = [tool for tool, path in (("g++", compiler()), ("ninja", ninja())) if path is None]
    if missing:
        message = f"DeepSpeed compiles ops at first use, and there is no `{'` and no `'.join(missing)}`"
        help = "install them: `apt-get install g++` and `pip install ninja`, or set CXX to your compiler"
        raise LaunchError(error("ZT801", "no-compiler", message, help=help))


def _failed(name: str, output: str) -> Diagnostic:
    lines = [line for line in output.splitlines() if "error" in line.lower()] or output.splitlines()[-1:]
    message = f"compiling DeepSpeed's `{name}` failed: {lines[0].strip() if lines else 'no output'}"
    return error("ZT801", "no-compiler", message, help="the whole output is in the rank's log")


def remove_stale_lock(lock: Path) -> bool:
    """Removes the lock of a build that was killed, on which torch would wait for ever; tells whether it did.

    torch keeps its lock file open while it builds (torch/utils/file_baton.py), so a lock that no process has open is
    left over.
    """
    if not lock.exists() or is_open(lock):
        return False
    lock.unlink(missing_ok=True)
    return True
