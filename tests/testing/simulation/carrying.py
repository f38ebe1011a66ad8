"""Carries plans out: in the simulation, and on the real server. Both give `Facts`, in which they must agree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory, WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from kit.testing import start_time_skipping
from kit.testing.engines.simulation import SimulatedHandle, SimulatedServer
from kit.testing.engines.simulation.issued import COMMANDED
from tests.testing.simulation.planner import Stimulus
from tests.testing.simulation.plans import Diary, Op, Plan, diaries, do, story

QUEUE: Final = "plans"

AT_ONCE: Final = 40
"""How many plans the real server carries out side by side: more only make each slower."""

PATIENCE: Final = timedelta(minutes=1)
"""How long the real server may take for one plan."""

THROTTLE: Final = timedelta(seconds=0.2)
"""How long the real worker holds heartbeats back at most: so soon an activity hears that it is cancelled."""

_ASKED: Final = {"refused, then signal": "bad", "failed, then signal": "fail"}

Made = tuple[list[Op], list[Stimulus]]

Facts = dict[str, Any]
"""The commands of each run, the answers to those outside, the outcome, and what each attempt of an activity saw."""


@dataclass(frozen=True, slots=True)
class _Outside:
    """What those outside do with a run."""

    workflow_id: str
    diary: Diary
    closed: Awaitable[Any]
    signal: Callable[[str], Awaitable[None]]
    update: Callable[[str], Awaitable[Any]]
    query: Callable[[], Awaitable[Any]]
    cancel: Callable[[], Awaitable[None]]
    terminate: Callable[[], Awaitable[None]]

    async def stimulate(self, stimuli: Sequence[Stimulus]) -> list[Any]:
        """Do what the plan wants, each time the workflow holds; returns what was answered."""
        answers: list[Any] = []
        for place, (verb, word) in enumerate(stimuli, start=1):
            if not await self.diary.told(f"{self.workflow_id} holds {place}", unless=self.closed):
                break
            match verb:
                case "cancel":
                    await self.cancel()
                    continue
                case "terminate":
                    answers.append(await self.query())
                    await self.terminate()
                    continue
                case "signal once it begins":
                    await self.diary.told(f"{self.workflow_id} begins {word}", unless=self.closed)
                case "signal":
                    answers.append(await self.query())
                case _:
                    answers.append(await self._updated(_ASKED.get(verb, word)))
            if verb != "update":
                await self.signal(word)
        return answers

    async def _updated(self, word: str) -> Any:
        try:
            return await self.update(word)
        except WorkflowUpdateFailedError as error:
            return story(error.cause)


def _facts(outside: _Outside, histories: Sequence[WorkflowHistory], answers: list[Any], outcome: Any) -> Facts:
    """With the workflow's id taken out."""
    commands = {
        f"{history.workflow_id} {number}": [_told(event) for event in history.events if event.event_type in COMMANDED]
        for number, history in enumerate(histories)
    }
    family = {history.workflow_id for history in histories}
    attempts = {name: sorted(seen) for name, seen in sorted(outside.diary.attempts.items()) if name in family}
    facts = {"commands": commands, "answers": answers, "outcome": outcome, "attempts": attempts}
    return json.loads(json.dumps(facts, default=str).replace(outside.workflow_id, "plan"))  # type: ignore[no-any-return]  # a dict


def _told(event: HistoryEvent) -> str:
    """A command in words."""
    field = event.WhichOneof("attributes") or ""
    attributes = getattr(event, field)
    names = [
        str(getattr(attributes, name))
        for name in ("activity_id", "timer_id", "workflow_id", "marker_name", "signal_name")
        if hasattr(attributes, name)
    ]
    return " ".join([field.removesuffix("_event_attributes"), *names])


async def _outcome(handle: SimulatedHandle | WorkflowHandle[Any, Any]) -> Any:
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        return story(error.cause)


# --- in the simulation ------------------------------------------------------------------------------------------------


