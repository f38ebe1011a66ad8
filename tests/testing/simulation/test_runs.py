"""A run's own life: timers, continuation, limits, termination, versions, and the worker's memory of it."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowContinuedAsNewError, WorkflowFailureError
from temporalio.common import SearchAttributeKey, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, TerminatedError, TimeoutError, WorkflowAlreadyStartedError
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from kit.testing.engines.simulation import EPOCH, SimulatedHandle, SimulatedServer, run_virtually
from kit.testing.engines.simulation.issued import COMMANDED
from tests.testing.simulation.bodies import SECOND, Does, named, ran
from tests.testing.simulation.planner import plan
from tests.testing.simulation.plans import Plan, do


async def _sleeps(does: Does) -> str:
    await workflow.sleep(10)
    return "slept"


async def _waits(does: Does) -> None:
    await workflow.wait_condition(lambda: False)


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_timer_takes_no_time_but_its_own() -> None:
    """A day passes at once, and the workflow's clock says so."""

    async def body(does: Does) -> list[str]:
        await workflow.sleep(timedelta(days=1))
        return [workflow.now().isoformat(), str(workflow.time())]

    run = ran(body)

    assert run.result == [(EPOCH + timedelta(days=1)).isoformat(), str((EPOCH + timedelta(days=1)).timestamp())]


def test_timers_fire_in_their_order() -> None:
    """By time, and at one instant in the order in which they were started."""

    async def body(does: Does) -> list[str]:
        async def note(word: str, seconds: float) -> None:
            await workflow.sleep(seconds)
            does.words.append(word)

        await asyncio.gather(*(note(word, at) for word, at in [("c", 3), ("a", 1), ("b1", 2), ("b2", 2), ("b3", 2)]))
        return does.words

    assert ran(body).result == ["a", "b1", "b2", "b3", "c"]


def test_a_wait_that_ends_in_time_cancels_its_timer() -> None:
    """So does one that is cancelled."""

    async def body(does: Does) -> str:
        try:
            async with asyncio.timeout(5):
                await workflow.sleep(100)
        except builtins.TimeoutError:
            return "too long"
        return "in time"

    run = ran(body)

    assert (run.result, run.seconds, run.kinds.count("TIMER_CANCELED")) == ("too long", 5, 1)


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_run_continues_as_new() -> None:
    """Under the same id, with another run id and what was given on; whoever waits for the end waits for the last."""

    async def second(does: Does) -> list[str | None]:
        info = workflow.info()
        return [info.workflow_id, info.continued_run_id, info.first_execution_run_id, workflow.memo_value("note")]

    async def body(does: Does) -> None:
        workflow.upsert_memo({"note": "given on"})
        await workflow.sleep(1)
        workflow.continue_as_new(named(second), memo={"note": "given on"})

    run = ran(body)
    first = run.server.executions[0].run_id

    assert run.result == ["does", first, first, "given on"]
    assert [one.log.events[-1].event_type for one in run.server.executions] == [28, 2]


def test_a_continuation_need_not_be_followed() -> None:
    """Then the error names the next run."""

    async def main() -> None:
        server = SimulatedServer(workflows=[Does])
        handle = server.start(Does, named(_again), id="does")
        await handle.result(follow_runs=False)

    with pytest.raises(WorkflowContinuedAsNewError):
        run_virtually(main())


async def _again(does: Does) -> None:
    workflow.continue_as_new(named(_sleeps))


def test_a_terminated_run_runs_no_code() -> None:
    """It is closed where it stands, and its activities and timers are forgotten."""

    async def body(does: Does) -> None:
        try:
            await workflow.sleep(100)
        finally:
            does.words.append("cleaned up")

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        await asyncio.sleep(2)
        handle.terminate("enough")

    run = ran(body, outside=outside)

    assert isinstance(run.error, TerminatedError)
    assert (run.seconds, run.kinds[-1]) == (2, "WORKFLOW_EXECUTION_TERMINATED")


@pytest.mark.parametrize("limit", ["run_timeout", "execution_timeout"])
def test_a_run_has_a_limit(limit: str) -> None:
    """When it passes, the run is closed, and no code runs."""

    async def main() -> Any:
        server = SimulatedServer(workflows=[Does])
        limits: dict[str, Any] = {limit: 4 * SECOND}
        return await server.start(Does, named(_sleeps), id="does", **limits).result()

    with pytest.raises(WorkflowFailureError) as failed:
        run_virtually(main())

    assert isinstance(failed.value.cause, TimeoutError)


