"""Shorter attempts, for whoever has to wait for one to time out.

When a worker dies in the middle of an attempt, nobody says so: Temporal learns it when the attempt's start-to-close
timeout is over. The contracts give attempts 10 to 20 seconds, as a payment provider deserves. A demonstration, or a
test on a real server, waits that long for real; with this interceptor on the worker it waits less. Nothing else
changes: leases and cut-offs follow the attempt's own timeout, and that is what is shortened.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.worker import (
    Interceptor,
    StartActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle


class ShorterAttempts(Interceptor):
    """Caps the start-to-close timeout of every activity that a worker's workflows schedule.

    Args:
        cap: The longest an attempt may take.
    """

    def __init__(self, cap: timedelta) -> None:
        self._cap = cap

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        """See base class."""
        cap = self._cap

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(_Outbound(outbound, cap))

        return Inbound


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, cap: timedelta) -> None:
        super().__init__(next)
        self._cap = cap

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        given = input.start_to_close_timeout
        input.start_to_close_timeout = self._cap if given is None else min(given, self._cap)
        return super().start_activity(input)
