"""Proof: checks of connectors, a real server that skips time, and providers that fail on command (`.sandbox`)."""

from kit.testing.conformance import check_connector
from kit.testing.promises import ConformanceError, ConformanceReport, Fault, Oracle, Promise
from kit.testing.server import start_time_skipping, temporal_binary

__all__ = [
    "ConformanceError",
    "ConformanceReport",
    "Fault",
    "Oracle",
    "Promise",
    "check_connector",
    "start_time_skipping",
    "temporal_binary",
]
