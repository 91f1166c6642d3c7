"""Entry of every rank.

`deepspeed --module zerotrain.worker RUN`, `torchrun -m zerotrain.worker RUN` and `python -m zerotrain.worker RUN` all
work; RUN is a run directory, or a spec of which a run directory is made first.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from zerotrain.engine.interruption import StopRequests


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs this rank to the end; returns its exit code."""
    requests = StopRequests().listen()
    # Imported here, so that a scheduler's signal finds someone who listens.
    from zerotrain.engine.session import Session

    parser = argparse.ArgumentParser(prog="zerotrain.worker", description="Train one rank of a run.")
    parser.add_argument("run", type=Path, help="a run directory, or a spec")
    parser.add_argument("overrides", nargs="*", help="section.field=value, laid over a spec")
    parser.add_argument("--local_rank", "--local-rank", type=int, help="set by launchers; the environment counts")
    parser.add_argument("--continue", dest="continues", action="store_true", help="go on with the run if it is there")
    parser.add_argument("--attempt", type=int, help="set by zerotrain: number of the attempt, whose end it watches")
    given = parser.parse_args(arguments)
    session = Session.of_this_process(given.attempt, requests)
    return session.run(given.run, given.overrides, continues=given.continues)


def leave(code: int) -> NoReturn:
    """Ends this process without the destructors of C++ libraries.

    Now and then they abort a rank that has done its work (`terminate called without an active exception`, twice in
    some 3,000 ranks with torch 2.13.0 and gloo): a thread of theirs still runs as its owner goes. A finished run would
    be told as a failed one. What Python has to do at the end is done.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main())
