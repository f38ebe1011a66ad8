"""One table of names: what the code says is in it, and what is in it the code says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kit
from kit.telemetry import METRICS, SUMMARY_FIELDS, Event, names
from kit.workflow import RunSummary

SOURCES = [path for path in Path(kit.__file__).parent.rglob("*.py") if path.parent.name != "telemetry"]
TOLD = ("workflow", "worker", "ledger", "operate")
"""The rooms whose logs and metrics an operator reads."""
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}


def _calls(path: Path) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def _of(attribute: ast.expr, owner: str) -> str | None:
    """``X`` of an expression ``owner.X``."""
    on_owner = isinstance(attribute, ast.Attribute) and isinstance(attribute.value, ast.Name)
    return attribute.attr if on_owner and attribute.value.id == owner else None  # type: ignore[attr-defined] # seen above


def _logged() -> Iterator[tuple[str, str | None]]:
    """Where each log line of the kit's rooms for workflows and workers is written, and its event."""
    for path in SOURCES:
        if path.parent.name not in TOLD:
            continue
        for call in _calls(path):
            target = call.func
            if isinstance(target, ast.Attribute) and target.attr in LOG_METHODS:
                logger = ast.unparse(target.value)
                if logger.endswith("log"):
                    yield f"{path.name}:{call.lineno}", _of(call.args[0], "Event") if call.args else None


def _counted() -> Iterator[tuple[str, str | None]]:
    """Where each metric is counted or measured, and its constant in the table."""
    for path in SOURCES:
        if path.parent.name not in TOLD:
            continue
        for call in _calls(path):
            counts = isinstance(call.func, ast.Name) and call.func.id in ("count", "measure")
            if counts and len(call.args) > 1:
                yield f"{path.name}:{call.lineno}", _of(call.args[1], "names")


def test_every_line_that_is_logged_has_its_event_from_the_table() -> None:
    """The kit logs names of the table only, never a text made up on the spot."""
    logged = dict(_logged())

    assert len(logged) >= 10
    assert [place for place, event in logged.items() if event not in Event.__members__] == []


def test_every_event_of_the_table_is_logged_somewhere() -> None:
    """The table promises no event that nothing writes."""
    logged = {event for _, event in _logged()}

    assert set(Event.__members__) - logged == set()


def test_every_metric_that_is_counted_is_of_the_table() -> None:
    """The kit counts metrics of the table only."""
    counted = dict(_counted())

    assert len(counted) >= 10
    assert [place for place, constant in counted.items() if constant is None or not hasattr(names, constant)] == []


def test_every_metric_of_the_table_is_counted_somewhere() -> None:
    """The table promises no metric that nothing counts."""
    counted = {getattr(names, constant).name for _, constant in _counted() if constant}

    assert set(METRICS) - counted == set()


def test_every_metric_that_is_defined_is_in_the_table() -> None:
    """A metric cannot be defined beside the table."""
    defined = {value.name for value in vars(names).values() if isinstance(value, names.Metric)}

    assert defined == set(METRICS)


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_names_leave_units_to_the_exporter(metric: names.Metric) -> None:
    """No name has a dot, a unit or a ``_total``: the exporter would drop it or say it twice."""
    assert metric.name.startswith("kit_")
    assert metric.name.replace("_", "").isalnum()
    assert not metric.name.endswith(("_total", "_ms", "_seconds", "_milliseconds"))


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_labels_are_bounded(metric: names.Metric) -> None:
    """No label is an id, a key or a message."""
    assert [label for label in metric.labels if label.endswith("id") or label in ("key", "error", "message")] == []


def test_the_summary_event_carries_what_the_run_summary_has() -> None:
    """Each field of the summary event is a field of the run's summary."""
    assert set(SUMMARY_FIELDS) - set(RunSummary.model_fields) == set()
