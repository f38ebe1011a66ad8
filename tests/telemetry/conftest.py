"""Logs as a process writes them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from temporalio import activity, workflow

from kit.telemetry import configure_logging


@dataclass
class Written:
    """What a process has written so far."""

    stream: io.StringIO = field(default_factory=io.StringIO)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every line, read as JSON."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def of_runs(self) -> list[dict[str, Any]]:
        """The lines that belong to a run or an attempt; the rest is the worker's, about itself."""
        return [line for line in self.lines if line["logger"] != "temporalio.worker._worker"]

    def named(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.lines if line["event"] == event]


@pytest.fixture
def restored() -> Iterator[None]:
    """Puts logging back as it was: it belongs to the whole process."""
    root = logging.getLogger()
    handlers, level, on_workflow, on_activity = (
        root.handlers[:],
        root.level,
        workflow.logger.workflow_info_on_message,
        activity.logger.activity_info_on_message,
    )
    chatty = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in chatty.items():
        logging.getLogger(name).setLevel(before)
    workflow.logger.workflow_info_on_message = on_workflow
    activity.logger.activity_info_on_message = on_activity
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def written(restored: None) -> Written:
    """The log of this process, as JSON lines."""
    written = Written()
    configure_logging(stream=written.stream)
    return written
