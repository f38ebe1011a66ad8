"""What a closed run has done is undone from the ledger alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.testing import WorkflowEnvironment

from kit import Choice, FailureKind, Refused
from kit.ledger.states import State
from kit.worker import ReliabilityPlugin
from kit.workflow import SUMMARY_QUERY, RunSummary, Status
from kit.workflow.unwound import UNWIND_REFUSED, UNWIND_WORKFLOW, UnwindRequest, Unwound, unwind_id
from tests.harness import running
from tests.workflow.families import Family, Tour
from tests.workflow.sagas import FilesVisa, Travel
from tests.workflow.scene import Run, Scene, scene
from tests.workflow.world import AGENCIES, Ask, Fault, Gate, World, held, lost, unsent

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def unwind(stage: Scene, saga: str, *, id: str | None = None, **options: Any) -> Run:
    """Start the unwind of a workflow id."""
    request = UnwindRequest(saga=saga, who="ada", why="bad release", **options)
    return await stage.worker.client.start_workflow(
        UNWIND_WORKFLOW, request, id=id or unwind_id(saga), task_queue=stage.worker.task_queue, result_type=Unwound
    )


async def end(stage: Scene, run: Run) -> Unwound:
    """Wait for the end of an unwind; its record must replay."""
    result: Unwound = await asyncio.wait_for(run.result(), 30)
    await stage.worker.history(run)
    return result


async def unwound(stage: Scene, saga: str, **options: Any) -> Unwound:
    """Unwind a workflow id."""
    return await end(stage, await unwind(stage, saga, **options))


async def refusal(stage: Scene, saga: str, **options: Any) -> ApplicationError:
    """Why an unwind is refused."""
    with pytest.raises(WorkflowFailureError) as failed:
        await unwound(stage, saga, **options)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == UNWIND_REFUSED
    return cause


# --- whatever way the run closed ----------------------------------------------------------------------------------


async def test_a_completed_run_is_undone_latest_first(server: WorkflowEnvironment, world: World, cached: bool) -> None:
    """What a completed run has done is undone in reverse, by the activities a saga uses, and its rows say so."""
    async with scene(server, world, cached=cached) as stage:
        run = await stage.start("step flight", "step hotel", "pivot card", "step diary")
        await stage.end(run)

        again = await unwind(stage, run.id)
        result = await end(stage, again)
        activities = (await stage.worker.history(again)).activities

    assert world.provider.live == {}
    assert world.provider.story[4:] == ["-diary:1", "-card:1", "-hotel:1", "-flight:1"]
    assert result == Unwound(saga=run.id, undone=["diary:1", "card:1", "hotel:1", "flight:1"])
    undos = ["diary.note.undo", "card.charge.undo", "hotel.book.undo", "flight.book.undo"]
    assert activities == ["kit.list_effects", *undos, "kit.list_effects"]
    assert set((await world.rows(run.id)).values()) == {State.UNDONE}


async def test_a_terminated_run_is_undone(server: WorkflowEnvironment, world: World) -> None:
    """A run that was terminated between two steps ran no code: the unwind undoes what it had done."""
    async with scene(server, world) as stage:
        run = await stage.start("step flight", "step hotel", "wait")
        await stage.until(run, "hotel.book")
        await run.terminate("stuck")

        result = await unwound(stage, run.id)

    assert world.provider.live == {}
    assert result.undone == ["hotel:1", "flight:1"]


async def test_what_a_cut_off_run_did_not_know_is_found_out(server: WorkflowEnvironment, world: World) -> None:
    """An effect whose reply was lost before its run ended is looked up, found and undone."""
    gate = Gate()
    world.provider.script("hotel.book", lost())
    world.provider.script("hotel.book.probe", held(gate, before=unsent().before))
    async with scene(server, world) as stage:
        run = await stage.start("step hotel")
        await gate.reached()
        await run.terminate("stuck")
        gate.open()

        result = await unwound(stage, run.id)

    assert world.provider.live == {}
    assert result.undone == ["hotel:1"]
    assert world.provider.story == ["+hotel:1", "-hotel:1"]


async def test_an_attempt_that_outlives_its_run_is_waited_for(server: WorkflowEnvironment, world: World) -> None:
    """What an attempt does after its run was terminated is undone, though it was not in the ledger before."""
    gate = world.ledger.hold("ClaimAction")
    async with scene(server, world) as stage:
        run = await stage.start("step hotel", "wait")
        await gate.reached()
        await run.terminate("stuck")
        undoing = await unwind(stage, run.id)
        await stage.until(undoing, "kit.list_effects")
        gate.open()
        await world.provider.happens("+hotel:1")

        result = await end(stage, undoing)

    assert world.provider.live == {}
    assert result.undone == ["hotel:1"]


async def test_an_action_that_comes_after_the_unwind_is_refused(server: WorkflowEnvironment, world: World) -> None:
    """What was refused before its run ended gets a tombstone: a late attempt finds that it came after its undo."""
    first = Gate()
    world.provider.script("hotel.book", held(first, before=unsent().before))
    async with scene(server, world) as stage:
        run = await stage.start("step hotel")
        await first.reached()
        late = world.ledger.hold("ClaimAction")
        first.open()
        await late.reached()
        await run.terminate("stuck")

        result = await unwound(stage, run.id)
        late.open()

    assert result.nothing == ["hotel:1"]
    assert await world.rows(run.id) == {"hotel:1": State.VOID}
    assert (world.provider.calls["hotel.book"], world.provider.live) == (1, {})


# --- again, at once, in between -----------------------------------------------------------------------------------


async def test_the_second_unwind_finds_nothing(server: WorkflowEnvironment, world: World) -> None:
    """What is undone is not undone again."""
    async with scene(server, world) as stage:
        run = await stage.start("step flight", "step hotel")
        await stage.end(run)
        await unwound(stage, run.id)

        result = await unwound(stage, run.id)

    assert result == Unwound(saga=run.id)
    assert world.provider.calls["flight.book.undo"] == world.provider.calls["hotel.book.undo"] == 1


async def test_two_unwinds_at_once_undo_each_effect_once(server: WorkflowEnvironment, world: World) -> None:
    """A second unwind under the same id cannot start; under another id the two undo each effect once between them."""
    gate = Gate()
    world.provider.script("hotel.book.undo", held(gate))
    async with scene(server, world) as stage:
        run = await stage.start("step flight", "step hotel")
        await stage.end(run)
        first = await unwind(stage, run.id)
        await gate.reached()
        with pytest.raises(WorkflowAlreadyStartedError):
            await unwind(stage, run.id)
        other = await unwind(stage, run.id, id=f"other-{run.id}")
        gate.open()

        results = [await end(stage, first), await end(stage, other)]

    assert world.provider.live == {}
    assert world.provider.story[2:] == ["-hotel:1", "-flight:1"]
    assert [result.left for result in results] == [[], []]


@pytest.mark.parametrize("undo", ["card.charge.undo", "flight.book.undo"])
@pytest.mark.parametrize("instant", ["before", "after"])
async def test_an_unwind_that_is_terminated_is_gone_on_with(
    server: WorkflowEnvironment, world: World, undo: str, instant: str
) -> None:
    """Wherever an unwind ends, before an undo or after it, the next one undoes the rest, and nothing twice."""
    gate = Gate()
    world.provider.script(undo, Fault(gate=gate) if instant == "before" else Fault(after_gate=gate))
    async with scene(server, world) as stage:
        run = await stage.start("step flight", "step card")
        await stage.end(run)
        first = await unwind(stage, run.id)
        await gate.reached()
        await first.terminate("interrupted")
        gate.open()

        await unwound(stage, run.id)

    assert world.provider.live == {}
    assert world.provider.story[2:] == ["-card:1", "-flight:1"]
    assert set((await world.rows(run.id)).values()) == {State.UNDONE}


async def test_a_cancelled_unwind_goes_on(server: WorkflowEnvironment, world: World) -> None:
    """A cancellation comes too late for an undo."""
    gate = Gate()
    world.provider.script("hotel.book.undo", held(gate))
    async with scene(server, world) as stage:
        run = await stage.start("step flight", "step hotel")
        await stage.end(run)
        undoing = await unwind(stage, run.id)
        await gate.reached()
        await undoing.cancel()
        gate.open()

        result = await end(stage, undoing)

    assert world.provider.live == {}
    assert result.undone == ["hotel:1", "flight:1"]


# --- whose effects ------------------------------------------------------------------------------------------------


async def test_an_open_run_is_not_unwound(server: WorkflowEnvironment, world: World) -> None:
    """A run that is open still relies on its effects: its unwind is refused, and says what to do."""
    async with scene(server, world) as stage:
        run = await stage.start("step hotel", "wait")
        await stage.until(run, "hotel.book")

        error = await refusal(stage, run.id)
        await run.terminate()

    assert "it is open" in error.message
    assert "cancel or terminate it first" in error.message
    assert world.provider.live == {"hotel:1": 1}


async def test_one_run_of_an_id_that_was_started_again_is_not_unwound(
    server: WorkflowEnvironment, world: World
) -> None:
    """The later run was answered with the effects of the earlier one: only all runs together can be unwound."""
    async with scene(server, world) as stage:
        first = await stage.start("step flight", "wait")
        await stage.until(first, "flight.book")
        await first.terminate()
        second = await stage.start("step flight", "step hotel", workflow_id=first.id)
        await stage.end(second)

        error = await refusal(stage, first.id, run_id=first.first_execution_run_id)
        assert world.provider.live == {"flight:1": 1, "hotel:1": 1}
        result = await unwound(stage, first.id)

    assert "was started again since" in error.message
    assert result.undone == ["hotel:1", "flight:1"]
    assert world.provider.live == {}


async def test_the_latest_run_alone_can_be_unwound(server: WorkflowEnvironment, world: World) -> None:
    """By the run's id only what that run has claimed is undone."""
    async with scene(server, world) as stage:
        first = await stage.start("step flight")
        await stage.end(first)
        second = await stage.start("step hotel", workflow_id=first.id)
        await stage.end(second)

        result = await unwound(stage, first.id, run_id=second.first_execution_run_id)

    assert result.undone == ["hotel:1"]
    assert world.provider.live == {"flight:1": 1}


