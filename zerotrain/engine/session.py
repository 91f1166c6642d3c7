"""The life of one rank's process: meet the others, open the run, train, and say what went wrong."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten
from typing import NoReturn, TextIO

from zerotrain.diagnostic import Diagnostic, error
from zerotrain.engine.interruption import StoppedEarly, StopRequests
from zerotrain.engine.ranks import Ranks, read_ranks
from zerotrain.errors import ZerotrainError
from zerotrain.monitor.console import Console, keep_terminal
from zerotrain.runs.attempts import (
    STOPPED,
    Attempt,
    Failure,
    end_attempt,
    has_failed,
    is_first_to_fail,
    read_attempt,
    write_attempt,
    write_failure,
)
from zerotrain.runs.layout import RunDirectory


@dataclass
class Session:
    """One rank's process."""

    ranks: Ranks
    attempt: int | None
    """Number of the attempt; None until it is known."""
    console: Console
    complaints: TextIO
    """Where a failure is told when nobody supervises."""
    is_supervised: bool
    requests: StopRequests
    opened: RunDirectory | None = field(default=None)

    @classmethod
    def of_this_process(cls, attempt: int | None, requests: StopRequests) -> Session:
        """Returns the session of this process; with the number of an attempt, whoever gave it tells of a failure."""
        ranks = read_ranks()
        complaints = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace")
        return cls(ranks, attempt, keep_terminal(ranks.rank), complaints, attempt is not None, requests)

    def run(self, target: Path, overrides: Sequence[str], *, continues: bool = False) -> int:
        """Trains a run directory, or a spec; returns the exit code of the process.

        A spec whose run directory is there already is refused, unless it `continues`, or torchrun has started the
        ranks again.
        """
        continues = continues or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        try:
            return 0 if self._train(target, overrides, continues) else STOPPED
        except StoppedEarly as stopped:
            self._note_stop(f"received {stopped}")
            return STOPPED
        except ZerotrainError as refused:
            self._fail(Failure(self.ranks.rank, time.time(), str(refused), list(refused.findings), ""))
            return 1
        except Exception as failure:
            self._fail(self._failure(failure))
            return 1

    def _train(self, target: Path, overrides: Sequence[str], continues: bool) -> bool:
        if target.is_dir():
            self.opened = RunDirectory(target)
        self.requests.leave_early()
        # Imported here, so that nothing heavy is loaded before this process knows where its output goes.
        from zerotrain.engine.meet import Meeting
        from zerotrain.engine.run import run_attempt

        meeting = Meeting(self.ranks, self.console)
        if self.opened is not None:
            run = meeting.open_run(self.opened, self.attempt)
        else:
            run = meeting.make_run(target, overrides, continues=continues)
        self.opened, self.attempt = run.directory, run.attempt
        return run_attempt(run, self.ranks, self.console, self.requests, self._end)

    def _end(self, finding: Diagnostic) -> NoReturn:
        """Ends this process at once, from any thread, and tells why."""
        reason = f"{finding.code} {finding.name}: {finding.message}"
        self._fail(Failure(self.ranks.rank, time.time(), reason, [finding], ""))
        os._exit(1)

    def _note_stop(self, reason: str) -> None:
        if self.opened is None or self.attempt is None or has_failed(self.opened, self.attempt):
            return
        begun = Attempt(self.attempt, time.time(), self.ranks.world_size)
        attempt = read_attempt(self.opened, self.attempt) or begun
        write_attempt(self.opened, replace(attempt, outcome="stopped", ended=time.time(), reason=reason))

    def _failure(self, failure: Exception) -> Failure:
        from zerotrain.engine.memory import out_of_memory

        finding = out_of_memory(failure, self.ranks.rank)
        reason = " ".join(f"{type(failure).__name__}: {failure}".split())
        findings = [] if finding is None else [finding]
        return Failure(self.ranks.rank, time.time(), shorten(reason, 400), findings, traceback.format_exc())

    def _fail(self, failure: Failure) -> None:
        print(failure.traceback or failure.reason, file=sys.stderr, flush=True)
        is_first = self.ranks.local_rank == 0
        if self.opened is not None and self.attempt is not None:
            is_first = self._record(self.opened, self.attempt, failure)
        if is_first and not self.is_supervised:
            self._complain(failure)

    def _record(self, run: RunDirectory, attempt: int, failure: Failure) -> bool:
        """Writes the failure down; tells whether this rank is the first to fail."""
        try:
            write_failure(run, attempt, failure)
            if not is_first_to_fail(run, attempt):
                return False
        except OSError:
            return True
        end_attempt(run, attempt, "failed", reason=f"rank {failure.rank}: {failure.reason}")
        return True

    def _complain(self, failure: Failure) -> None:
        for finding in failure.findings or [self._unknown(failure)]:
            help = f"\n  help: {finding.help}" if finding.help else ""
            self.complaints.write(f"error[{finding.code}] {finding.name}\n  = {finding.message}{help}\n")
        self.complaints.flush()

    def _unknown(self, failure: Failure) -> Diagnostic:
        log = self.opened.rank_log(self.attempt, self.ranks.rank) if self.opened and self.attempt else None
        help = f"read `{log}`" if log else failure.traceback
        return error("ZT805", "failed-worker", f"rank {failure.rank} failed: {failure.reason}", help=help)
