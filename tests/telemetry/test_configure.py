"""One call brings every line of a process into one form."""

from __future__ import annotations

import io
import json
import logging
import warnings

import pytest
import structlog

from kit.telemetry import Event, configure_logging, process_log
from tests.telemetry.conftest import Written


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_kits_events_are_lines_with_fields(written: Written) -> None:
    """An event's name is the line's ``event``, and its fields are fields."""
    process_log("kit.guard").warning(Event.ATTEMPT_FAILED, operation="shop.pay", attempt=2)

    (line,) = written.lines
    assert line["event"] == "operation.attempt_failed"
    assert line["operation"] == "shop.pay"
    assert line["attempt"] == 2
    assert line["level"] == "warning"
    assert line["logger"] == "kit.guard"
    assert line["timestamp"].endswith("+00:00")


def test_structlog_and_the_standard_library_write_in_the_same_form(written: Written) -> None:
    """Whoever logs, the line has the same fields."""
    structlog.stdlib.get_logger("service").info("by structlog", order_id="1")
    logging.getLogger("service").info("by %s", "logging", extra={"order_id": "1"})

    first, second = written.lines
    assert (first.pop("event"), second.pop("event")) == ("by structlog", "by logging")
    assert {first.pop("timestamp"), second.pop("timestamp")} != {None}
    assert first == second == {"order_id": "1", "level": "info", "logger": "service"}


def test_an_exception_stays_on_its_line(written: Written) -> None:
    """A traceback is a field, so that a line is always one JSON object."""
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("service").exception("failed")

    (line,) = written.lines
    assert line["exception"].endswith("ValueError: two\nlines")


def test_what_is_no_json_is_written_as_text(written: Written) -> None:
    """A value that JSON does not know costs no line."""
    structlog.stdlib.get_logger("service").info("odd", value={1, 2}.__class__)

    assert written.lines[0]["value"] == "<class 'set'>"


def test_the_callers_context_is_on_every_line(written: Written) -> None:
    """What is bound to structlog's context, such as the correlation id, is on lines of both worlds."""
    with structlog.contextvars.bound_contextvars(correlation_id="c-1"):
        logging.getLogger("service").info("by logging")
        structlog.stdlib.get_logger("service").info("by structlog")
        process_log("kit.guard").warning(Event.UNDO_STUCK)

    assert [line["correlation_id"] for line in written.lines] == ["c-1"] * 3


def test_less_than_the_level_is_not_written(restored: None) -> None:
    """The level counts for structlog and the standard library alike."""
    stream = io.StringIO()
    configure_logging(level="warning", stream=stream)

    logging.getLogger("service").info("no")
    structlog.stdlib.get_logger("service").info("no")
    structlog.stdlib.get_logger("service").warning("yes")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_a_level_that_does_not_exist_is_refused(restored: None) -> None:
    """A misspelt level is an error, not silence."""
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging(level="loud", stream=io.StringIO())


def test_a_person_at_a_terminal_reads_lines_and_not_json(restored: None) -> None:
    """On a terminal the lines are for reading, unless JSON is asked for."""
    terminal, forced = Terminal(), Terminal()

    configure_logging(stream=terminal)
    structlog.stdlib.get_logger("service").info("hello", order_id="1")
    configure_logging(stream=forced, json=True)
    structlog.stdlib.get_logger("service").info("hello")

    assert "hello" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
    assert json.loads(forced.getvalue())["event"] == "hello"


def test_configuring_again_replaces_and_does_not_double(restored: None) -> None:
    """The second call's stream gets the lines, once, and the first one's nothing."""
    first, second = io.StringIO(), io.StringIO()

    configure_logging(stream=first)
    configure_logging(stream=second)
    logging.getLogger("service").info("once")

    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_warnings_are_lines_too(written: Written) -> None:
    """A library's warning does not break the JSON lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert "DeprecationWarning: old" in written.lines[0]["event"]


def test_without_configuration_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """A library does not print: what nobody configured goes where the standard library's records go."""
    process_log("kit.guard").info(Event.UNDO_DONE)

    assert capfd.readouterr().out == ""
