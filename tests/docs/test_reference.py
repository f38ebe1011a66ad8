"""The tables of the reference say what the code does."""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import kit
from kit import errors
from kit.contract import DEFAULT_RETRY, HTTP_FAILURES, TRANSIENT, FailureKind
from kit.telemetry import METRICS, SUMMARY_FIELDS, Event, Metric
from kit.telemetry.names import DURATION
from kit.worker.work import Work
from kit.workflow import COMPENSATED, DEADLINE, EXPIRED, INVALID, REJECTED, RESIDUE, RUN_TIMEOUT
from kit.workflow.unwound import UNWIND_REFUSED
from tests.docs.pages import ROOT, plain, rows, section
from tests.docs.rules import VALUE, rules, table

ERRORS = ROOT / "docs/reference/errors.md"
TELEMETRY = ROOT / "docs/reference/telemetry.md"
KIT = Path(kit.__file__).parent
ROOMS = {
    "Of contracts": "contract",
    "Of sagas": "workflow",
    "Of connectors, workers and starts": "worker",
    "Of ledgers": "ledger",
    "Of callers and operators": "operate",
    "Of checks": "testing",
    "Of the kit command": "cli",
}


def _first(page: Path, heading: str) -> list[str]:
    return [plain(row[0]) for row in rows(page, heading)]


def _listed(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


# -- errors ------------------------------------------------------------------------------------------------------------


def test_every_error_of_the_tree_is_listed() -> None:
    """The table of errors is the tree of `kit.errors`, in its order."""
    tree = [
        name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, errors.KitError)
    ]

    assert _first(ERRORS, "The tree") == tree


def test_every_failure_kind_has_its_retry_rule() -> None:
    """The table of kinds holds the defaults that are in force."""
    expected = [
        [
            kind.value,
            str(rule.attempts or "unlimited"),
            f"{rule.base.total_seconds():g}",
            f"{rule.cap.total_seconds():g}",
            "yes" if kind in TRANSIENT else "no",
        ]
        for kind, rule in ((kind, DEFAULT_RETRY[kind]) for kind in FailureKind)
    ]

    assert [[plain(row[0]), *row[2:]] for row in rows(ERRORS, "Failure kinds")] == expected


def test_every_http_status_is_read_as_the_table_says() -> None:
    """The table of statuses is `HTTP_FAILURES`."""
    expected = [[str(status), *verdict] for status, verdict in _verdicts(HTTP_FAILURES.statuses)]
    expected += [[f"{digit}xx", *verdict] for digit, verdict in _verdicts(HTTP_FAILURES.ranges)]

    assert [[plain(cell) for cell in row] for row in rows(ERRORS, "HTTP statuses")] == expected


def _verdicts(verdicts: Any) -> list[tuple[int, tuple[str, str]]]:
    return [(number, (verdict.kind.value, verdict.outcome.value)) for number, verdict in verdicts.items()]


def test_every_type_of_application_error_is_listed() -> None:
    """The types that close runs are the constants of `kit.workflow`, and no other."""
    constants = {COMPENSATED, DEADLINE, EXPIRED, INVALID, REJECTED, RESIDUE, RUN_TIMEOUT, UNWIND_REFUSED}

    assert set(_first(ERRORS, "What Temporal shows")) == constants | {"<dependency>.<kind>", "ValidationError"}


def test_every_reason_code_is_listed() -> None:
    """The table of reason codes has each one that the code gives, as a constant or on the spot."""
    given: set[str] = set()
    for path in KIT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(reason))):
                    given.update({reason} if name.startswith("REASON_") else ())
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(reason))):
                    given.update({reason} if name.startswith("REASON_") else ())
                case ast.Call() if path.parent.name == "worker" and _called(node) not in ("ReleaseUndo", "Decide"):
                    values = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
                    given.update(str(value.value) for value in values if isinstance(value, ast.Constant))

    assert _first(ERRORS, "Reason codes") == sorted(given)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


@pytest.mark.parametrize("heading", ROOMS)
def test_every_rule_is_listed_with_its_fix(heading: str) -> None:
    """Each refusal of a room stands in its table, word for word. `python -m tests.docs.rules` prints the tables."""
    room = ROOMS[heading]
    expected = {(rule.rule, rule.fix) for rule in rules() if rule.room == room and rule.rule != VALUE}

    assert {(plain(row[0]), plain(row[1])) for row in rows(ERRORS, heading)} == {
        (plain(rule), plain(fix)) for rule, fix in expected
    }
    assert table(room) in section(ERRORS, heading)


def test_no_room_with_rules_is_forgotten() -> None:
    """Every room that refuses something has a table."""
    assert {rule.room for rule in rules()} == set(ROOMS.values())


# -- telemetry ---------------------------------------------------------------------------------------------------------


def _logged() -> dict[str, tuple[set[str], set[str]]]:
    """Levels and fields of each event, as the code logs it."""
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for path in KIT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute)):
                continue
            name = ast.unparse(node.args[0])
            if name.startswith("Event."):
                levels, fields = found[Event[name.removeprefix("Event.")].value]
                levels.add(node.func.attr)
                fields.update(keyword.arg for keyword in node.keywords if keyword.arg)
    return found


def test_every_event_is_listed_with_its_levels_and_fields() -> None:
    """The table of events is what the code logs."""
    documented = {plain(row[0]): (set(row[1].split(", ")), _listed(row[2])) for row in rows(TELEMETRY, "Events")}

    assert list(documented) == [event.value for event in Event]
    assert documented == _logged()


def test_the_fields_of_every_attempt_are_listed() -> None:
    """What every event of an attempt carries is named."""
    facts = ast.parse(inspect.getsource(Work.facts.fget).lstrip().replace("@property\n    ", "", 1)).body[0]  # type: ignore[attr-defined] # a property
    keys = [
        key.value
        for node in ast.walk(facts)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]
    sentence = re.search(r"Every event of an attempt .*?\.\n", section(TELEMETRY, "Events"), flags=re.DOTALL)

    assert sentence is not None
    assert _listed(sentence[0]) - {"operation.…"} == set(keys)


def test_every_metric_is_listed_with_its_labels() -> None:
    """The table of metrics is the table of names, with what the exporter makes of them."""

    def exported(metric: Metric) -> str:
        return metric.name + ("_seconds" if metric.unit == DURATION else "_total")

    expected = [(metric.name, exported(metric), set(metric.labels)) for metric in METRICS.values()]

    assert [(plain(row[0]), plain(row[1]), _listed(row[2])) for row in rows(TELEMETRY, "Metrics")] == expected


def test_every_field_of_the_summary_is_listed() -> None:
    """The table of the summary is the summary."""
    assert tuple(_first(TELEMETRY, "The run summary")) == SUMMARY_FIELDS
