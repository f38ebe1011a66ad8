"""One scenario in the simulation: its world, its server, its runs, and what its faults may do to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final, NoReturn, Protocol

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import OutboundInterceptor, StartWorkflowInput
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import DataConverter
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, WorkflowRunner

from kit.testing.engines.concluding import WORKFLOW_ID, Stand, again_id
from kit.testing.engines.protocol import Cut
from kit.testing.engines.simulation.activity import Activity
from kit.testing.engines.simulation.answers import Answers
from kit.testing.engines.simulation.attempt import current_activity
from kit.testing.engines.simulation.bridge import workflow_type
from kit.testing.engines.simulation.clock import VirtualLoop
from kit.testing.engines.simulation.execution import Execution
from kit.testing.engines.simulation.handle import SimulatedHandle
from kit.testing.engines.simulation.knowing import Foreseen
from kit.testing.engines.simulation.server import SimulatedServer
from kit.testing.faults import Scenario
from kit.testing.runs import WORKFLOW
from kit.testing.wire import Wire, WorkerLost
from kit.testing.world import Subject
from kit.worker import ReliabilityPlugin
from kit.worker.plugin import OWN_WORKFLOWS
from kit.workflow import DECIDE_UPDATE, SUMMARY_QUERY, TASKS_QUERY, Decision, RunSummary, Task
from kit.workflow.unwound import UNWIND_WORKFLOW, UnwindRequest, unwind_id

MOST_ATTEMPTS: Final = 500
"""After so many attempts a scenario that still tries counts as stuck: it could try for years, as time costs nothing."""

MOST_TASKS: Final = 5_000
"""After so many workflow tasks it counts as stuck: a timer that is set again and again."""


class Looking(Protocol):
    """Looks at the scene whenever a workflow task is done, and between two attempts of an activity."""

    cut: Cut | None

    def look(self, scene: Scene, latest: Execution | None) -> None:
        """A workflow task of the ``latest`` run is done; or, where there is none, an attempt that will be repeated."""


class Scene:
    """One scenario, from the building of its world to its end. It is what faults control.

    Args:
        subject: What is under faults.
        scenario: Which.
        cached: Whether the worker remembers runs from one workflow task to the next.
        runner: The SDK's sandbox, or none.
        foresight: May stop it where the rest is known.
        answers: What workflow code is known to answer.
    """

    def __init__(
        self,
        subject: Subject,
        scenario: Scenario,
        *,
        cached: bool = True,
        runner: WorkflowRunner | None = None,
        foresight: Looking | None = None,
        answers: Answers | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise TypeError("a scene lives on a VirtualLoop: call run_virtually(main())")
        self.loop = loop
        self.subject = subject
        self.wire = Wire(scenario, self)
        self.world = subject.build(self.wire)
        self._plugin = ReliabilityPlugin(
            ledger=self.wire.ledger(self.world.ledger), connectors=self.world.connectors, holds=self.wire.watch()
        )
        self._working = _Working(self._stir)
        self._workflow = subject.workflow
        self._tasks = 0
        self._foresight = foresight
        self._closing = AsyncExitStack()
        self._waits: asyncio.Future[None] | None = None
        # Nothing else is asked of a client and a worker here.
        nobody: Any = {"data_converter": DataConverter.default, "interceptors": []}
        client: Any = self._plugin.configure_client(nobody)
        options: Any = {
            "client": _Client(),
            "workflows": [subject.workflow, *subject.others],
            "interceptors": [self.wire.interceptor()],
            "workflow_runner": runner,
        }
        worker: Any = self._plugin.configure_worker(options)
        self.activities: Sequence[Any] = worker["activities"]
        self.server = SimulatedServer(
            workflows=worker["workflows"],
            activities=worker["activities"],
            data_converter=client["data_converter"],
            interceptors=[*worker["interceptors"], self._working],
            workflow_failure_exception_types=worker["workflow_failure_exception_types"],
            workflow_runner=worker.get("workflow_runner") if runner is not None else None,
            seed=scenario.seed,
            cached=cached,
            answers=answers,
            on_boundary=self._boundary,
        )
        self.server.before_attempt = self._before
        self.server.on_scheduled = self._tell_scheduled
        self.server.on_ended = self._tell_ended
        self.server.on_repeat = self._between
        self._starts: OutboundInterceptor = _Start(self.server)
        for interceptor in reversed(client["interceptors"]):
            self._starts = interceptor.intercept_client(self._starts)
        self._runs: list[SimulatedHandle] = []

    # --- its life ---------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Scene:
        await self.world.open()
        self._closing.push_async_callback(self.world.close)
        opened = self._plugin.run_context
        if opened is not None:
            await self._closing.enter_async_context(opened())
        self.loop.on_idle = self._stir
        await self._start(WORKFLOW_ID)
        return self

    def resume(self, scenario: Scenario, foresight: Looking) -> None:
        """Go on as another scenario, which has been the same until now."""
        self.wire.expect(scenario)
        self._foresight = foresight
        self._waits = None

    async def __aexit__(self, *_: object) -> None:
        self.loop.on_idle = None
        self.server.shutdown()
        await self._closing.aclose()

    async def _start(self, workflow_id: str) -> None:
        self._runs.append(await self._starts.start_workflow(_start(self.subject, workflow_id, self.server)))  # type: ignore[arg-type]  # ours

    @property
    def calm(self) -> bool:
        """Whether no attempt is at work, or about to report. Those that wait for their time are not."""
        return self.server.alive == 0

    @property
    def version(self) -> str:
        """Whose code runs the workflow."""
        return f"{self._workflow.__module__}.{self._workflow.__qualname__}"

    # --- what faults control ----------------------------------------------------------------------------------------

    def now(self) -> timedelta:
        """See `Controls`."""
        return timedelta(microseconds=round(self.loop.time() * 1e6))

    async def cancel(self) -> None:
        """See `Controls`."""
        self._runs[0].cancel()

    async def cancel_with_result(self) -> None:
        """See `Controls`."""
        activity = self._working.current()
        if activity is not None:
            self._runs[0].execution.cancel_with(activity)

    async def terminate(self) -> None:
        """See `Controls`."""
        self._runs[0].terminate("terminated by the scenario")

    async def start_again(self) -> None:
        """See `Controls`."""
        await self._start(again_id(len(self._runs)))

    async def hand_over(self) -> None:
        """See `Controls`."""
        self._workflow = self.subject.previous or self.subject.workflow
        self.server.deploy([self._workflow, *self.subject.others, *OWN_WORKFLOWS])

    async def die(self) -> NoReturn:
        """See `Controls`."""
        raise WorkerLost("nothing is reported")

    def _before(self, run: Execution, activity: Activity) -> bool:
        """Whether a cancellation strikes before an attempt; then the run's code hears of it first."""
        if self.wire.strikes_before(activity.asked.activity_type.name) is None:
            return False
        self._runs[0].cancel()
        self._after_hearing(run, activity)
        return True

    def _after_hearing(self, run: Execution, activity: Activity) -> None:
        if self._runs[0].execution.task_due:
            self.loop.call_soon(self._after_hearing, run, activity)
        else:
            self.server.attempt(run, activity, asked=True)

    # --- its story --------------------------------------------------------------------------------------------------

    def _tell_scheduled(self, run: Execution, event: HistoryEvent) -> None:
        name = event.activity_task_scheduled_event_attributes.activity_type.name
        self.wire.tell(WORKFLOW, f"{self._of(run)}asks for {name}", source=run.line)

    def _tell_ended(self, run: Execution, activity: Activity) -> None:
        how = run.log.events[-1]
        for event in reversed(run.log.events):
            if event.event_type in _ENDS:
                how = event
                break
        said = _ENDS.get(how.event_type, "ended")
        name = activity.asked.activity_type.name
        self.wire.tell(WORKFLOW, f"{self._of(run)}hears that {name} {said}", source=run.line)

    def _of(self, run: Execution) -> str:
        return "" if run.id == WORKFLOW_ID else f"{run.id}: "

    # --- how it stands ----------------------------------------------------------------------------------------------

    async def stand(self) -> Sequence[Stand]:
        """See `Underway`."""
        why = await self._until_rest()
        return [self._stand(self.server.handle(run.id), why) for run in self._runs]

    async def _until_rest(self) -> str:
        """Wait until nothing more happens by itself. Returns why, if that is not as it should be."""
        while True:
            if self._foresight is not None and self._foresight.cut is not None:
                raise Foreseen(self._foresight.cut)
            if (why := self._rest()) is not None:
                return why
            self._waits = self.loop.create_future()
            await self._waits

    def unwinding(self, workflow_id: str) -> bool:
        """See `Underway`."""
        return self.server.knows(unwind_id(workflow_id))

    async def unwind(self, workflow_id: str) -> Stand:
        """See `Underway`."""
        if not self.unwinding(workflow_id):
            request = UnwindRequest(saga=workflow_id, who="sweep", why="it was terminated")
            self.server.start(UNWIND_WORKFLOW, request, id=unwind_id(workflow_id))
        why = await self._until_rest()
        return self._stand(self.server.handle(unwind_id(workflow_id)), why)

    async def decide(self, workflow_id: str, decision: Decision) -> None:
        """See `Underway`."""
        await self.server.handle(workflow_id).execute_update(DECIDE_UPDATE, decision)

    def tasks_of(self, run: Execution) -> list[Task]:
        """The questions of an open run, answered or not; none of one that puts no questions to people."""
        return self._open_tasks(SimulatedHandle(self.server, run)) if self._asks(run) else []

    def _stand(self, run: SimulatedHandle, why: str) -> Stand:
        history = run.execution.log.proto()
        stuck = run.stuck or (why if run.execution.busy else None)
        if not self._asks(run.execution) or run.stuck is not None:
            return Stand(workflow_id=run.id, history=history, stuck=None if not run.open else stuck or _NOBODY)
        tasks = self._open_tasks(run)
        below = tuple(self._stand(SimulatedHandle(self.server, child), why) for child in self._children(run.execution))
        if run.open and stuck is None and not any(task.open for task in tasks) and not any(c.open for c in below):
            stuck = _NOBODY
        summary = run.query(SUMMARY_QUERY, type=RunSummary)
        return Stand(workflow_id=run.id, history=history, tasks=tuple(tasks), summary=summary, stuck=stuck, below=below)

    def _asks(self, run: Execution) -> bool:
        """Whether a run's workflow is one of those that put questions to people."""
        return hasattr(self.server.worker.workflow(run.type), "kit_tasks")

    def _children(self, run: Execution) -> list[Execution]:
        """The open children of a run."""
        return [each for each in self.server.executions if each.open and each.parent and each.parent.execution is run]

    def _open_tasks(self, run: SimulatedHandle) -> list[Task]:
        return run.query(TASKS_QUERY, type=list[Task]) if run.open else []

    def _rest(self) -> str | None:
        """Why nothing more happens by itself; ``None`` while something does."""
        if self._working.begun > MOST_ATTEMPTS:
            return f"it still tries after {MOST_ATTEMPTS} attempts"
        if self._tasks > MOST_TASKS:
            return f"it still goes on after {MOST_TASKS} workflow tasks"
        if self._dry:
            return _NOBODY
        if self._working.running or any(run.busy for run in self.server.executions):
            return None
        at_rest = all(self._waits_for_person(run) for run in self.server.executions if run.open)
        return "" if at_rest else None

    def _waits_for_person(self, run: Execution) -> bool:
        if run.stuck is not None:
            return True
        if not self._asks(run):
            return False
        asked = any(task.open for task in self._open_tasks(SimulatedHandle(self.server, run)))
        return asked or any(self._waits_for_person(child) for child in self._children(run))

    _dry = False

    def _boundary(self, run: SimulatedHandle) -> None:
        self._tasks += 1
        self._look(run.execution)
        self._stir()

    def _between(self) -> None:
        self._look(None)
        self._stir()

    def _look(self, latest: Execution | None) -> None:
        # Once somebody repairs, it is judged: what comes of it is no longer told by how it stands.
        if self._foresight is not None and not self.wire.well:
            self._foresight.look(self, latest)

    def _stir(self, *, idle: bool = False) -> bool:
        """Something has happened, or nothing more will; returns whether somebody waited for it."""
        waits, self._waits = self._waits, None
        if waits is None:
            return False
        self._dry = idle
        waits.set_result(None)
        return True


