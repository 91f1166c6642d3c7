"""Requests to stop: a scheduler or a user asks, and training ends after the step that is under way.

Nothing heavy is imported here: a rank listens before it loads anything.
"""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

_REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""What launchers, schedulers and terminals send to let a process end in good order."""

_FROM_SCHEDULERS = (signal.SIGUSR1, signal.SIGUSR2)
"""Those of them that no launcher sends to ranks that have lost another one."""


class StoppedEarly(BaseException):
    """Raised in a rank that is asked to stop while there is nothing to save.

    No `except Exception` of a library takes it.
    """


class StopRequests:
    """Notes, while training goes on, that this rank is asked to stop.

    Once asked, a rank is deaf to further requests: launchers repeat them, and the checkpoint must be finished. Only a
    second Ctrl-C in its own terminal ends it at once.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        """Name of the signal; None while nobody asks."""
        self._may_leave = False

    def listen(self) -> StopRequests:
        """Notes a scheduler's signals from here on: without a handler a rank dies of one, and is told as killed."""
        for number in _FROM_SCHEDULERS:
            signal.signal(number, self._leave)
        return self

    def leave_early(self) -> None:
        """Raises StoppedEarly when such a signal has come, and as soon as one comes, until training begins."""
        self._may_leave = True
        if self.received is not None:
            raise StoppedEarly(self.received)

    @property
    def reason(self) -> str:
        """Why training stops, once any rank is asked to."""
        return f"received {self.received}" if self.received else "another rank was asked to stop"

    def __enter__(self) -> StopRequests:
        self._before = {number: signal.signal(number, self._note) for number in _REQUESTS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.received else handler)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number).name
            if self._may_leave:
                raise StoppedEarly(self.received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == "SIGINT":
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number).name
