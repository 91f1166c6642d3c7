"""Ranks that do not come are named, and so is what keeps one away."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

CALL = """
import os, sys
from zerotrain.engine.ranks import read_ranks
from zerotrain.engine.rollcall import call_roll
from zerotrain.errors import ZerotrainError
from zerotrain.units import TimeSpan
try:
    call_roll(read_ranks(), TimeSpan.parse(sys.argv[1]))
    import torch.distributed as dist
    dist.init_process_group("gloo")
    print("met", dist.get_world_size())
except ZerotrainError as refused:
    print(refused)
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start(rank: int, world: int, port: int, limit: str = "3 seconds", host: str = "127.0.0.1") -> subprocess.Popen[str]:
    where = {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": host, "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", CALL, limit]
    return subprocess.Popen(command, env={**os.environ, **where}, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=90)[0].strip()


def test_ranks_that_are_all_there_meet_at_the_same_store() -> None:
    port = free_port()
    processes = [start(rank, 3, port, "60 seconds") for rank in range(3)]

    assert [said(process) for process in processes] == ["met 3"] * 3


def test_absent_ranks_are_named_by_all_who_came() -> None:
    port = free_port()
    processes = [start(rank, 5, port, "20 seconds") for rank in (0, 2, 3)]

    assert {said(process) for process in processes} == {
        "ZT817 absent-ranks: ranks 1, 4 of 5 did not come within 20 seconds"
    }


def test_a_rank_that_finds_nobody_says_where_it_looked() -> None:
    port = free_port()

    assert said(start(1, 2, port)) == (
        f"ZT818 unmet-ranks: rank 0 did not answer at `127.0.0.1:{port}` within 3 seconds"
    )


def test_a_name_that_nobody_knows_is_told() -> None:
    told = said(start(1, 2, free_port(), host="no-such-host.invalid"))

    assert told.startswith("ZT818 unmet-ranks: the name `no-such-host.invalid` was not known within 3 seconds: ")


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = int(holder.getsockname()[1])

        assert said(start(0, 2, port)) == f"ZT818 unmet-ranks: port {port} of this machine is taken"
