"""Loggers that speak through the standard library, and in workflows are silent on replay.

``structlog.get_logger()`` in a workflow would print again on every replay: wrap Temporal's own logger instead. What is
logged here is a name from `kit.telemetry.names.Event` with its fields in the record's ``extra``, whatever structlog is
configured to do: a library must not print. `kit.telemetry.configure_logging` makes the fields visible.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog
from temporalio import activity, workflow


def _drop_when_silent(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # Temporal's adapter answers "not enabled" while replaying; structlog's own filter cannot ask an adapter.
    level = logging.ERROR if method == "exception" else logging.getLevelNamesMapping().get(method.upper(), logging.INFO)
    if not logger.isEnabledFor(level):
        raise structlog.DropEvent
    return event


def _wrap(logger: Any) -> structlog.stdlib.BoundLogger:
    wrapped: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logger,
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            _drop_when_silent,
            structlog.stdlib.render_to_log_kwargs,
        ],
    )
    return wrapped


def workflow_log() -> structlog.stdlib.BoundLogger:
    """The logger of workflow code: silent on replay, with the workflow's identity in ``extra``."""
    return _wrap(workflow.logger)


def activity_log() -> structlog.stdlib.BoundLogger:
    """The logger of activity code, with the activity's identity in ``extra``."""
    return _wrap(activity.logger)


def process_log(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of code that belongs to a worker's process, such as the guard.

    Args:
        name: Of the standard library's logger underneath, such as ``"kit.guard"``.
    """
    return _wrap(logging.getLogger(name))
