"""Replays a history and watches: every workflow task, what the code asked for in it, and every payload it read."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import WorkflowHistory
from temporalio.converter import PayloadConverter
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import (
    Plugin,
    Replayer,
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.workflow import NondeterminismError

from .asks import Activity, Ask, commanded, recorded
from .reading import Reader, Reading, fingerprint, places, read

BUILD: Final = "replay"
"""Else the SDK hashes the code of every loaded module for one: seconds, once per process."""

Types = Mapping[str, Sequence[Any]]
"""The types of the arguments of activities, by the activity's name."""


@dataclass
class Task:
    """One workflow task, as the code of now plays it.

    Attributes:
        started: The id of the event at which it was taken up.
        asks: What the code asked for in it.
        failure: Why the code could not play it; empty when it could.
    """

    started: int
    asks: list[Ask] = field(default_factory=list)
    failure: str = ""


@dataclass
class Watched:
    """One history, replayed.

    Attributes:
        failure: Why it does not replay, as the SDK says it; empty when it does.
        nondeterministic: Whether it is because the code asks for something else than was recorded.
        tasks: Every task that the code played, up to the failure.
        recorded: What was asked for when it was recorded, by the task's started event.
        readings: Every payload that the workflow read, and the inputs of its activities as their types read them.
    """

    failure: str = ""
    nondeterministic: bool = False
    tasks: list[Task] = field(default_factory=list)
    recorded: dict[int, list[Ask]] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)

    @property
    def activities(self) -> dict[str, Activity]:
        """The activities that the code schedules, by id."""
        asked = (ask.activity for task in self.tasks for ask in task.asks)
        return {activity.id: activity for activity in asked if activity is not None}


async def watch(
    histories: Sequence[WorkflowHistory], *, workflows: Sequence[type], plugins: Sequence[Plugin] = ()
) -> list[Watched]:
    """Replay histories on the code that is loaded, one after another, unsandboxed.

    Args:
        histories: Whole, or cut off after any event.
        workflows: The workflow classes they may be of.
        plugins: The plugins of the service's client, for its payload converter and failure types.

    Returns:
        One for each history, in order.
    """
    if not histories:
        return []
    types = _types(workflows)
    runner = _Runner()
    replayer = Replayer(
        workflows=workflows,
        workflow_runner=runner,
        unsandboxed_workflow_runner=runner,
        plugins=plugins,
        build_id=BUILD,
        runtime=_runtime(),
    )
    found: list[Watched] = []

    async def handed() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            runner.begin(history)
            yield history

    with _quiet():
        async with replayer.workflow_replay_iterator(handed()) as results:
            async for result in results:
                watched = runner.end(types)
                if result.replay_failure is not None:
                    watched.failure = " ".join(str(result.replay_failure).split())
                    watched.nondeterministic = isinstance(result.replay_failure, NondeterminismError)
                found.append(watched)
    return found


@cache
def _runtime() -> Runtime:
    """One that logs nothing: what a replay comes to is told by its result."""
    return Runtime(telemetry=TelemetryConfig(logging=None, metrics=None))


@contextmanager
def _quiet() -> Iterator[None]:
    """What a workflow logs was logged when it ran, and why one fails is in its result."""
    loggers = [logging.getLogger(f"temporalio.{name}") for name in ("workflow", "worker")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Runner(WorkflowRunner):
    """Runs workflows as the SDK does without a sandbox, and has every instance watched."""

    def __init__(self) -> None:
        self._inner = UnsandboxedWorkflowRunner()
        self._watched = Watched()
        self._history = WorkflowHistory("", [])
        self._read: dict[tuple[bytes, bytes, str], tuple[Payload, Any]] = {}
        self._converter: PayloadConverter | None = None

    def begin(self, history: WorkflowHistory) -> None:
        """The next history comes."""
        self._watched, self._history = Watched(), history
        self._read.clear()

    def end(self, types: Types) -> Watched:
        """It is over: see what it read."""
        watched, history = self._watched, self._history
        watched.recorded = recorded(history.events)
        converter = self._converter
        if converter is None:  # no code was run: nothing was read
            return watched
        stands = places(history.events)
        for payload, hint in self._read.values():
            event_id, what = stands.get(fingerprint(payload), (0, "a payload"))
            watched.readings.append(read(converter, payload, hint, event=event_id, what=what))
        for event in history.events:
            if event.HasField("activity_task_scheduled_event_attributes"):
                told = event.activity_task_scheduled_event_attributes
                name = told.activity_type.name
                for payload, hint in zip(told.input.payloads, types.get(name, ()), strict=False):
                    what = f"an argument of {name}"
                    watched.readings.append(read(converter, payload, hint, event=event.event_id, what=what))
        return watched

    def prepare_workflow(self, defn: Any) -> None:
        """See base class."""
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        watched = self._watched
        watched.tasks.clear()  # a run that was evicted begins again
        make = det.payload_converter_factory
        self._converter = make()
        watching = dataclasses.replace(det, payload_converter_factory=lambda: Reader(make(), self._tell))
        return _Instance(self._inner.create_instance(watching), watched)

    def _tell(self, payload: Payload, hint: Any) -> None:
        self._read[(*fingerprint(payload), repr(hint))] = (payload, hint)


class _Instance(WorkflowInstance):
    """A workflow that is watched."""

    def __init__(self, inner: WorkflowInstance, watched: Watched) -> None:
        self._inner = inner
        self._watched = watched

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """See base class."""
        completion = self._inner.activate(act)
        tasks = self._watched.tasks
        if not any(job.HasField("remove_from_cache") for job in act.jobs):
            if not tasks or tasks[-1].started != act.history_length:
                tasks.append(Task(act.history_length))
            tasks[-1].asks.extend(commanded(completion.successful.commands))
            if completion.HasField("failed"):
                tasks[-1].failure = " ".join(completion.failed.failure.message.split())
        return completion

    def get_info(self) -> Any:
        """See base class."""
        return self._inner.get_info()

    def get_serialization_context(self, command_info: Any) -> Any:
        """See base class."""
        return self._inner.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        """See base class."""
        return self._inner.get_external_store_context(command_info)


def _types(workflows: Sequence[type]) -> dict[str, Sequence[Any]]:
    """The argument types of the activities of sagas. What a saga does not know of is not read."""
    found: dict[str, Sequence[Any]] = {}
    for cls in workflows:
        saga = getattr(cls, "__saga__", None)
        for name, operation in getattr(saga, "operations", {}).items():
            # Loaded only here: this package is also used where the kit is another version.
            from kit.contract import Token, UndoRequest  # noqa: PLC0415

            found[name] = (operation.request, Token)
            asked: Any = UndoRequest[operation.request, operation.result]  # type: ignore[name-defined] # made at run time
            found[operation.undo_name] = (asked, Token)
    return found
