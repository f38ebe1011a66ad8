"""Every run of the simulation is a history of Temporal's own, whatever went wrong in it: the SDK replays it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from temporalio import workflow
from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from kit.ledger import MemoryLedger
from kit.testing.engines.simulation import Simulation
from kit.testing.faults import FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.world import Subject
from kit.worker import ReliabilityPlugin
from tests.testing.engines.differential import pairs, singles
from tests.testing.engines.travels import FIVE
from tests.worlds import CHECKOUT


async def _replay(subject: Subject, runs: list[Run]) -> None:
    replayer = Replayer(
        workflows=[subject.workflow],
        plugins=[ReliabilityPlugin(ledger=MemoryLedger(), connectors=[])],
        workflow_runner=UnsandboxedWorkflowRunner(),
        build_id="replays",  # else the SDK hashes the code of every loaded module for one
    )

    async def histories() -> AsyncIterator[WorkflowHistory]:
        for run in runs:
            yield WorkflowHistory(run.workflow_id, list(History.FromString(run.history).events))

    await replayer.replay_workflows(histories())


def _of_each_kind(scenarios: list[Scenario]) -> Iterator[Scenario]:
    for kind in FaultKind:
        found = [scenario for scenario in scenarios if scenario.faults[0].kind is kind]
        yield from dict.fromkeys([found[0], found[-1]])


@pytest.mark.slow
async def test_single_faults_of_every_kind_replay() -> None:
    """The checkout's run under each kind of fault, at the first and at the last point it can strike."""
    async with Simulation() as simulation:
        scenarios = [Scenario(), *_of_each_kind([scenario for _, scenario in await singles(simulation, CHECKOUT)])]
        runs = [await simulation.run(CHECKOUT, scenario) for scenario in scenarios]

    await _replay(CHECKOUT, runs)

    assert len(runs) > len(FaultKind)


@pytest.mark.slow
async def test_pairs_of_faults_replay() -> None:
    """Runs that were undone, repaired by a person, or started twice, too."""
    async with Simulation() as simulation:
        cases = await pairs(simulation, FIVE, firsts=20, each=1, seed=3)
        runs = [await simulation.run(*case) for case in cases]

    await _replay(FIVE, runs)

    assert len({run.ending for run in runs}) > 2


async def test_a_history_that_was_tampered_with_does_not_replay() -> None:
    """The replayer would have said so."""
    async with Simulation() as simulation:
        run = await simulation.run(FIVE, Scenario())
    history = History.FromString(run.history)
    scheduled = next(e for e in history.events if e.HasField("activity_task_scheduled_event_attributes"))
    scheduled.activity_task_scheduled_event_attributes.activity_type.name = "train.book"

    with pytest.raises(workflow.NondeterminismError):
        await _replay(FIVE, [replace(run, history=history.SerializeToString())])