async def simulated(
    made: Made, *, workflow_id: str = "plan", cached: bool = True, seed: int = 0
) -> tuple[Facts, list[WorkflowHistory]]:
    """Carry a plan out in the simulation; also returns the histories of all runs it led to."""
    plan, stimuli = made
    diary = Diary()
    diaries.append(diary)
    server = SimulatedServer(workflows=[Plan], activities=[do], cached=cached, seed=seed)
    handle = server.start(Plan, plan, id=workflow_id)

    async def signal(word: str) -> None:
        handle.signal(Plan.tell, word)

    async def update(word: str) -> Any:
        return await handle.execute_update(Plan.ask, word)

    async def query() -> Any:
        return handle.query(Plan.where)

    async def cancel() -> None:
        handle.cancel()

    async def terminate() -> None:
        handle.terminate("enough")

    closed = handle.execution.closed
    outside = _Outside(workflow_id, diary, closed, signal, update, query, cancel, terminate)
    answers = await outside.stimulate(stimuli)
    outcome = await _outcome(handle)
    await asyncio.sleep(1)  # children that end with their parent
    diaries.remove(diary)
    histories = [run.log.exported(run.id) for run in sorted(server.executions, key=lambda run: run.id)]
    return _facts(outside, histories, answers, outcome), histories


# --- on the real server -----------------------------------------------------------------------------------------------


class RealServer:
    """A real server that skips time, with one worker."""

    def __init__(self) -> None:
        self._diary = Diary()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def __aenter__(self) -> RealServer:
        diaries.append(self._diary)
        self._env: WorkflowEnvironment = await start_time_skipping()
        self._worker = Worker(
            self._env.client,
            task_queue=QUEUE,
            workflows=[Plan],
            activities=[do],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_activities=300,
            max_heartbeat_throttle_interval=THROTTLE,
            default_heartbeat_throttle_interval=THROTTLE,
            build_id="plans",  # else the SDK hashes the code of every loaded module for one
        )
        await self._worker.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._worker.__aexit__(*error)
        await self._env.shutdown()
        diaries.remove(self._diary)

    async def carry_out(self, made: Made, *, workflow_id: str) -> Facts:
        """Carry a plan out.

        Raises:
            TimeoutError: The server has lost something of it: it is too busy.
        """
        async with self._places, asyncio.timeout(PATIENCE.total_seconds()):
            return await _real(self._env.client, self._diary, made, workflow_id)


async def _real(client: Client, diary: Diary, made: Made, workflow_id: str) -> Facts:
    plan, stimuli = made
    handle = await client.start_workflow(Plan.run, plan, id=workflow_id, task_queue=QUEUE)
    first = client.get_workflow_handle(workflow_id, run_id=handle.first_execution_run_id)
    ended = asyncio.create_task(_outcome(handle))

    async def signal(word: str) -> None:
        await first.signal(Plan.tell, word)

    async def update(word: str) -> Any:
        return await first.execute_update(Plan.ask, word)

    async def query() -> Any:
        return await first.query(Plan.where)

    async def terminate() -> None:
        await first.terminate(reason="enough")

    outside = _Outside(workflow_id, diary, ended, signal, update, query, first.cancel, terminate)
    answers = await outside.stimulate(stimuli)
    outcome = await ended
    return _facts(outside, await _family(client, first), answers, outcome)


async def _family(client: Client, handle: WorkflowHandle[Any, Any]) -> list[WorkflowHistory]:
    """The histories of a run, of the runs it continues as, and of its children, once all of them are closed."""
    histories = [await handle.fetch_history()]
    children: list[WorkflowHistory] = []
    for history in histories:
        last = history.events[-1]
        following = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        if following:
            histories.append(await client.get_workflow_handle(handle.id, run_id=following).fetch_history())
        for event in history.events:
            begun = event.child_workflow_execution_started_event_attributes.workflow_execution
            if begun.workflow_id:
                child = client.get_workflow_handle(begun.workflow_id, run_id=begun.run_id)
                await _outcome(child)
                children.append(await child.fetch_history())
    return sorted([*histories, *children], key=lambda history: history.workflow_id)
