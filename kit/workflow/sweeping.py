"""The sweeper: finds runs that were cut off, which could not undo anything themselves, and has them unwound.

A run that is terminated or times out runs no code again. What it leaves in the ledger looks like what a completed run
leaves, so how it ended is asked of the server: visibility tells which runs were cut off, the ledger what they left.

What may go wrong: a sweep that is ended half-way is made again by the next one; visibility may lag, so each sweep
looks a while back; a run that was started again since, or whose parent is open, is somebody's and is left alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from pydantic import Field
from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from kit.contract import Model
from kit.telemetry import Event, workflow_log
from kit.workflow.unwind import LIST_RETRY, LIST_TIMEOUT, start_listing
from kit.workflow.unwound import UNWIND_WORKFLOW, EffectsOf, UnwindRequest, unwind_id

SWEEP_WORKFLOW: Final = "kit.Sweep"
"""Type of the workflow that has cut-off runs unwound."""

FIND_ACTIVITY: Final = "kit.find_cut_off"
"""Name of the activity that finds them."""

PAGE: Final = 20
"""Runs whose effects are read at once."""

SWEEPER: Final = "sweeper"
"""Who asks for the unwinds."""


class SweepRequest(Model):
    """Unwind what was cut off.

    Attributes:
        window: How far back it looks for runs that closed.
        rest: How long a run must have been closed: whoever terminated it may want to start it again.
        query: Which runs, beside; a visibility query. ``None`` for all.
        limit: At most so many runs are looked at.
        pause: Between two unwinds: the systems of the service have other work to do.
    """

    window: timedelta = timedelta(days=7)
    rest: timedelta = timedelta(minutes=10)
    query: str | None = None
    limit: int = Field(default=1000, gt=0, le=1000)
    pause: timedelta = timedelta(milliseconds=200)


class CutOff(Model):
    """A run that was cut off.

    Attributes:
        saga: Its workflow id.
        run_id: The first execution's run id of its chain.
        entity: It lives for one entity, and what it applied long ago stands; only a person can tell the rest.
    """

    saga: str
    run_id: str
    entity: bool = False


class FindCutOff(Model):
    """Which cut-off runs are asked for.

    Attributes:
        since: Closed after this.
        until: Closed before this.
        query: As in `SweepRequest`.
        limit: As in `SweepRequest`.
    """

    since: datetime
    until: datetime
    query: str | None
    limit: int


class Swept(Model):
    """What a sweep has done; runs by their workflow ids.

    Attributes:
        looked_at: How many runs were found.
        unwinding: Whose unwind was started.
        left_alone: Which are somebody else's, and why.
    """

    looked_at: int = 0
    unwinding: list[str] = Field(default_factory=list)
    left_alone: dict[str, str] = Field(default_factory=dict)


@workflow.defn(name=SWEEP_WORKFLOW)
class SweepWorkflow:
    """Finds runs that were terminated or timed out and have left effects, and starts the unwind of each."""

    @workflow.run
    async def run(self, request: SweepRequest) -> Swept:
        """Sweep once."""
        now = workflow.now()
        find = FindCutOff(
            since=now - request.window, until=now - request.rest, query=request.query, limit=request.limit
        )
        found: list[CutOff] = await workflow.execute_activity(
            FIND_ACTIVITY,
            find,
            result_type=list[CutOff],
            start_to_close_timeout=LIST_TIMEOUT,
            retry_policy=LIST_RETRY,
            summary="Find the runs that were cut off",
        )
        swept = Swept(looked_at=len(found))
        for run in found:
            if run.entity:
                swept.left_alone[run.saga] = "it lives for an entity: unwind it by hand, if at all"
        sagas = [run for run in found if not run.entity]
        for start in range(0, len(sagas), PAGE):
            await self._page(sagas[start : start + PAGE], request, swept)
        log = workflow_log()
        log.info(
            Event.SWEPT, looked_at=swept.looked_at, unwinding=len(swept.unwinding), left_alone=len(swept.left_alone)
        )
        return swept

    async def _page(self, runs: list[CutOff], request: SweepRequest, swept: Swept) -> None:
        asks = [EffectsOf(saga=run.saga, run_id=run.run_id, brief=True) for run in runs]
        for run, left in zip(
            runs, await start_listing(asks, summary=f"Read the effects of {len(asks)} runs"), strict=True
        ):
            if left.refused is not None:
                swept.left_alone[run.saga] = left.refused
            elif not left.nothing_to_do and await _start(run):
                swept.unwinding.append(run.saga)
                await workflow.sleep(request.pause)


async def _start(run: CutOff) -> bool:
    """Start the unwind of a run. Returns whether it was: one may be under way already."""
    request = UnwindRequest(saga=run.saga, run_id=run.run_id, who=SWEEPER, why="it was cut off")
    try:
        await workflow.start_child_workflow(
            UNWIND_WORKFLOW,
            request,
            id=unwind_id(run.saga),
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary=f"Unwind {run.saga}: it was cut off",
        )
    except WorkflowAlreadyStartedError:
        return False
    return True
