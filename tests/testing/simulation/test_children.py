"""Child workflows, and what a workflow does with others, are as the server and the SDK have it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio import workflow
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    WorkflowAlreadyStartedError,
)
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

from tests.testing.simulation.bodies import SECOND, Does, Ran, named, ran


async def _waits(does: Does) -> list[str]:
    await workflow.wait_condition(lambda: bool(does.words))
    return does.words


async def _fails(does: Does) -> None:
    raise ApplicationError("no luck", type="Unlucky")


async def _starts(body: Any, **options: Any) -> Any:
    return await workflow.start_child_workflow(Does.run, named(body), id="child", **options)


def _ended(run: Ran) -> str | None:
    return run.server.handle("child").closed_as


def test_a_childs_result_is_its_parents() -> None:
    """The child has a history of its own, which names its parent."""

    async def gives(does: Does) -> list[str]:
        info = workflow.info()
        await workflow.sleep(5)
        return [info.workflow_id, info.parent.workflow_id if info.parent else ""]

    async def body(does: Does) -> Any:
        return await (await _starts(gives))

    run = ran(body)

    assert (run.result, run.seconds) == (["child", "does"], 5)


def test_a_childs_failure_is_wrapped() -> None:
    """The parent hears what failed, as the cause."""

    async def body(does: Does) -> Any:
        return await (await _starts(_fails))

    run = ran(body)

    assert isinstance(run.causes[0], ChildWorkflowError)
    assert isinstance(run.causes[1], ApplicationError)
    assert run.causes[1].type == "Unlucky"


@pytest.mark.parametrize(
    ("kind", "heard_at", "ended"),
    [
        (ChildWorkflowCancellationType.TRY_CANCEL, 1, "cancelled"),
        (ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED, 4, "cancelled"),
        (ChildWorkflowCancellationType.ABANDON, 1, "terminated"),
    ],
)
def test_a_child_is_cancelled_as_asked(kind: ChildWorkflowCancellationType, heard_at: float, ended: str) -> None:
    """Tried without waiting, waited for, or left alone; it cleans up for three seconds."""

    async def cleans_up(does: Does) -> None:
        try:
            await workflow.sleep(100)
        finally:
            await workflow.sleep(3)

    async def body(does: Does) -> float:
        handle = await _starts(cleans_up, cancellation_type=kind)
        await workflow.sleep(1)
        handle.cancel()
        with pytest.raises(ChildWorkflowError) as failed:
            await handle
        assert isinstance(failed.value.cause, CancelledError)
        at = (workflow.now() - workflow.info().start_time).total_seconds()
        await workflow.sleep(20)
        return at

    run = ran(body)

    assert (run.result, _ended(run)) == (heard_at, ended)


def test_a_child_that_is_cancelled_before_it_was_asked_for_never_is() -> None:
    """No event tells of it."""

    async def body(does: Does) -> str:
        task = asyncio.create_task(workflow.execute_child_workflow(Does.run, named(_waits), id="child"))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except (asyncio.CancelledError, ChildWorkflowError) as error:
            return type(error).__name__
        return "done"

    run = ran(body)

    assert not [kind for kind in run.kinds if "CHILD" in kind]


def test_a_terminated_child_is_heard_of() -> None:
    """The parent's cause is a `TerminatedError`."""

    async def body(does: Does) -> Any:
        return await (await _starts(_waits))

    async def outside(server: Any, handle: Any) -> None:
        await asyncio.sleep(1)
        server.handle("child").terminate("enough")

    run = ran(body, outside=outside)

    assert isinstance(run.causes[1], TerminatedError)


def test_a_child_whose_id_is_taken_is_not_started() -> None:
    """The parent's start of it fails."""

    async def body(does: Does) -> str:
        try:
            await workflow.start_child_workflow(Does.run, named(_waits), id="does")
        except WorkflowAlreadyStartedError as error:
            return error.workflow_id
        return "started"

    assert ran(body).result == "does"


@pytest.mark.parametrize(
    ("policy", "ended"),
    [
        (ParentClosePolicy.TERMINATE, "terminated"),
        (ParentClosePolicy.REQUEST_CANCEL, "cancelled"),
        (ParentClosePolicy.ABANDON, None),
    ],
)
def test_a_child_goes_with_its_parent_as_its_policy_says(policy: ParentClosePolicy, ended: str | None) -> None:
    """Ended, asked to end, or left alone."""

    async def body(does: Does) -> None:
        await _starts(_waits, parent_close_policy=policy)

    assert _ended(ran(body)) == ended


def test_a_child_outlives_its_parents_continuation() -> None:
    """Continuing as new is no end: the child goes on."""

    async def again(does: Does) -> None:
        await workflow.sleep(5)

    async def body(does: Does) -> None:
        await _starts(_waits)
        workflow.continue_as_new(named(again))

    run = ran(body)

    assert run.seconds == 5
    assert _ended(run) is None


def test_a_child_can_be_signalled_by_handle_and_by_id() -> None:
    """Both wait until the other has it."""

    async def two(does: Does) -> list[str]:
        await workflow.wait_condition(lambda: len(does.words) == 2)
        return does.words

    async def body(does: Does) -> Any:
        handle = await _starts(two)
        await handle.signal(Does.tell, "one")
        await workflow.get_external_workflow_handle("child").signal(Does.tell, "two")
        return await handle

    assert ran(body).result == ["one", "two"]


def test_another_workflow_can_be_cancelled_by_id() -> None:
    """It closes as cancelled."""

    async def body(does: Does) -> None:
        await _starts(_waits, parent_close_policy=ParentClosePolicy.ABANDON)
        await workflow.get_external_workflow_handle("child").cancel()

    assert _ended(ran(body)) == "cancelled"


@pytest.mark.parametrize("verb", ["signal", "cancel"])
def test_who_is_not_there_cannot_be_told(verb: str) -> None:
    """The workflow's call fails."""

    async def body(does: Does) -> str:
        other = workflow.get_external_workflow_handle("there-is-none")
        try:
            await (other.signal("tell", "x") if verb == "signal" else other.cancel())
        except ApplicationError as error:
            return error.type or ""
        return "told"

    assert ran(body).result == "ExternalWorkflowExecutionNotFound"


def test_what_a_closing_workflow_asks_of_others_is_dropped() -> None:
    """The server forgets a request whose workflow closes in the same task."""

    async def body(does: Does) -> None:
        handle = await _starts(
            _waits,
            parent_close_policy=ParentClosePolicy.ABANDON,
            cancellation_type=ChildWorkflowCancellationType.TRY_CANCEL,
        )
        handle.cancel()

    run = ran(body)

    assert "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED" in run.kinds
    assert _ended(run) is None


def test_a_childs_limit_ends_it() -> None:
    """Its run time-out is its own."""

    async def body(does: Does) -> Any:
        return await (await _starts(_waits, run_timeout=7 * SECOND))

    run = ran(body)

    assert (_ended(run), run.seconds) == ("timed out", 7)
