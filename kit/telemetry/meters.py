"""Counting and measuring through a Temporal metric meter, and the exporter's settings that the names are made for."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio.common import MetricCounter, MetricHistogramTimedelta, MetricMeter
from temporalio.runtime import PrometheusConfig

from kit.telemetry.names import DURATION, DURATION_BUCKETS, METRICS, Metric

_LABEL_NONE: Final = "none"
"""The value of a label that does not apply."""


def count(meter: MetricMeter, metric: Metric, *, by: int = 1, **labels: str | None) -> None:
    """Add to a counter. Replay-safe when the meter is a workflow's.

    Raises:
        ValueError: The labels are not the metric's labels.
    """
    _check(metric, labels)
    counter: MetricCounter = meter.create_counter(metric.name, metric.description, metric.unit)
    counter.add(by, {name: value or _LABEL_NONE for name, value in labels.items()})


def measure(meter: MetricMeter, metric: Metric, milliseconds: int, **labels: str | None) -> None:
    """Record a duration in a histogram. Replay-safe when the meter is a workflow's.

    Raises:
        ValueError: The labels are not the metric's labels.
    """
    _check(metric, labels)
    histogram: MetricHistogramTimedelta = meter.create_histogram_timedelta(metric.name, metric.description, metric.unit)
    value = timedelta(milliseconds=milliseconds)
    histogram.record(value, {name: label or _LABEL_NONE for name, label in labels.items()})


def prometheus(bind_address: str) -> PrometheusConfig:
    """Settings of a Prometheus endpoint, for the runtime of a worker's client.

    ::

        runtime = Runtime(telemetry=TelemetryConfig(metrics=prometheus("127.0.0.1:9464")))
        client = await Client.connect(address, runtime=runtime, plugins=[...])

    Names come out as Prometheus wants them (https://prometheus.io/docs/practices/naming/): counters end in ``_total``,
    durations are in seconds and end in ``_seconds``. Buckets of the kit's durations reach a week.

    Args:
        bind_address: Where it listens, as ``"host:port"``.
    """
    durations = [metric.name for metric in METRICS.values() if metric.unit == DURATION]
    return PrometheusConfig(
        bind_address=bind_address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=dict.fromkeys(durations, DURATION_BUCKETS),
    )


def _check(metric: Metric, labels: dict[str, str | None]) -> None:
    if set(labels) != set(metric.labels):
        raise ValueError(f"{metric.name} has the labels {sorted(metric.labels)}, not {sorted(labels)}")
