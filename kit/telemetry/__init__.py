"""Logs, metrics and traces: what they are called and how they are written."""

from kit.telemetry.configure import configure_logging, run_correlation_id
from kit.telemetry.logs import activity_log, process_log, workflow_log
from kit.telemetry.meters import count, measure, prometheus
from kit.telemetry.names import CORRELATION_ID, CORRELATION_MEMO, METRICS, SUMMARY_FIELDS, Event, Metric

__all__ = [
    "CORRELATION_ID",
    "CORRELATION_MEMO",
    "METRICS",
    "SUMMARY_FIELDS",
    "Event",
    "Metric",
    "activity_log",
    "configure_logging",
    "count",
    "measure",
    "process_log",
    "prometheus",
    "run_correlation_id",
    "workflow_log",
]