_NOBODY: Final = "it waits for what nobody will bring"

_ENDS: Final = {12: "is done", 13: "failed", 14: "timed out", 16: "is cancelled"}


class _Client:
    """Stands where a worker's plugin asks for its client's interceptors."""

    def config(self, *, active_config: bool = False) -> dict[str, Any]:
        return {"interceptors": []}


class _Start(OutboundInterceptor):
    """The innermost of a client's interceptors: starts workflows on the simulated server."""

    def __init__(self, server: SimulatedServer) -> None:  # deliberately not the base class's, which wants a next one
        self._server = server

    async def start_workflow(self, input: StartWorkflowInput) -> SimulatedHandle:  # type: ignore[override]  # it has the same verbs
        return self._server.start(
            input.workflow,
            *input.args,
            id=input.id,
            memo=input.memo,
            static_summary=input.static_summary,
            static_details=input.static_details,
        )


def _start(subject: Subject, workflow_id: str, server: SimulatedServer) -> StartWorkflowInput:
    return StartWorkflowInput(
        workflow=workflow_type(subject.workflow),
        args=[subject.request],
        id=workflow_id,
        task_queue=server.task_queue,
        execution_timeout=None,
        run_timeout=None,
        task_timeout=None,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.UNSPECIFIED,
        retry_policy=None,
        cron_schedule="",
        memo=None,
        search_attributes=None,
        start_delay=None,
        headers={},
        start_signal=None,
        start_signal_args=[],
        static_summary=None,
        static_details=None,
        ret_type=None,
        rpc_metadata={},
        rpc_timeout=None,
        request_eager_start=False,
        priority=Priority.default,
    )


class _Working(Interceptor):
    """Stands innermost around every activity: counts what is at work. An attempt that died with its worker is not."""

    def __init__(self, stirred: Callable[[], Any]) -> None:
        self._stirred = stirred
        self.running = 0
        self.begun = 0

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Counted(next, self)

    def current(self) -> Activity | None:
        """The activity whose attempt is asking."""
        return current_activity.get(None)


class _Counted(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, working: _Working) -> None:
        super().__init__(next)
        self._working = working

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        working = self._working
        working.running += 1
        working.begun += 1
        try:
            return await super().execute_activity(input)
        finally:
            working.running -= 1
            working._stirred()