def test_a_failure_fails_the_run() -> None:
    """An `ApplicationError` ends it, with its details."""

    async def body(does: Does) -> None:
        raise ApplicationError("no luck", "detail", type="Unlucky")

    run = ran(body)

    assert isinstance(run.error, ApplicationError)
    assert (run.error.type, list(run.error.details)) == ("Unlucky", ["detail"])


def test_another_exception_fails_the_task_and_not_the_run() -> None:
    """The run is stuck until somebody deploys a repair; the history has the failure once."""

    async def main() -> tuple[str | None, Any, int]:
        server = SimulatedServer(workflows=[Does])
        handle = server.start(Does, named(_breaks), id="does")
        await asyncio.sleep(60)
        stuck = handle.stuck
        _repaired.append(True)
        server.deploy([Does])
        failures = sum(e.HasField("workflow_task_failed_event_attributes") for e in handle.history().events)
        return stuck, await handle.result(), failures

    stuck, result, failures = run_virtually(main())

    assert (stuck, result, failures) == ("its workflow task fails again and again: 'typo'", "repaired", 1)


_repaired: list[bool] = []


async def _breaks(does: Does) -> str:
    if not _repaired:
        raise KeyError("typo")
    return "repaired"


def test_exceptions_can_be_declared_failures() -> None:
    """Those types fail the run."""

    async def body(does: Does) -> None:
        raise KeyError("typo")

    run = ran(body, workflow_failure_exception_types=[LookupError])

    assert isinstance(run.error, ApplicationError)
    assert run.error.type == "KeyError"


# --- starts -----------------------------------------------------------------------------------------------------------


def test_an_id_is_used_once_at_a_time() -> None:
    """A second start is refused, gives the run there is, or ends it: as its policy says."""

    async def main() -> tuple[bool, str | None]:
        server = SimulatedServer(workflows=[Does])
        first = server.start(Does, named(_waits), id="does")
        with pytest.raises(WorkflowAlreadyStartedError):
            server.start(Does, named(_waits), id="does")
        same = server.start(Does, named(_waits), id="does", id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING)
        server.start(Does, named(_waits), id="does", id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING)
        return same.run_id == first.run_id, first.closed_as

    assert run_virtually(main()) == (True, "terminated")


def test_a_used_id_can_be_refused() -> None:
    """For good, or after a success."""

    async def main() -> None:
        server = SimulatedServer(workflows=[Does])
        await server.start(Does, named(_sleeps), id="does").result()
        for policy in (WorkflowIDReusePolicy.REJECT_DUPLICATE, WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY):
            with pytest.raises(WorkflowAlreadyStartedError):
                server.start(Does, named(_sleeps), id="does", id_reuse_policy=policy)
        await server.start(Does, named(_sleeps), id="does").result()

    run_virtually(main())


def test_a_start_can_be_delayed() -> None:
    """The first task comes later."""

    async def main() -> float:
        server = SimulatedServer(workflows=[Does])
        await server.start(Does, named(_sleeps), id="does", start_delay=30 * SECOND).result()
        return server.loop.time()

    assert run_virtually(main()) == 40


# --- what is written beside -------------------------------------------------------------------------------------------


def test_memo_and_search_attributes_are_kept() -> None:
    """The workflow reads what it wrote, and so does whoever looks at the run."""
    owner = SearchAttributeKey.for_keyword("Owner")

    async def body(does: Does) -> list[Any]:
        workflow.upsert_memo({"note": "one", "gone": "x"})
        workflow.upsert_memo({"gone": None})
        workflow.upsert_search_attributes([owner.value_set("ann")])
        await workflow.sleep(1)
        return [workflow.memo(), workflow.info().typed_search_attributes[owner]]

    run = ran(body)

    assert run.result == [{"note": "one"}, "ann"]
    assert run.handle.memo() == {"note": "one"}
    assert "Owner" in run.handle.execution.search_attributes.indexed_fields