async def test_a_shared_effect_is_only_given_up(server: WorkflowEnvironment, world: World) -> None:
    """An effect that another run was answered with stays for that run; the last one takes it back."""
    async with scene(server, world) as stage:
        first, second = [await stage.start("step hotel") for _ in range(2)]
        for run in (first, second):
            await stage.end(run)

        one = await unwound(stage, first.id)
        live = world.provider.live
        other = await unwound(stage, second.id)

    assert (one.nothing, live) == (["hotel:1"], {"hotel:1": 1})
    assert (other.undone, world.provider.live) == (["hotel:1"], {})


# --- people -------------------------------------------------------------------------------------------------------


async def test_what_cannot_be_undone_asks_and_keeps_nobody_waiting(server: WorkflowEnvironment, world: World) -> None:
    """A letter that was sent becomes a task of its owner, the rest is undone meanwhile; left in place it stays so."""
    async with scene(server, world) as stage:
        run = await stage.start("step flight", "after letter", "step hotel")
        await stage.end(run)
        undoing = await unwind(stage, run.id)
        await world.provider.happens("-flight:1")
        task = await stage.task(undoing)
        summary = await undoing.query(SUMMARY_QUERY, result_type=RunSummary)
        await stage.decide(undoing, Choice.SKIP)
        result = await end(stage, undoing)
        again = await unwound(stage, run.id)

    assert (task.operation, task.undo, task.owner) == ("letter.send", True, "travel-team")
    assert task.choices == (Choice.RETRY, Choice.SKIP, Choice.SUPPLY)
    assert (summary.status, summary.parked) == (Status.UNDOING, True)
    assert result.undone == ["hotel:1", "flight:1"]
    assert result.left == ["letter:1"]
    assert result.reasons == {"letter:1": "left in place by ada: I looked"}
    assert again == Unwound(saga=run.id, left=["letter:1"], reasons=result.reasons)
    assert world.provider.live == {"letter:1": 1}


