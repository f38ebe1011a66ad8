"""What is true for the attempt that is running now: which call it makes, and what time it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kit.contract import Operation, Role, Token


@dataclass(frozen=True, slots=True)
class Call:
    """One of a connector's methods, at work.

    Attributes:
        operation: The operation it serves.
        role: Which of its methods: action, compensation or probe.
        token: What the method was given: key, correlation id, deadline.
        clock: The Temporal server's time, as far as it can be known here.
    """

    operation: Operation[Any, Any]
    role: Role
    token: Token
    clock: Callable[[], datetime]


current_call: Final[ContextVar[Call | None]] = ContextVar("kit_current_call", default=None)
"""The call that is running in this task, for HTTP headers and log lines; ``None`` outside a connector's methods."""


def elapsed() -> float:
    """Seconds that only go forward, by the running event loop's clock (which is `time.monotonic` but for tests)."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return time.monotonic()
    return loop.time()
