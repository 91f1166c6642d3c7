"""Imports the heavy libraries once, then forks the ranks of each run: a case costs seconds instead of ten.

Reads one JSON object per line: {"arguments", "before", "ranks", "directory", "environment"}; answers with {"codes"}
when all ranks have ended. Not a test: `conftest.py` starts it.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import sys
import time
import traceback
from pathlib import Path

# The libraries print as they are imported; answers go where nothing else does.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import deepspeed  # noqa: E402
import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402, F401

import zerotrain.engine.meet  # noqa: E402
import zerotrain.engine.run  # noqa: E402
import zerotrain.worker  # noqa: E402
from zerotrain.engine.device import accelerator  # noqa: E402
from zerotrain.engine.ops import build_ops  # noqa: E402


def main() -> None:
    torch.set_num_threads(1)
    load_ops()
    answer({"ready": True})
    for line in sys.stdin:
        run_case(json.loads(line))


def load_ops() -> None:
    """Loads what every run loads: finding out the processor's instructions takes DeepSpeed a second each time."""
    build_ops({"optimizer": {"type": "AdamW"}, "zero_optimization": {}}, print)
    for builder in ("ShareMemCommBuilder", "FusedAdamBuilder"):
        accelerator().create_op_builder(builder).load()


def run_case(case: dict[str, object]) -> None:
    port = free_port()
    children = [fork_rank(case, rank, port) for rank in range(int(str(case["ranks"])))]
    codes = wait(children, deadline=time.monotonic() + float(str(case["seconds"])))
    for left in Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_*_127.0.0.1_{port}*"):
        left.unlink(missing_ok=True)
    answer({"codes": codes})


def fork_rank(case: dict[str, object], rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    directory = Path(str(case["directory"]))
    output = os.open(directory / f"output-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(directory)
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(case["ranks"]),
        LOCAL_SIZE=str(case["ranks"]),
        LOCAL_WORLD_SIZE=str(case["ranks"]),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        OMP_NUM_THREADS="1",
        **{str(name): str(value) for name, value in dict(case["environment"]).items()},  # type: ignore[call-overload]
    )
    arguments = [str(argument) for argument in case["arguments"]]  # type: ignore[union-attr]
    try:
        if case["before"]:
            runpy.run_path(str(case["before"]))
        code = run_script(arguments[0]) if arguments[0].endswith(".py") else zerotrain.worker.main(arguments)
    except BaseException:
        traceback.print_exc()
        code = 1
    zerotrain.worker.leave(code)


def run_script(path: str) -> int:
    deepspeed.init_distributed("gloo", verbose=False)
    runpy.run_path(path, run_name="__main__")
    torch.distributed.destroy_process_group()
    return 0


def wait(children: list[int], deadline: float) -> list[int]:
    """Returns the exit codes; when one rank fails the others are killed after a while, as a launcher would."""
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        for child in set(children) - set(codes):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
                if codes[child] != 0:
                    deadline = min(deadline, time.monotonic() + 5)
        if time.monotonic() > deadline:
            for child in set(children) - set(codes):
                os.kill(child, 9)
        time.sleep(0.01)
    return [codes[child] for child in children]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def answer(content: dict[str, object]) -> None:
    ANSWERS.write(json.dumps(content) + "\n")
    ANSWERS.flush()


if __name__ == "__main__":
    main()
