"""Before the process group: all ranks say that they are there, and who is not is named.

torch's own rendezvous waits in silence, and then says on every rank that somebody did not come.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta

from torch._C._distributed_c10d import TCPStore
from torch.distributed import DistError

from zerotrain.diagnostic import error
from zerotrain.engine.ranks import Ranks
from zerotrain.errors import EngineError
from zerotrain.units import TimeSpan

_SECONDS_BETWEEN_LOOKS = 0.2
_GRACE = 10.0
"""Seconds that the verdict of rank 0 may take to reach the others."""
_NAMED = 8
_ALL = "all"

_held: list[TCPStore] = []
"""Stores stay as long as the process: torch's process group meets at the same one."""


def call_roll(ranks: Ranks, limit: TimeSpan) -> None:
    """Returns when all ranks are there; raises EngineError with those that are not, or with what keeps this one away.

    All ranks must call this, before the process group is made.
    """
    if ranks.world_size == 1:
        return
    deadline = time.monotonic() + limit.seconds
    store = _open_store(ranks, deadline, limit)
    _held.append(store)
    prefix = f"zerotrain/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    store.set(f"{prefix}/rank-{ranks.rank}", socket.gethostname())
    store.add(f"{prefix}/present", 1)
    if ranks.is_first:
        store.set(f"{prefix}/verdict", _wait_for_all(store, prefix, ranks.world_size, deadline) or _ALL)
    verdict = _hear(store, f"{prefix}/verdict", deadline, limit)
    if verdict != _ALL:
        message = f"{verdict} did not come within {limit}"
        help = "see their logs, and whether their machines reach rank 0's; `launch.start_timeout` gives them longer"
        raise EngineError(error("ZT817", "absent-ranks", message, help=help, key="launch.start_timeout"))


def _open_store(ranks: Ranks, deadline: float, limit: TimeSpan) -> TCPStore:
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    _resolve(host, deadline, limit)
    serves = ranks.is_first and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    left = timedelta(seconds=max(deadline - time.monotonic(), 1.0))
    try:
        return TCPStore(host, port, ranks.world_size, serves, left, wait_for_workers=False, multi_tenant=True)
    except DistError as failure:
        if serves and "EADDRINUSE" in str(failure):
            raise _unmet(f"port {port} of this machine is taken", "stop what uses it, or give another port") from None
        where = f"rank 0 did not answer at `{host}:{port}` within {limit}"
        raise _unmet(where, "see its log, and whether this machine can reach that one") from None


def _resolve(host: str, deadline: float, limit: TimeSpan) -> None:
    """Waits until a name is known: that of a pod is a while after it has started."""
    while True:
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError as unknown:
            if time.monotonic() >= deadline:
                help = "give an address that every machine knows, such as an IP"
                raise _unmet(f"the name `{host}` was not known within {limit}: {unknown.strerror}", help) from None
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _wait_for_all(store: TCPStore, prefix: str, world_size: int, deadline: float) -> str | None:
    """Returns which ranks are absent at the deadline, or None when all have come."""
    while store.add(f"{prefix}/present", 0) < world_size:
        if time.monotonic() >= deadline:
            return _absent(lambda rank: store.check([f"{prefix}/rank-{rank}"]), world_size)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return None


def _absent(is_there: Callable[[int], bool], world_size: int) -> str:
    away = [rank for rank in range(world_size) if not is_there(rank)]
    named = ", ".join(map(str, away[:_NAMED])) + (f" and {len(away) - _NAMED} more" if len(away) > _NAMED else "")
    return f"{'rank' if len(away) == 1 else 'ranks'} {named} of {world_size}"


def _hear(store: TCPStore, key: str, deadline: float, limit: TimeSpan) -> str:
    try:
        store.wait([key], timedelta(seconds=max(deadline - time.monotonic(), 0.0) + _GRACE))
        return store.get(key).decode()
    except DistError:
        raise _unmet(f"rank 0 did not say within {limit} whether all have come", "see its log") from None


def _unmet(message: str, help: str) -> EngineError:
    return EngineError(error("ZT818", "unmet-ranks", message, help=help, key="launch"))
