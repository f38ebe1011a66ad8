"""When to try again, by kind of failure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from kit.errors import DefinitionError, FailureKind

UNLIMITED: Final = None
"""Written where a number of attempts has no cap."""

HELD_PAUSE: Final = timedelta(seconds=2.5)
"""After which a step that is held asks again: soon, so that it goes on within seconds of the hold's end, and always the
same, so that the number of attempts tells how long it was held."""

_MAX_EXPONENT: Final = 32
"""Doubling stops here; every real cap is reached long before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often, and how far apart, attempts that fail with one kind may be made.

    The wait before attempt *n* + 1 is drawn from ``[0, min(cap, base * 2 ** (n - 1))]``: "full jitter"
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A ``Retry-After`` of the other
    side is a lower bound on top of it.

    Attributes:
        attempts: How many failures of this kind an operation may have before it is permanent; 1 means terminal,
            `UNLIMITED` leaves the saga's deadline as the only bound.
        base: Upper bound of the first wait.
        cap: Upper bound of every wait.
    """

    attempts: int | None
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.attempts is not None and self.attempts < 1:
            raise DefinitionError(
                "Retry", rule=f"attempts={self.attempts!r} must be at least 1", fix="use 1 for a terminal failure"
            )
        if self.base <= timedelta(0) or self.cap < self.base:
            raise DefinitionError(
                "Retry",
                rule=f"base={self.base!r} and cap={self.cap!r} must satisfy 0 < base <= cap",
                fix="give a positive base and a cap that is not below it",
            )

    def exhausted(self, failures: int) -> bool:
        """Whether ``failures`` failures of this kind leave no attempt."""
        return self.attempts is not None and failures >= self.attempts

    def ceiling(self, failures: int) -> timedelta:
        """The longest wait after the ``failures``-th failure of this kind."""
        return min(self.cap, self.base * math.pow(2, min(failures - 1, _MAX_EXPONENT)))


TRANSIENT: Final = frozenset(
    {
        FailureKind.TIMEOUT,
        FailureKind.UNAVAILABLE,
        FailureKind.RATE_LIMITED,
        FailureKind.CIRCUIT_OPEN,
        FailureKind.HELD,
    }
)
"""Kinds that pass by themselves. Where a saga may only go forward or only back, they are retried without end."""

_TERMINAL = Retry(attempts=1)

DEFAULT_RETRY: Final[Mapping[FailureKind, Retry]] = MappingProxyType(
    {
        FailureKind.TIMEOUT: Retry(attempts=5),
        FailureKind.UNAVAILABLE: Retry(attempts=10),
        FailureKind.RATE_LIMITED: Retry(attempts=10),
        FailureKind.CONFLICT: Retry(attempts=5, base=timedelta(milliseconds=500), cap=timedelta(seconds=10)),
        FailureKind.INVALID: _TERMINAL,
        FailureKind.DECLINED: _TERMINAL,
        FailureKind.UNAUTHENTICATED: _TERMINAL,
        FailureKind.FORBIDDEN: _TERMINAL,
        FailureKind.NOT_FOUND: _TERMINAL,
        # Nothing was tried, so nothing is counted: the deadline is the bound.
        FailureKind.CIRCUIT_OPEN: Retry(attempts=UNLIMITED),
        FailureKind.HELD: Retry(attempts=UNLIMITED, base=HELD_PAUSE, cap=HELD_PAUSE),
        FailureKind.KEY_REUSED: _TERMINAL,
        FailureKind.BUG: Retry(attempts=3, cap=timedelta(seconds=10)),
    }
)
"""The retry rules of a dependency that declares none."""
