"""Random workflows do the same on the simulation and on the real server.

Compared are, of every run, its commands in order, how it ended and with what, what those outside were answered, and
what every attempt of every activity saw.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Final

import pytest
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from kit.testing.engines.simulation import run_virtually
from tests.testing.simulation.carrying import Facts, RealServer, simulated
from tests.testing.simulation.planner import plan
from tests.testing.simulation.plans import Plan

SCENARIOS: Final = 140

TRIES: Final = 5
"""How often the real server carries a plan out until it does what the simulation says. A busy machine can pass a time
limit that is not part of the plan; a defect of the simulation differs each time."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def carried_out() -> dict[int, tuple[Facts, list[WorkflowHistory]]]:
    """What the simulation makes of each plan, by its seed."""
    return {seed: run_virtually(simulated(plan(seed))) for seed in range(SCENARIOS)}


async def _differences(said: dict[int, Facts]) -> list[str]:
    async with RealServer() as server:
        found = await asyncio.gather(*(_difference(server, seed, facts) for seed, facts in said.items()))
    return [text for text in found if text]


async def _difference(server: RealServer, seed: int, said: Facts) -> str:
    shown: Facts = {}
    for number in range(TRIES):
        try:
            shown = await server.carry_out(plan(seed), workflow_id=f"plan-{seed}-{number}")
        except (RPCError, TimeoutError) as error:  # the machine is too busy for the server
            shown = dict.fromkeys(said, repr(error))
        if shown == said:
            return ""
    parts = [f"{part}: {said[part]}\n      not {shown[part]}" for part in said if said[part] != shown[part]]
    return "\n  ".join([f"plan {seed} {json.dumps(plan(seed))}, the simulation against the server:", *parts])


def test_random_workflows_agree_with_the_real_server(
    carried_out: dict[int, tuple[Facts, list[WorkflowHistory]]],
) -> None:
    """140 random workflows give the same commands, answers, outcomes and attempts in both."""
    found = asyncio.run(_differences({seed: facts for seed, (facts, _) in carried_out.items()}))

    assert found == [], "\n".join(found)


def test_every_history_replays_in_the_sdk(carried_out: dict[int, tuple[Facts, list[WorkflowHistory]]]) -> None:
    """The SDK's own replayer takes each history of the simulation for one of a real server."""
    histories = [history for _, made in carried_out.values() for history in made]

    asyncio.run(_replay(histories))

    assert len(histories) > SCENARIOS


async def _replay(histories: list[WorkflowHistory]) -> None:
    replayer = Replayer(workflows=[Plan], workflow_runner=UnsandboxedWorkflowRunner(), build_id="plans")

    async def given() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    await replayer.replay_workflows(given())


@pytest.mark.parametrize("first", [1000, 2000])
def test_forgetting_every_run_changes_nothing(first: int) -> None:
    """A worker that forgets each run after each workflow task gives the same histories, to the last byte."""
    made = [plan(seed) for seed in range(first, first + 40)]

    remembering = [run_virtually(simulated(one)) for one in made]
    forgetting = [run_virtually(simulated(one, cached=False)) for one in made]

    for (facts, histories), (other_facts, other_histories) in zip(remembering, forgetting, strict=True):
        assert facts == other_facts
        assert [h.events for h in histories] == [h.events for h in other_histories]


def test_one_seed_gives_one_history() -> None:
    """The same plan and seed give the same events, byte by byte."""
    first = run_virtually(simulated(plan(7), seed=5))
    again = run_virtually(simulated(plan(7), seed=5))

    assert [h.events for h in first[1]] == [h.events for h in again[1]]
