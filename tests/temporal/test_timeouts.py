"""Attempts are shortened by the worker's interceptor, and by nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal.timeouts import ShorterAttempts


@activity.defn
async def nothing() -> None:
    """Do nothing."""


@workflow.defn
class ThreeTimeouts:
    """Schedules an activity with a long timeout, a short one, and none."""

    @workflow.run
    async def run(self) -> None:
        """Schedule them."""
        minute = timedelta(minutes=1)
        await workflow.execute_activity(nothing, start_to_close_timeout=minute, schedule_to_close_timeout=minute)
        await workflow.execute_activity(nothing, start_to_close_timeout=timedelta(seconds=1))
        await workflow.execute_activity(nothing, schedule_to_close_timeout=minute)


async def run(client: Client, *interceptors: ShorterAttempts) -> WorkflowHistory:
    """Run the workflow under a worker with these interceptors."""
    async with Worker(
        client,
        task_queue="timeouts",
        workflows=[ThreeTimeouts],
        activities=[nothing],
        interceptors=interceptors,
        build_id="tests",
    ):
        handle = await client.start_workflow(
            ThreeTimeouts.run, id=f"timeouts-{len(interceptors)}", task_queue="timeouts"
        )
        await handle.result()
        return await handle.fetch_history()


def timeouts(history: WorkflowHistory) -> list[tuple[float, float]]:
    """Start-to-close and schedule-to-close of each activity, in seconds."""
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    return [
        (
            one.start_to_close_timeout.ToTimedelta().total_seconds(),
            one.schedule_to_close_timeout.ToTimedelta().total_seconds(),
        )
        for one in scheduled
    ]


@pytest.mark.slow
async def test_longer_attempts_are_cut_and_shorter_ones_kept(server: WorkflowEnvironment) -> None:
    """The cap shortens what is longer and what has no timeout; the budget of all attempts stays."""
    capped = timeouts(await run(server.client, ShorterAttempts(timedelta(seconds=3))))
    plain = timeouts(await run(server.client))

    assert [start for start, _ in capped] == [3.0, 1.0, 3.0]
    assert [start for start, _ in plain] == [60.0, 1.0, 60.0]
    assert [total for _, total in capped] == [total for _, total in plain]