async def test_a_refused_undo_is_decided_by_a_person(server: WorkflowEnvironment, world: World) -> None:
    """Too late for a refund: a task; when it was done by hand the unwind ends with nothing left."""
    late = Fault(before=Refused(FailureKind.INVALID, "too late", reason="refund_window"))
    world.provider.always("card.charge.undo", late)
    async with scene(server, world) as stage:
        run = await stage.start("step hotel", "step card")
        await stage.end(run)
        undoing = await unwind(stage, run.id)
        await world.provider.happens("-hotel:1")
        task = await stage.task(undoing)
        await stage.decide(undoing, Choice.SUPPLY)

        result = await end(stage, undoing)

    assert task.failure is not None
    assert task.failure.reason == "refund_window"
    assert result == Unwound(saga=run.id, undone=["card:1", "hotel:1"])
    assert await world.rows(run.id) == {"hotel:1": State.UNDONE, "card:1": State.UNDONE}


async def test_an_effect_that_no_worker_serves_is_told(server: WorkflowEnvironment, world: World) -> None:
    """What this version of the service has no connector for is left and told; a version that has one undoes it."""
    async with scene(server, world) as stage:
        run = await stage.start("step flight", "step hotel")
        await stage.end(run)
    fewer: list[Any] = [agency(world.provider) for agency in AGENCIES if "hotel.book" not in agency.handlers]  # type: ignore[call-arg]
    plugin = ReliabilityPlugin(ledger=world.ledger, connectors=fewer)
    async with running(server, plugin, [Nothing]) as worker:
        told = await unwound(Scene(world, worker), run.id)
    async with scene(server, world) as stage:
        rest = await unwound(stage, run.id)

    assert told.undone == ["flight:1"]
    assert told.reasons == {"hotel:1": "no connector of this worker serves 'hotel.book'"}
    assert rest.undone == ["hotel:1"]
    assert world.provider.live == {}


