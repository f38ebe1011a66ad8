"""What runs a scenario. Two engines with one result: the simulation, and a real server that skips time."""

from __future__ import annotations

from typing import Protocol, Self

from kit.testing.faults import Scenario
from kit.testing.runs import Run
from kit.testing.world import Subject


class Engine(Protocol):
    """Runs scenarios."""

    async def __aenter__(self) -> Self:
        """Be ready to run."""

    async def __aexit__(self, *_: object) -> None:
        """Be gone."""

    async def run(self, subject: Subject, scenario: Scenario) -> Run:
        """Run one scenario from the start of the workflow to its end, or to where it waits for a person and beyond.

        When the run parks, the invariants are checked, and then a person answers every open task with ``retry`` while
        all providers are well (``skip`` where retry is not offered); the invariants are checked again at the end.
        Everything is the scenario's own: world, ledger, workflow id, virtual clock.

        Raises:
            UnsupportedScenario: The engine does not model something that the workflow or the scenario needs; says what.
        """
