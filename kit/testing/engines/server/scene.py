"""One scenario on a real server: its workers, its runs, and what its faults may do to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

import temporalio.api.activity.v1
import temporalio.api.common.v1
import temporalio.api.taskqueue.v1
import temporalio.api.workflowservice.v1
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio import activity
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from kit.testing.engines.concluding import WORKFLOW_ID, Stand, again_id
from kit.testing.engines.server.attempts import HANGING, Answers, AtWork, Counting, Scheduling, struck
from kit.testing.engines.server.watching import Watch
from kit.testing.faults import FaultKind, Scenario
from kit.testing.wire import Wire
from kit.testing.wire.controls import never
from kit.testing.world import Subject
from kit.worker import ReliabilityPlugin, current_call
from kit.workflow import DECIDE_UPDATE, SUMMARY_QUERY, TASKS_QUERY, Decision, RunSummary, SagaWorkflow, Task
from kit.workflow.unwound import UNWIND_WORKFLOW, UnwindRequest, unwind_id

FAILING: Final = timedelta(seconds=3)
"""How long a workflow task may fail until the run counts as stuck. Real time: its retries are never skipped."""

SILENCE: Final = timedelta(seconds=30)
"""How long nothing at all may happen until the run counts as stuck. Real time; longer than an attempt that hangs."""

MOST_ATTEMPTS: Final = 500
"""After so many attempts a run that still tries counts as stuck: back-offs are skipped, so it could try for years."""

TICK: Final = timedelta(milliseconds=20)
"""How often the server is asked what it does not tell by itself. Real time."""


class Scene:
    """One scenario, from the building of its world to the end of its workers. It is what faults control.

    Args:
        client: Of the scenario's own namespace.
        subject: What is under faults.
        scenario: Which.
        queue: A task queue of its own.
        attempt: The start-to-close timeout of attempts that may hang.
        sandboxed: Whether the workflow runs in the SDK's sandbox.
    """

    def __init__(
        self, client: Client, *, subject: Subject, scenario: Scenario, queue: str, attempt: timedelta, sandboxed: bool
    ) -> None:
        self.subject = subject
        self.wire = Wire(scenario, self)
        self.world = subject.build(self.wire)
        self.at_work = AtWork(self._stir, frozen=struck(scenario, frozenset({FaultKind.STALLED})))
        plugin = ReliabilityPlugin(
            ledger=self.wire.ledger(self.world.ledger),
            connectors=self.world.connectors,
            holds=self.wire.watch(),
            clock=self.at_work.clock,
        )
        config = client.config()
        config["plugins"] = [plugin]
        self._client = Client(**config)
        self._queue = queue
        self._gate = f"{queue}-gate"
        self._gated = struck(scenario, frozenset({FaultKind.CANCEL_BEFORE}))
        self._scheduling = Scheduling(
            short=struck(scenario, HANGING), timeout=attempt, gated=self._gated, gate=self._gate
        )
        self._runner = SandboxedWorkflowRunner() if sandboxed else UnsandboxedWorkflowRunner()
        self._workflow = subject.workflow
        self._deciding: Worker | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._watches: list[Watch] = []
        self._beside: dict[str, Watch] = {}
        """Children and unwinds, by workflow id."""
        self._stirred = asyncio.Event()
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._alive_at = 0.0
        self._acting = Worker(
            self._client,
            task_queue=queue,
            interceptors=[
                Answers(self.at_work),
                self.wire.interceptor(),
                Counting(self.at_work, begins=self._begins),
            ],
            build_id="sweep",  # else the SDK hashes the code of every loaded module for one
        )

    # -- its life --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Scene:
        await self.world.open()
        self._tasks.append(asyncio.create_task(self._acting.run()))
        self._decide_by(self._workflow)
        try:
            await self._start(WORKFLOW_ID)
        except RPCError:
            await self.__aexit__()
            raise
        if self._gated:
            self._keeper = asyncio.create_task(self._keep_gate())
            self._tasks.append(self._keeper)
        return self

    async def __aexit__(self, *_: object) -> None:
        for watch in self._all:
            if not watch.closed:
                await _unless_closed(watch.handle.terminate(reason="the scenario is over"))
            await watch.close()
        if self._keeper is not None:
            self._keeper.cancel()
        await self._acting.shutdown()
        if self._deciding is not None:
            await self._deciding.shutdown()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.world.close()

    async def _start(self, workflow_id: str) -> None:
        handle = await self._client.start_workflow(
            self.subject.workflow.run,  # type: ignore[attr-defined] # every workflow has one
            self.subject.request,
            id=workflow_id,
            task_queue=self._queue,
            # One that a disturbed scenario has left behind is in nobody's way.
            id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
        )
        self._watches.append(Watch(self._client, handle, self._stir))

    def _decide_by(self, workflow: type) -> None:
        """Let a new worker, which remembers nothing, run the workflow's code."""
        self._workflow = workflow
        self._deciding = Worker(
            self._client,
            task_queue=self._queue,
            workflows=[workflow, *self.subject.others],
            interceptors=[self._scheduling],
            workflow_runner=self._runner,
            no_remote_activities=True,
            build_id="sweep",
        )
        self._tasks.append(asyncio.create_task(self._deciding.run()))

    async def _decide_no_more(self) -> None:
        if self._deciding is not None:
            await self._deciding.shutdown()
            self._deciding = None

    # -- what faults control ---------------------------------------------------------------------------------------

    def now(self) -> timedelta:
        """See `Controls`."""
        call = current_call.get()
        known = [watch.now for watch in self._watches] + ([call.clock()] if call is not None else [])
        self._latest = max(self._latest, *known) if known else self._latest
        own = self._watches[0].events if self._watches else []
        return max(self._latest - own[0].event_time.ToDatetime(tzinfo=UTC), timedelta(0)) if own else timedelta(0)

    async def cancel(self) -> None:
        """See `Controls`."""
        await _unless_closed(self._watches[0].handle.cancel())

    async def terminate(self) -> None:
        """See `Controls`."""
        await _unless_closed(self._watches[0].handle.terminate(reason="terminated by the scenario"))

    async def start_again(self) -> None:
        """See `Controls`."""
        await self._start(again_id(len(self._watches)))

    async def hand_over(self) -> None:
        """See `Controls`."""
        await self._decide_no_more()
        self._decide_by(self.subject.previous or self.subject.workflow)

    async def die(self) -> NoReturn:
        """See `Controls`."""
        await never()

    async def cancel_with_result(self) -> None:
        """See `Controls`. While nobody takes workflow tasks up, the server collects what the next one will tell."""
        await self._decide_no_more()
        await self.cancel()
        self._tasks.append(asyncio.create_task(self._decide_after(activity.info())))

    async def _decide_after(self, info: activity.Info) -> None:
        watch = next(watch for watch in self._watches if watch.handle.id == info.workflow_id)
        while not (watch.closed or watch.ended(info.activity_id)):
            await self._stir_or(TICK)
        self._decide_by(self._workflow)

    # -- the gate --------------------------------------------------------------------------------------------------

    async def _begins(self, info: activity.Info) -> None:
        if info.activity_type in self._gated:  # its next attempt waits at the gate again
            await self._move(info.workflow_id or "", info.activity_id, self._gate)

    async def _keep_gate(self) -> None:
        """Let attempts pass one by one, and cancel the run before that of which the scenario says so."""
        passed: set[tuple[str, str, int]] = set()
        while True:
            for watch in self._watches:
                described = (await watch.handle.describe()).raw_description
                for pending in described.pending_activities:
                    which = (watch.handle.id, pending.activity_id, pending.attempt)
                    waits = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
                    if not waits or pending.activity_type.name not in self._gated or which in passed:
                        continue
                    passed.add(which)
                    if self.wire.strikes_before(pending.activity_type.name) is not None:
                        await self._cancel_and_tell()
                    await self._move(watch.handle.id, pending.activity_id, self._queue)
            await asyncio.sleep(TICK.total_seconds())

    async def _cancel_and_tell(self) -> None:
        """Cancel the run, and wait until its code has heard of it."""
        own = self._watches[0]
        await self.cancel()
        asked, told = (
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED,
            EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
        )
        while not own.closed and not ((since := own.seen(asked)) and own.seen(told, after=since)):
            await self._stir_or(TICK)

    async def _move(self, workflow_id: str, activity_id: str, queue: str) -> None:
        """Move an activity's next attempt to another task queue; it need not be there any more."""
        request = temporalio.api.workflowservice.v1.UpdateActivityOptionsRequest(
            namespace=self._client.namespace,
            execution=temporalio.api.common.v1.WorkflowExecution(workflow_id=workflow_id),
            id=activity_id,
            activity_options=temporalio.api.activity.v1.ActivityOptions(
                task_queue=temporalio.api.taskqueue.v1.TaskQueue(name=queue)
            ),
            update_mask=FieldMask(paths=["task_queue.name"]),
        )
        await _unless_closed(self._client.workflow_service.update_activity_options(request))

    # -- how it stands ---------------------------------------------------------------------------------------------

    async def stand(self) -> Sequence[Stand]:
        """See `Underway`."""
        stuck = await self._until_rest()
        return [await self._stand(watch, stuck) for watch in self._watches]

    def unwinding(self, workflow_id: str) -> bool:
        """See `Underway`."""
        return unwind_id(workflow_id) in self._beside

    async def unwind(self, workflow_id: str) -> Stand:
        """See `Underway`."""
        id = unwind_id(workflow_id)
        if id not in self._beside:
            handle = await self._client.start_workflow(
                UNWIND_WORKFLOW,
                UnwindRequest(saga=workflow_id, who="sweep", why="it was terminated"),
                id=id,
                task_queue=self._queue,
                id_conflict_policy=WorkflowIDConflictPolicy.TERMINATE_EXISTING,
            )
            self._beside[id] = Watch(self._client, handle, self._stir)
        return await self._stand(self._beside[id], await self._until_rest())

    async def _until_rest(self) -> dict[str, str]:
        """Wait until nothing more happens by itself. Returns why, for each run that is stuck."""
        stuck = await self._rest()
        for watch in self._all:
            for activity_id, attempt in watch.timed_out():
                self.at_work.timed_out(watch.run_id, activity_id, attempt)
        return stuck

    @property
    def _all(self) -> list[Watch]:
        """Every run of the scenario that is known here; children are as soon as their parents have asked for them."""
        for watch in (*self._watches, *self._beside.values()):
            for child in watch.children.values():
                if child not in self._beside:
                    handle = self._client.get_workflow_handle(child)
                    self._beside[child] = Watch(self._client, handle, self._stir)
        return [*self._watches, *self._beside.values()]

    def _at_rest_below(self, watch: Watch) -> bool:
        """Whether every child that a run waits for is still open: of the end of any other it is about to hear."""
        return all(child in self._beside and not self._beside[child].closed for child in watch.children.values())

    async def decide(self, workflow_id: str, decision: Decision) -> None:
        """See `Underway`."""
        await self._client.get_workflow_handle(workflow_id).execute_update(DECIDE_UPDATE, decision, result_type=Task)

    async def _stand(self, watch: Watch, stuck: Mapping[str, str]) -> Stand:
        why = stuck.get(watch.handle.id)
        own = watch in self._watches
        if why is not None or (own and not issubclass(self._workflow, SagaWorkflow)):
            return Stand(workflow_id=watch.handle.id, history=watch.history, stuck=why)
        tasks: list[Task] = [] if watch.closed else await watch.handle.query(TASKS_QUERY, result_type=list[Task])
        below = [await self._stand(self._beside[child], stuck) for child in watch.children.values()]
        asked = any(task.open for task in tasks) or any(child.open for child in below)
        return Stand(
            workflow_id=watch.handle.id,
            history=watch.history,
            tasks=tuple(tasks),
            summary=await watch.handle.query(SUMMARY_QUERY, result_type=RunSummary),
            stuck=None if watch.closed or asked else "it waits for what nobody will bring",
            below=tuple(below),
        )

    async def _rest(self) -> dict[str, str]:
        """Wait until nothing more happens by itself. Returns why, for each run that is stuck."""
        clock = asyncio.get_running_loop().time
        self._alive_at = clock()
        failing_since: dict[str, float] = {}
        while True:
            self._raise_what_broke()
            stuck: dict[str, str] = {}
            every = self._all
            for watch in every:
                if watch.failing is None or watch.closed:
                    failing_since.pop(watch.handle.id, None)
                elif clock() - failing_since.setdefault(watch.handle.id, clock()) > FAILING.total_seconds():
                    stuck[watch.handle.id] = watch.failing
            busy = [
                watch
                for watch in every
                if watch.handle.id not in stuck and not (self._at_rest_below(watch) and await watch.at_rest())
            ]
            if not busy and not self.at_work.running:
                return stuck
            why = ""
            if clock() - self._alive_at > SILENCE.total_seconds():
                why = f"nothing has happened for {SILENCE.total_seconds():.0f} s"
            elif self.at_work.begun > MOST_ATTEMPTS:
                why = f"it still tries after {MOST_ATTEMPTS} attempts"
            if why:
                return stuck | {watch.handle.id: why for watch in busy}
            await self._stir_or(TICK)

    def _raise_what_broke(self) -> None:
        """Say what is wrong with the engine itself: a worker that ended, a server that is gone."""
        for task in (*self._tasks, *(watch.following for watch in (*self._watches, *self._beside.values()))):
            if task.done() and not task.cancelled():
                task.result()

    def _stir(self) -> None:
        self._alive_at = asyncio.get_running_loop().time()
        self._stirred.set()

    async def _stir_or(self, patience: timedelta) -> None:
        """Wait until something happens, or for a while."""
        self._stirred.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience.total_seconds()):
                await self._stirred.wait()


async def _unless_closed(call: Any) -> None:
    """Ask the server for something that a closed run has no use for."""
    try:
        await call
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
