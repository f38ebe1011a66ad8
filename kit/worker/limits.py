"""A rate limit: at most so many calls per time, as a virtual schedule (GCRA, ITU-T I.371)."""

from __future__ import annotations

from collections.abc import Callable

from kit.contract import RateLimit


class RateLimiter:
    """One dependency's rate limit in one worker process.

    Callers are admitted in order: each reserves the next free slot of a schedule and waits for it.
    """

    def __init__(self, settings: RateLimit, *, clock: Callable[[], float]) -> None:
        self._interval = settings.per.total_seconds() / settings.calls
        self._burst = settings.per.total_seconds() - self._interval
        self._clock = clock
        self._next = clock()  # the theoretical arrival time of the next call

    def reserve(self, *, patience: float) -> float | None:
        """Reserve a slot.

        Args:
            patience: The longest acceptable wait, in seconds.

        Returns:
            How many seconds to wait before calling; ``None`` when it would be longer than ``patience``, and then
            nothing is reserved.
        """
        now = self._clock()
        arrival = max(self._next, now)
        wait = max(arrival - self._burst - now, 0.0)
        if wait > patience:
            return None
        self._next = arrival + self._interval
        return wait

    @property
    def wait(self) -> float:
        """How many seconds a call would have to wait now."""
        now = self._clock()
        return max(max(self._next, now) - self._burst - now, 0.0)
