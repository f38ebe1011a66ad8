"""The line of a workflow's code that was awaiting is told with the story."""

from __future__ import annotations

import linecache

from kit.testing.engines.simulation import Simulation
from kit.testing.faults import Scenario
from kit.testing.runs import WORKFLOW, Run
from tests.worlds import CHECKOUT


def _run(scenario: str, *, sandboxed: bool = False) -> Run:
    return Simulation(sandboxed=sandboxed).run_here(CHECKOUT, Scenario.parse(scenario))


def _code(run: Run, text: str) -> str | None:
    """The code of the line that awaited when the workflow did something."""
    source = next(line.source for line in run.story if line.lane == WORKFLOW and line.text == text)
    if source is None:
        return None
    file, _, number = source.rpartition(":")
    return linecache.getline(file, int(number)).strip()


def test_the_step_that_awaits_is_told() -> None:
    """A saga's body runs in a task of its own, and its line is found: alone, side by side, and at the pivot."""
    run = _run("payments.capture#1:reply_lost")

    assert "self.parallel(" in (_code(run, "asks for payments.authorize") or "")
    assert "self.step(" in (_code(run, "asks for orders.create") or "")
    assert "self.pivot(" in (_code(run, "hears that payments.capture is done") or "")


def test_no_line_is_told_when_none_awaits() -> None:
    """While the kit undoes what was done, no line of the workflow's own awaits."""
    run = _run("payments.capture#1:refused")

    assert _code(run, "asks for payments.authorize.undo") is None


def test_the_same_scenario_tells_the_same_lines() -> None:
    """Which of several tasks is looked at first does not matter."""
    first, again = (_run("orders.create#1:crash_after") for _ in range(2))

    assert [line.source for line in first.story] == [line.source for line in again.story]
