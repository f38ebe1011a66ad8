"""An external system: who owns it, how it fails, how hard it may be asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from kit.contract.failure_map import HTTP_FAILURES, FailureMap
from kit.contract.retry import DEFAULT_RETRY, Retry
from kit.errors import DefinitionError, FailureKind

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When to stop asking a dependency that does not answer.

    After ``failures`` failures in a row of kind ``timeout`` or ``unavailable`` nothing is sent for ``reset``; then
    one attempt is let through, and its success closes the circuit. Counted per worker process.
    """

    failures: int = 10
    reset: timedelta = timedelta(seconds=15)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.failures < 1 or self.reset <= timedelta(0):
            raise DefinitionError(
                "Breaker",
                rule=f"failures={self.failures!r} must be at least 1 and reset={self.reset!r} positive",
                fix="use for example Breaker(failures=10, reset=timedelta(seconds=15)), or breaker=None for none",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most ``calls`` calls in any ``per``, with bursts up to ``calls``. Counted per worker process."""

    calls: int
    per: timedelta = timedelta(seconds=1)

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.calls < 1 or self.per <= timedelta(0):
            raise DefinitionError(
                "RateLimit",
                rule=f"calls={self.calls!r} must be at least 1 and per={self.per!r} positive",
                fix="use for example RateLimit(calls=50), or limit=None for none",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """An external system.

    Attributes:
        name: Lower case; the first half of every failure's type and a metric label.
        owner: Who is asked when it fails.
        settle: How late an accepted request can still take effect or become visible to a look-up. A look-up that
            finds nothing is believed only this long after the last request may have been sent. There is no safe
            default; zero says "reads see every accepted write at once".
        failures: How its failures are read.
        retry: Retry rules by kind, where they differ from `DEFAULT_RETRY`.
        breaker: When to stop asking; ``None`` for never.
        limit: How often it may be asked; ``None`` for as often as the workers can.
        runbook: Where a person finds what to do.
    """

    name: str
    owner: str
    settle: timedelta
    failures: FailureMap = HTTP_FAILURES
    retry: Mapping[FailureKind, Retry] = field(default_factory=dict)
    breaker: Breaker | None = Breaker()
    limit: RateLimit | None = None
    runbook: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work and complete the retry rules."""
        if not _NAME.match(self.name):
            raise DefinitionError(
                f"dependency {self.name!r}",
                rule="its name must be lower case letters, digits and underscores",
                fix="use a short system name such as 'payments'",
            )
        if not self.owner.strip():
            raise DefinitionError(
                f"dependency {self.name!r}", rule=f"owner={self.owner!r} is empty", fix="name the team that is asked"
            )
        if self.settle < timedelta(0):
            raise DefinitionError(
                f"dependency {self.name!r}",
                rule=f"settle={self.settle!r} is negative",
                fix="give how late an accepted request can still take effect, or timedelta(0)",
            )
        object.__setattr__(self, "retry", MappingProxyType({**DEFAULT_RETRY, **self.retry}))
