"""Requests that take effect after their attempt has ended.

They are triggered by what happens, not by timers, so nothing needs to be awaited for them, and none outlives the time
within which its system is known to be done: a request lands right after what it waits for, or before the first request
that reaches its system at or after that time, or when the scenario ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kit.contract import Role
from kit.testing.faults import Fault, FaultKind


@dataclass(frozen=True, slots=True)
class LateRequest:
    """A request on its way.

    Attributes:
        send: Lets it take effect.
        system: Where it goes.
        key: The key of its action.
        call: The identity of its call.
        due: When it has taken effect at the latest.
        fault: What made it late.
    """

    send: Callable[[], Awaitable[Any]]
    system: str
    key: str
    call: int
    due: datetime
    fault: Fault

    def waits_for(self, *, key: str, call: int, role: Role, safe: bool) -> bool:
        """Whether that request is what it waits for."""
        if key != self.key or call == self.call:
            return False
        if self.fault.kind is FaultKind.LATE_AFTER_RETRY:
            return True
        return role is Role.COMPENSATION and not safe
