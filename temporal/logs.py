"""The SDK's runtime: its own logs among the others, and metrics where Prometheus fetches them."""

from __future__ import annotations

import logging

from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig

from kit.telemetry import prometheus


def runtime(*, metrics_address: str | None) -> Runtime:
    """The runtime of a worker's client.

    Args:
        metrics_address: Where metrics are served, as ``host:port``; ``None`` for no metrics.
    """
    metrics = None if metrics_address is None else prometheus(metrics_address)
    logs = LoggingConfig(filter="temporalio=warn,error", forwarding=LogForwardingConfig(logging.getLogger("temporal")))
    return Runtime(telemetry=TelemetryConfig(logging=logs, metrics=metrics))
