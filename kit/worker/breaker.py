"""A circuit breaker: stop asking a dependency that does not answer, and notice when it is back.

State machine (Nygard, "Release It!"): closed → open after *n* failures in a row → half-open after ``reset``, when one
attempt is let through → closed on its success, open again on its failure. Only failures that say "it is down"
(``timeout``, ``unavailable``) count; a refusal is an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from kit.contract import Breaker
from kit.errors import FailureKind, NotStarted

DOWN: Final = frozenset({FailureKind.TIMEOUT, FailureKind.UNAVAILABLE})
"""The kinds of failure that count against a dependency."""


class CircuitBreaker:
    """One dependency's breaker in one worker process."""

    def __init__(self, name: str, settings: Breaker, *, clock: Callable[[], float]) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._trial = False

    @property
    def is_open(self) -> bool:
        """Whether nothing, or one trial at most, is let through."""
        return self._opened_at is not None

    def enter(self) -> None:
        """Ask to be let through.

        Raises:
            NotStarted: The circuit is open (kind ``circuit_open``); ``retry_after`` says when it will be tried.
        """
        if self._opened_at is None:
            return
        waited = self._clock() - self._opened_at
        reset = self._settings.reset.total_seconds()
        if waited >= reset and not self._trial:
            self._trial = True
            return
        raise NotStarted(
            FailureKind.CIRCUIT_OPEN,
            f"the circuit of {self._name} is open after {self._failures} failures in a row",
            retry_after=timedelta(seconds=max(reset - waited, 0.1)),
        )

    def succeeded(self) -> bool:
        """An answer came, friendly or not. Returns whether this closed the circuit."""
        closed = self._opened_at is not None
        self._failures = 0
        self._opened_at = None
        self._trial = False
        return closed

    def failed(self) -> bool:
        """The dependency seems down. Returns whether this opened the circuit."""
        self._failures += 1
        self._trial = False
        if self._opened_at is None and self._failures < self._settings.failures:
            return False
        opened = self._opened_at is None
        self._opened_at = self._clock()
        return opened

    def abandoned(self) -> None:
        """The attempt that was let through ended without telling anything (it was cancelled)."""
        self._trial = False
