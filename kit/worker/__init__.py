"""The worker's side: connectors, the guard around every attempt, and the plugin that brings them to Temporal."""

from kit.worker.attempt import Attempt
from kit.worker.connector import Connector
from kit.worker.context import Call, current_call
from kit.worker.guard import Guard
from kit.worker.http import CORRELATION_HEADER, http_client
from kit.worker.plugin import ReliabilityPlugin

__all__ = [
    "CORRELATION_HEADER",
    "Attempt",
    "Call",
    "Connector",
    "Guard",
    "ReliabilityPlugin",
    "current_call",
    "http_client",
]
