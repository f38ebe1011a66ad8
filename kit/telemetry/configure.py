"""How a process writes its logs: one form for the kit, structlog, the standard library and Temporal's SDK."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor
from temporalio import activity, workflow

from kit.telemetry.names import CORRELATION_ID, CORRELATION_MEMO

_IDENTITY: Final = ("temporal_workflow", "temporal_activity")
"""Where Temporal's loggers put the identity of a run or an attempt: a mapping in the record's ``extra``."""

_RUN_ATTEMPT: Final = ("temporal_workflow", "attempt")
"""Counts runs of a retried workflow. Left out: ``attempt`` is an operation's, everywhere else in the logs."""

_INTERNAL: Final = ("__temporal_error_identifier", "workflow_info", "activity_info")
"""Keys of ``extra`` that are for the SDK's own handlers."""

_FORMATTED: Final = ("message", "asctime")
"""What another handler's formatter leaves on a record that passes by it first."""

_CHATTY: Final = ("httpx", "httpcore")
"""Loggers that write a line per request, which says nothing that the guard does not say."""


class _Handler(logging.StreamHandler[TextIO]):
    """The one handler that `configure_logging` installs, known again by its class."""


def configure_logging(
    *, json: bool | None = None, level: int | str = logging.INFO, stream: TextIO | None = None
) -> None:
    """Write every log line of this process in one form: the entry point of a worker calls it once.

    What the kit, structlog, the standard library and Temporal's SDK log comes out with its fields, among them the
    identity of the run (``workflow_id``, ``run_id``, ``workflow_type``) and, on each line that belongs to a run or an
    attempt, its ``correlation_id``. Calling it again replaces what it set up before; other handlers stay.

    Args:
        json: One JSON object per line, or lines for a person. By default JSON where ``stream`` is no terminal.
        level: The least level that is written.
        stream: Where to; standard error by default, so that standard output stays the program's own.

    Raises:
        ValueError: There is no such level.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    as_json = not terminal if json is None else json
    handler = _Handler(stream)
    handler.setFormatter(_formatter(as_json=as_json, colors=terminal))
    root = logging.getLogger()
    root.setLevel(level.upper() if isinstance(level, str) else level)
    for old in [known for known in root.handlers if isinstance(known, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    # The identity is in the fields; appended to the message it would make the event's name unreadable.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a logger made before a second call would keep the first one's settings
    )


def _formatter(*, as_json: bool, colors: bool) -> structlog.stdlib.ProcessorFormatter:
    """The formatter of every record, whoever made it."""
    last: list[Processor]
    if as_json:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    else:
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _unformat,
            structlog.contextvars.merge_contextvars,
        ],
        processors=[
            _stamp,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _identify,
            _correlate,
            *last,
        ],
    )


def _unformat(logger: Any, method: str, event: EventDict) -> EventDict:
    """Drop what is no field of whoever logged."""
    for name in _FORMATTED:
        event.pop(name, None)
    return event


def _stamp(logger: Any, method: str, event: EventDict) -> EventDict:
    """When the line was written, on this machine's clock (a workflow's own clock may stand still)."""
    event["timestamp"] = datetime.fromtimestamp(event["_record"].created, UTC).isoformat()
    return event


def _identify(logger: Any, method: str, event: EventDict) -> EventDict:
    """Temporal's identity of a run or attempt, as plain fields; a field that is there already wins."""
    for name in _IDENTITY:
        identity = event.pop(name, None)
        if isinstance(identity, Mapping):
            for field, value in identity.items():
                if (name, field) != _RUN_ATTEMPT:
                    event.setdefault("run_id" if field == "workflow_run_id" else field, value)
    for name in _INTERNAL:
        event.pop(name, None)
    return event


def _correlate(logger: Any, method: str, event: EventDict) -> EventDict:
    """The correlation id of a run on each line that its code writes, also through a logger of its own."""
    if CORRELATION_ID not in event and workflow.in_workflow():
        event[CORRELATION_ID] = run_correlation_id()
    return event


def run_correlation_id() -> str:
    """The correlation id of the run whose code is running: the caller's where a start carried one, else its id."""
    return str(workflow.memo_value(CORRELATION_MEMO, workflow.info().workflow_id, type_hint=str))