@pytest.mark.parametrize("choice", [Choice.SKIP, Choice.SUPPLY])
async def test_what_came_before_a_final_pivot_waits_for_it(
    server: WorkflowEnvironment, world: World, choice: Choice
) -> None:
    """A pivot without undo is a person's: left in place, what came before it is left, too; undone by hand, undone."""
    async with scene(server, world, workflows=[FilesVisa]) as stage:
        run = await stage.worker.start(FilesVisa.run, Ask(id="1"))
        await stage.end(run)
        undoing = await unwind(stage, run.id)
        await stage.task(undoing)
        meanwhile = world.provider.live
        await stage.decide(undoing, choice)
        result = await end(stage, undoing)
        again = await unwound(stage, run.id)

    assert meanwhile == {"flight:1": 1, "visa:1": 1}
    if choice is Choice.SKIP:
        assert (result.undone, result.left) == (["hotel:1"], ["visa:1", "flight:1"])
        assert result.reasons["flight:1"] == "it came before 'visa:1', which stands and has no undo"
        assert (again.undone, again.left) == ([], ["visa:1", "flight:1"])
        assert world.provider.live == {"flight:1": 1, "visa:1": 1}
    else:
        assert result == Unwound(saga=run.id, undone=["hotel:1", "visa:1", "flight:1"])
        assert again == Unwound(saga=run.id)


async def test_a_final_pivot_of_a_forgotten_run_is_still_waited_for(server: WorkflowEnvironment, world: World) -> None:
    """The server has forgotten the run, the ledger has not: what came before its point of no return is not touched."""
    async with scene(server, world, workflows=[FilesVisa]) as stage:
        run = await stage.worker.start(FilesVisa.run, Ask(id="1"))
        await stage.end(run)
        forgotten = f"forgotten-{run.id}"
        world.ledger.ascribe(run.id, to=forgotten)
        undoing = await unwind(stage, forgotten)
        await stage.task(undoing)
        meanwhile = world.provider.live
        await stage.decide(undoing, Choice.SKIP)
        result = await end(stage, undoing)

    assert meanwhile == {"flight:1": 1, "visa:1": 1}
    assert (result.undone, result.left) == (["hotel:1"], ["visa:1", "flight:1"])


@workflow.defn
class Nothing:
    """A worker brings the kit's own workflows when it has some itself."""

    @workflow.run
    async def run(self) -> None:
        """Do nothing."""


# --- children -----------------------------------------------------------------------------------------------------

FAMILY = (Family, Travel)


async def _family(stage: Scene, *lines: str, child: tuple[str, ...]) -> Run:
    return await stage.worker.start(Family.run, Tour(id="1", lines=lines, child=child))


async def test_the_child_sagas_of_a_run_are_unwound_with_it(server: WorkflowEnvironment, world: World) -> None:
    """A completed child is undone at its place, by an unwind of its own; the second unwind finds nothing of it."""
    async with scene(server, world, workflows=FAMILY) as stage:
        run = await _family(stage, "step flight", "child", "step card", child=("step hotel",))
        await stage.end(run)

        result = await unwound(stage, run.id)
        again = await unwound(stage, run.id)

    assert world.provider.live == {}
    assert world.provider.story[3:] == ["-card:1", "-hotel:1c", "-flight:1"]
    assert result.undone == ["card:1", f"{run.id}-child", "flight:1"]
    assert again == Unwound(saga=run.id)


async def test_a_child_is_not_unwound_while_its_parent_is_open(server: WorkflowEnvironment, world: World) -> None:
    """The parent relies on it, and undoes it with itself if it must."""
    async with scene(server, world, workflows=FAMILY) as stage:
        run = await _family(stage, "child", "wait", child=("step hotel",))
        await stage.until(run, event="CHILD_WORKFLOW_EXECUTION_COMPLETED")

        error = await refusal(stage, f"{run.id}-child")
        await run.terminate()
        result = await unwound(stage, f"{run.id}-child")

    assert f"it is the child of {run.id!r}, which is open" in error.message
    assert result.undone == ["hotel:1c"]
    assert world.provider.live == {}


async def test_a_workflow_id_of_too_many_effects_is_refused(
    server: WorkflowEnvironment, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit into one payload is refused with a number, and does not fail for ever."""
    monkeypatch.setattr("kit.worker.effects.MOST_EFFECTS", 1)
    async with scene(server, world) as stage:
        run = await stage.start("step flight", "step hotel")
        await stage.end(run)

        error = await refusal(stage, run.id)

    assert "it has 2 effects, and one unwind takes 1" in error.message
    assert world.provider.live == {"flight:1": 1, "hotel:1": 1}
