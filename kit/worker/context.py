"""What is true for the attempt that is running now."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from kit.contract import Token

current_token: Final[ContextVar[Token | None]] = ContextVar("kit_current_token", default=None)
"""The token of the attempt that is running in this task, for HTTP headers and log lines."""
