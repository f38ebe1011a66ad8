"""Activities are retried, timed out and heard of as the server does it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutError, TimeoutType

from tests.testing.simulation.bodies import SECOND, Does, ran, scripted


async def _ok() -> str:
    return f"done in attempt {activity.info().attempt}"


async def _fail() -> None:
    raise ApplicationError("no", type="Transient")


async def _hang() -> None:
    await asyncio.sleep(10_000)


async def _beat_and_fail() -> None:
    activity.heartbeat("half-way")
    await _fail()


async def _beat_and_hang() -> None:
    activity.heartbeat("nearly")
    await _hang()


async def _details() -> list[Any]:
    return list(activity.info().heartbeat_details)


def _asks(**options: Any) -> Any:
    limits = {"start_to_close_timeout": 10 * SECOND} | options

    async def body(does: Does) -> Any:
        return await workflow.execute_activity("work", **limits)

    return body


def _why(error: BaseException | None) -> tuple[RetryState | None, str, object]:
    """Why no further attempt was made, and the type and the words of the cause."""
    assert isinstance(error, ActivityError)
    cause = error.cause
    kind = cause.type if isinstance(cause, TimeoutError | ApplicationError) else None
    return error.retry_state, getattr(cause, "message", ""), kind


def test_a_failed_attempt_is_made_again_after_a_growing_pause() -> None:
    """The pause starts at the policy's, is doubled by default, and stops at its maximum."""
    policy = RetryPolicy(initial_interval=2 * SECOND, maximum_interval=5 * SECOND)

    run = ran(_asks(retry_policy=policy), scripted(_fail, _fail, _fail, _fail, _ok))

    assert (run.result, run.seconds) == ("done in attempt 5", 2 + 4 + 5 + 5)


def test_retries_leave_no_events() -> None:
    """Only the last attempt's start is written, with its number and the failure before it."""
    run = ran(_asks(), scripted(_fail, _fail, _ok))

    assert [kind for kind in run.kinds if kind.startswith("ACTIVITY")] == [
        "ACTIVITY_TASK_SCHEDULED",
        "ACTIVITY_TASK_STARTED",
        "ACTIVITY_TASK_COMPLETED",
    ]
    started = run.events[run.kinds.index("ACTIVITY_TASK_STARTED")].activity_task_started_event_attributes
    assert (started.attempt, started.last_failure.message) == (3, "no")


def test_an_attempt_can_say_when_the_next_one_is_due() -> None:
    """``next_retry_delay`` takes the place of the policy's pause, once."""

    async def later() -> None:
        raise ApplicationError("later", next_retry_delay=timedelta(hours=3))

    run = ran(_asks(), scripted(later, _fail, _ok))

    assert run.seconds == 3 * 3600 + 2


def test_attempts_are_counted() -> None:
    """After as many attempts as the policy allows there is no further one."""
    run = ran(_asks(retry_policy=RetryPolicy(maximum_attempts=3)), scripted(_fail))

    assert _why(run.causes[0]) == (RetryState.MAXIMUM_ATTEMPTS_REACHED, "no", "Transient")
    assert run.seconds == 1 + 2


@pytest.mark.parametrize("declared", [True, False])
def test_what_is_final_is_not_tried_again(declared: bool) -> None:
    """Neither a failure that says so itself nor one whose type the policy names."""

    async def final() -> None:
        raise ApplicationError("never", type="Final", non_retryable=not declared)

    policy = RetryPolicy(non_retryable_error_types=["Final"] if declared else [])

    run = ran(_asks(retry_policy=policy), scripted(final))

    assert _why(run.causes[0]) == (RetryState.NON_RETRYABLE_FAILURE, "never", "Final")


def test_an_ordinary_exception_is_a_failure_of_its_class() -> None:
    """What an activity raises is tried again, and known by the name of its class."""

    async def bug() -> None:
        raise KeyError("amount")

    run = ran(_asks(retry_policy=RetryPolicy(maximum_attempts=1)), scripted(bug))

    assert _why(run.causes[0])[2] == "KeyError"


def test_an_activity_that_the_worker_does_not_have_fails() -> None:
    """It is tried again like any failure: another worker may have it."""
    run = ran(_asks(retry_policy=RetryPolicy(maximum_attempts=2)))

    assert _why(run.causes[0])[2] == "NotFoundError"


