"""A cancellation reaches activities, timers and the run as the server and the SDK have it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.workflow import ActivityCancellationType

from kit.testing.engines.simulation import SimulatedHandle, SimulatedServer
from tests.testing.simulation.bodies import SECOND, Does, ran, scripted

TRY, WAIT, ABANDON = (
    ActivityCancellationType.TRY_CANCEL,
    ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    ActivityCancellationType.ABANDON,
)


class Listener:
    """An activity that works for a minute, and notes when it is told to stop."""

    def __init__(self, *, obstinate: bool = False) -> None:
        self.told_at: float | None = None
        self.ended_at: float | None = None
        self.obstinate = obstinate

    async def __call__(self) -> str:
        """Work."""
        clock = asyncio.get_running_loop().time
        try:
            for _ in range(60):
                activity.heartbeat()
                await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.told_at = clock()
            if not self.obstinate:
                raise
            await asyncio.sleep(3)
        self.ended_at = clock()
        return "finished"


def _cancels(kind: ActivityCancellationType, *, after: float = 3.5) -> Any:
    """Starts an activity, cancels it, and says what came of it, and when."""

    async def body(does: Does) -> list[Any]:
        handle = workflow.start_activity(
            "work", start_to_close_timeout=90 * SECOND, heartbeat_timeout=5 * SECOND, cancellation_type=kind
        )
        await workflow.sleep(after)
        handle.cancel()
        try:
            came = await handle
        except ActivityError as error:
            came = type(error.cause).__name__
        return [came, (workflow.now() - workflow.info().start_time).total_seconds()]

    return body


def test_try_cancel_waits_for_nothing() -> None:
    """The workflow goes on at once; the activity hears of it with its next heartbeat that goes out."""
    listener = Listener()

    run = ran(_cancels(TRY), scripted(listener))

    assert run.result == ["CancelledError", 3.5]
    assert listener.told_at == 4.0  # a heartbeat is held back for 0.8 of its limit


def test_waiting_for_the_cancellation_hears_its_end() -> None:
    """The workflow goes on when the activity has let itself be cancelled."""
    run = ran(_cancels(WAIT), scripted(Listener()))

    assert run.result == ["CancelledError", 4.0]


def test_who_waits_hears_what_was_finished_all_the_same() -> None:
    """An activity that does not stop gives its result: the cancellation is swallowed."""
    run = ran(_cancels(WAIT), scripted(Listener(obstinate=True)))

    assert run.result == ["finished", 7.0]


def test_abandon_tells_nobody() -> None:
    """The workflow goes on at once, and the activity to its end."""
    listener = Listener()

    run = ran(_cancels(ABANDON), scripted(listener))

    assert run.result == ["CancelledError", 3.5]
    assert "ACTIVITY_TASK_CANCEL_REQUESTED" not in run.kinds


def test_what_was_not_sent_yet_is_never_asked_for() -> None:
    """An activity that is cancelled in the task that asks for it leaves no event."""

    async def body(does: Does) -> str:
        handle = workflow.start_activity("work", start_to_close_timeout=SECOND)
        await asyncio.sleep(0)
        handle.cancel()
        try:
            await handle
        except ActivityError as error:
            return type(error.cause).__name__
        return "done"

    run = ran(body, scripted(Listener()))

    assert run.result == "CancelledError"
    assert not [kind for kind in run.kinds if kind.startswith("ACTIVITY")]


def test_no_attempt_follows_a_cancellation() -> None:
    """While an activity waits for its next attempt, its cancellation ends it at once."""

    async def fail() -> None:
        raise ApplicationError("no")

    run = ran(_cancels(WAIT, after=0.5), scripted(fail))

    assert run.result == ["CancelledError", 0.5]


def test_a_failure_after_the_request_is_the_last() -> None:
    """An attempt that fails after its cancellation was requested is not made again."""
    seen: list[int] = []

    async def fail_later() -> None:
        seen.append(activity.info().attempt)
        await asyncio.sleep(4)
        raise ApplicationError("no")

    run = ran(_cancels(WAIT), scripted(fail_later))

    assert (run.result, seen) == (["ApplicationError", 4.0], [1])


def test_an_attempt_whose_run_has_ended_is_told() -> None:
    """Its next heartbeat finds nobody, and cancels it."""
    listener = Listener()

    async def body(does: Does) -> None:
        workflow.start_activity("work", start_to_close_timeout=90 * SECOND, heartbeat_timeout=5 * SECOND)
        await workflow.sleep(1)

    ran(body, scripted(listener))

    assert listener.told_at == 4.0


# --- the run ----------------------------------------------------------------------------------------------------------


async def _cancelled_at_2(server: SimulatedServer, handle: SimulatedHandle) -> None:
    await asyncio.sleep(2)
    handle.cancel("enough")
    handle.cancel("again")


def test_a_run_is_cancelled_in_its_timer() -> None:
    """The timer is cancelled, and the run closes as cancelled; a second request changes nothing."""

    async def body(does: Does) -> None:
        await workflow.sleep(100)

    run = ran(body, outside=_cancelled_at_2)

    assert isinstance(run.error, CancelledError)
    assert run.handle.closed_as == "cancelled"
    assert (run.kinds.count("WORKFLOW_EXECUTION_CANCEL_REQUESTED"), run.kinds.count("TIMER_CANCELED")) == (1, 1)


def test_a_run_may_go_on_after_its_cancellation() -> None:
    """Code that absorbs it completes, and can ask why."""

    async def body(does: Does) -> str | None:
        try:
            await workflow.sleep(100)
        except asyncio.CancelledError:
            await workflow.sleep(1)
        return workflow.cancellation_reason()

    run = ran(body, outside=_cancelled_at_2)

    assert (run.result, run.seconds) == ("enough", 3)


@pytest.mark.parametrize("kind", [TRY, WAIT])
def test_a_result_and_a_cancellation_can_come_in_one_task(kind: ActivityCancellationType) -> None:
    """Then the await raises a bare `asyncio.CancelledError`, although the activity is done."""

    async def body(does: Does) -> str:
        try:
            await workflow.execute_activity(
                "work",
                start_to_close_timeout=9 * SECOND,
                cancellation_type=kind,
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        except asyncio.CancelledError:
            return "a bare one"
        return "none"

    async def work() -> None:
        await asyncio.sleep(1)

    async def outside(server: SimulatedServer, handle: SimulatedHandle) -> None:
        await asyncio.sleep(0.5)
        (pending,) = handle.execution.activities.values()
        handle.execution.cancel_with(pending)

    run = ran(body, scripted(work), outside=outside)

    assert run.result == "a bare one"
    done = run.kinds.index("ACTIVITY_TASK_COMPLETED")
    assert "WORKFLOW_EXECUTION_CANCEL_REQUESTED" in run.kinds[done : run.kinds.index("WORKFLOW_TASK_STARTED", done)]