def test_randomness_is_that_of_the_run() -> None:
    """It is the same in a replay, and another in the next run."""

    async def body(does: Does) -> list[str]:
        drawn = [str(workflow.uuid4()), str(workflow.random().random())]
        await workflow.sleep(1)
        return drawn

    once, forgetful = ran(body), ran(body, cached=False)

    assert once.result == forgetful.result


# --- versions ---------------------------------------------------------------------------------------------------------


@workflow.defn(name="Versioned")
class Old:
    """The version before the change."""

    @workflow.run
    async def run(self) -> str:
        """Sleep."""
        await workflow.sleep(10)
        return "old"


@workflow.defn(name="Versioned")
class Patched:
    """The change, for new runs only."""

    @workflow.run
    async def run(self) -> str:
        """Sleep longer, if this run knows of it."""
        if workflow.patched("longer"):
            await workflow.sleep(10)
            await workflow.sleep(5)
            return "patched"
        await workflow.sleep(10)
        return "old way"


@workflow.defn(name="Versioned")
class Deprecated:
    """The change, when no run without it is left."""

    @workflow.run
    async def run(self) -> str:
        """Sleep longer."""
        workflow.deprecate_patch("longer")
        await workflow.sleep(10)
        await workflow.sleep(5)
        return "deprecated"


@workflow.defn(name="Versioned")
class Changed:
    """The change, without a patch."""

    @workflow.run
    async def run(self) -> str:
        """Begin with something else."""
        await workflow.execute_activity("work", start_to_close_timeout=SECOND)
        return "changed"


def _handed_over(before: type, after: type) -> tuple[Any, str | None, list[HistoryEvent]]:
    """A run that one version begins, and another goes on with after five seconds."""

    async def main() -> tuple[Any, str | None, list[HistoryEvent]]:
        server = SimulatedServer(workflows=[before])
        handle = server.start("Versioned", id="versioned")
        await asyncio.sleep(5)
        server.deploy([after])
        await asyncio.sleep(60)
        result = None if handle.open else await handle.result()
        return result, handle.stuck, list(handle.history().events)

    return run_virtually(main())


@pytest.mark.parametrize(
    ("before", "after", "result"),
    [
        (Old, Patched, "old way"),
        (Patched, Patched, "patched"),
        (Patched, Deprecated, "deprecated"),
        (Deprecated, Patched, "patched"),
        (Old, Old, "old"),
    ],
)
def test_a_patch_goes_forward(before: type, after: type, result: str) -> None:
    """A run that began without the patch goes on without it, one that began with it, with it."""
    assert _handed_over(before, after)[:2] == (result, None)


def test_a_patch_does_not_go_back() -> None:
    """The version before it does not know what the history says, and the run is stuck."""
    result, stuck, events = _handed_over(Patched, Old)

    assert result is None
    assert "Nondeterminism" in (stuck or "")
    assert any(event.marker_recorded_event_attributes.marker_name == "core_patch" for event in events)


def test_code_that_does_something_else_is_stuck() -> None:
    """A change without a patch does not fit the history."""
    assert "Nondeterminism" in (_handed_over(Old, Changed)[1] or "")


def test_a_version_that_lacks_the_workflow_is_stuck() -> None:
    """The words name what the worker has."""
    assert "is not registered on this worker; it has: Does" in (_handed_over(Old, Does)[1] or "")


# --- the worker's memory ----------------------------------------------------------------------------------------------


def _events(**options: Any) -> list[list[HistoryEvent]]:
    """The histories of what one plan leads to."""

    async def main() -> list[list[HistoryEvent]]:
        server = SimulatedServer(workflows=[Plan], activities=[do], **options)
        await server.start(Plan, plan(3)[0][:2], id="plan").result()
        return [list(run.log.events) for run in server.executions]

    return run_virtually(main())


@pytest.mark.parametrize(
    "options",
    [lambda: {"cached": False}, lambda: {"workflow_runner": SandboxedWorkflowRunner()}, lambda: {"seed": 3}],
    ids=["evicted", "sandboxed", "another order"],
)
def test_how_the_worker_runs_it_changes_nothing(options: Callable[[], dict[str, Any]]) -> None:
    """Forgotten after each task, or in the SDK's sandbox, a run has the same history, to the last byte."""
    assert _events(**options()) == _events()


def test_the_events_of_commands_are_known() -> None:
    """Every type of event that comes of a command can be matched in a replay."""
    assert {event.event_type for run in _events() for event in run} & COMMANDED
