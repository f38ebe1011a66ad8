"""A saga that goes on in a new run: nothing that must be undone, carried out or counted is forgotten."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.testing import WorkflowEnvironment

from kit import RunSummary
from kit.ledger.states import State
from kit.workflow import COMPENSATED
from tests.workflow.families import Journey, Stages
from tests.workflow.scene import Scene, new_id, scene
from tests.workflow.world import World, declined, lost

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def travelled(stages: Scene, *lines: str) -> tuple[str, BaseException | None]:
    """Run a `Stages` to its end. Returns its id and what has closed it."""
    run = await stages.worker.start(Stages.run, Journey(id="1", lines=lines), id=new_id())
    try:
        await asyncio.wait_for(run.result(), 60)
    except WorkflowFailureError as failure:
        return run.id, failure.cause
    except TimeoutError:
        latest = await stages.worker.client.get_workflow_handle(run.id).fetch_history()
        kinds = [EventType.Name(event.event_type) for event in latest.events]
        pytest.fail(f"it does not end; the run it has come to has {kinds}")
    return run.id, None


async def test_steps_of_earlier_runs_are_undone(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """A saga that fails in its fourth run undoes what the first three have done, latest first."""
    world.provider.script("card.charge", declined())

    async with scene(server, world, cached=cached, workflows=[Stages]) as stages:
        saga, error = await travelled(stages, "step flight", "step hotel", "step car", "pivot card")

    assert getattr(error, "type", None) == COMPENSATED
    assert world.provider.story == ["+flight:1", "+hotel:1", "+car:1", "-car:1", "-hotel:1", "-flight:1"]
    undone = {"flight:1": State.UNDONE, "hotel:1": State.UNDONE, "car:1": State.UNDONE}
    assert await world.rows(saga) == {**undone, "card:1": State.REFUSED}
    summary = RunSummary.model_validate(error.details[0])  # type: ignore[union-attr] # an application error, as seen above
    assert [row["number"] for row in summary.steps] == [1, 2, 3, 4]


async def test_an_unknown_outcome_of_an_earlier_run_is_cleared_up(server: WorkflowEnvironment, world: World) -> None:
    """What is held back in one run leaves in the last one, once, and the pivot of an earlier run stays passed."""
    world.provider.script("car.book", lost(), lost())

    async with scene(server, world, workflows=[Stages]) as stages:
        _, error = await travelled(stages, "after mail", "step flight", "pivot card", "step car")

    assert error is None
    assert world.provider.live == {"car:1": 1, "card:1": 1, "flight:1": 1, "mail:1": 1}
    assert world.provider.story[-1] == "+mail:1"


async def test_the_deadline_is_the_sagas_and_not_each_runs(server: WorkflowEnvironment, world: World) -> None:
    """Six hours are over in the third run when the two before it have slept for four and for three."""
    async with scene(server, world, workflows=[Stages]) as stages:
        _, error = await travelled(stages, "step flight", f"sleep {4 * 3600}", f"sleep {3 * 3600}", "step hotel")

    assert "the deadline of 6:00:00 is over" in str(error)
    assert world.provider.live == {}
