"""What stands between a claim and a call: the dependency's rate limit and circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from kit.contract import Dependency
from kit.errors import FailureKind, NotStarted, OperationFailure, Outcome
from kit.worker.breaker import DOWN, CircuitBreaker
from kit.worker.context import elapsed
from kit.worker.limits import RateLimiter


class Gate:
    """One dependency's gate in one worker process."""

    def __init__(self, dependency: Dependency, *, clock: Callable[[], float] = elapsed) -> None:
        self.dependency = dependency
        self.breaker = (
            None if dependency.breaker is None else CircuitBreaker(dependency.name, dependency.breaker, clock=clock)
        )
        self.limiter = None if dependency.limit is None else RateLimiter(dependency.limit, clock=clock)

    async def enter(self, *, patience: timedelta) -> None:
        """Wait for a place, then ask the breaker.

        Args:
            patience: The longest acceptable wait for the rate limit.

        Raises:
            NotStarted: No place in time (kind ``rate_limited``), or the circuit is open (``circuit_open``).
        """
        if self.limiter is not None:
            wait = self.limiter.reserve(patience=patience.total_seconds())
            if wait is None:
                raise NotStarted(
                    FailureKind.RATE_LIMITED,
                    f"the local rate limit of {self.dependency.name} leaves no place in time",
                    reason="local_limit",
                    retry_after=timedelta(seconds=self.limiter.wait),
                )
            if wait > 0:
                await asyncio.sleep(wait)
        if self.breaker is not None:
            self.breaker.enter()

    def answered(self) -> bool:
        """The dependency answered. Returns whether this closed the circuit."""
        return self.breaker is not None and self.breaker.succeeded()

    def failed(self, failure: OperationFailure) -> bool:
        """A call that was let in failed. Returns whether this opened the circuit."""
        if self.breaker is None:
            return False
        if failure.kind in DOWN:
            return self.breaker.failed()
        if failure.outcome is Outcome.REFUSED or failure.kind is FailureKind.RATE_LIMITED:
            self.breaker.succeeded()  # a refusal is an answer
        else:
            self.breaker.abandoned()  # a bug, or nothing sent: says nothing about the dependency
        return False

    def abandoned(self) -> None:
        """A call was cut off from this side."""
        if self.breaker is not None:
            self.breaker.abandoned()
