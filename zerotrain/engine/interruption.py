"""Requests to stop: a scheduler or a user asks, and training ends after the step that is under way."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

_REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""What launchers, schedulers and terminals send to let a process end in good order."""


class StopRequests:
    """Notes, while training goes on, that this rank is asked to stop.

    Once asked, a rank is deaf to further requests: launchers repeat them, and the checkpoint must be finished. Only a
    second Ctrl-C in its own terminal ends it at once.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        """Name of the signal; None while nobody asks."""

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

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received == "SIGINT":
            raise KeyboardInterrupt
        self.received = self.received or signal.Signals(number).name