def test_an_attempt_that_takes_too_long_is_made_again() -> None:
    """Start-to-close: nobody waits for the first attempt any more, and what it says is not heard."""
    run = ran(_asks(), scripted(_hang, _ok))

    assert (run.result, run.seconds) == ("done in attempt 2", 10 + 1)


def test_the_last_attempt_that_takes_too_long_is_told() -> None:
    """The workflow hears which limit has passed, and that there were enough attempts."""
    run = ran(_asks(retry_policy=RetryPolicy(maximum_attempts=1)), scripted(_hang))

    assert _why(run.causes[0]) == (
        RetryState.MAXIMUM_ATTEMPTS_REACHED,
        "activity StartToClose timeout",
        TimeoutType.START_TO_CLOSE,
    )


def test_an_activity_that_nobody_takes_up_is_given_up() -> None:
    """Schedule-to-start passes where no worker polls the task queue, and there is no further attempt."""
    run = ran(_asks(task_queue="nobody", schedule_to_start_timeout=4 * SECOND), scripted(_ok))

    assert _why(run.causes[0]) == (
        RetryState.TIMEOUT,
        "activity ScheduleToStart timeout",
        TimeoutType.SCHEDULE_TO_START,
    )
    assert run.seconds == 4


def test_all_attempts_together_have_a_limit() -> None:
    """Schedule-to-close ends even a running attempt, and names the failure before it as the cause."""
    run = ran(_asks(schedule_to_close_timeout=8 * SECOND), scripted(_fail, _hang))

    state, words, kind = _why(run.causes[0])
    assert (state, kind) == (RetryState.TIMEOUT, TimeoutType.SCHEDULE_TO_CLOSE)
    assert words.startswith("Not enough time to schedule next retry")
    assert str(run.causes[2]) == "Transient: no"
    assert run.seconds == 8


def test_no_attempt_is_made_that_would_come_too_late() -> None:
    """A failure whose pause ends after schedule-to-close is the last one, at once."""
    policy = RetryPolicy(initial_interval=20 * SECOND)

    run = ran(_asks(schedule_to_close_timeout=8 * SECOND, retry_policy=policy), scripted(_fail))

    assert _why(run.causes[0]) == (RetryState.TIMEOUT, "no", "Transient")
    assert run.seconds == 0


def test_a_silent_attempt_is_made_again_and_knows_what_was_said() -> None:
    """Heartbeat time-out: the next attempt reads the details of the last heartbeat."""
    run = ran(_asks(heartbeat_timeout=3 * SECOND), scripted(_beat_and_hang, _details))

    assert (run.result, run.seconds) == (["nearly"], 3 + 1)


def test_the_details_of_a_heartbeat_outlive_a_failure() -> None:
    """What was said reaches the server before the failure does, and every later attempt."""
    run = ran(_asks(), scripted(_beat_and_fail, _fail, _details))

    assert run.result == ["half-way"]


def test_the_last_time_out_carries_the_details() -> None:
    """The workflow reads what the last heartbeat said, whichever limit has passed."""
    run = ran(_asks(retry_policy=RetryPolicy(maximum_attempts=1)), scripted(_beat_and_hang))

    assert isinstance(run.causes[1], TimeoutError)
    assert list(run.causes[1].last_heartbeat_details) == ["nearly"]


def test_a_lost_worker_is_noticed_by_the_limit() -> None:
    """An attempt that died with its worker says nothing; another one is made when its time is over."""

    async def lost() -> None:
        await asyncio.get_running_loop().create_future()

    run = ran(_asks(), scripted(lost, _ok))

    assert (run.result, run.seconds) == ("done in attempt 2", 10 + 1)


def test_an_attempt_knows_about_itself() -> None:
    """Its info says which attempt it is, of what, and when it began."""
    seen: list[activity.Info] = []

    async def look() -> None:
        seen.append(activity.info())
        await _fail()

    run = ran(_asks(retry_policy=RetryPolicy(maximum_attempts=2)), scripted(look))

    first, second = seen
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.started_time - first.started_time == SECOND
    assert (first.workflow_id, first.activity_type, first.workflow_type) == ("does", "work", "Does")
    assert first.workflow_run_id == run.handle.run_id
