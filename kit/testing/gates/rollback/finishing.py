"""Runs on a real server that begin with the worker of one version and end with the worker of the other."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import RawValue
from temporalio.testing import WorkflowEnvironment

from kit.errors import DefinitionError
from kit.testing.gates.histories import Recording, file_name, of_events
from kit.testing.gates.replaying import name_of
from kit.testing.gates.rollback.stage import Stage
from kit.testing.gates.rollback.versions import Version
from kit.testing.runs import Ending
from kit.testing.server import start_time_skipping
from kit.worker import ReliabilityPlugin
from kit.workflow import COMPENSATED, PARKED_MEMO

PATIENCE: Final = timedelta(seconds=60)
"""How long a run may take in real time. Time is skipped: what takes longer hangs."""

ATTEMPTS: Final = 12
"""After so many failed attempts an activity is taken to fail for ever; the guard waits out less."""

_LOOK: Final = 0.02  # seconds between two looks at a run
_READY: Final = 60.0  # seconds that a worker may take to come up on a slow and busy machine


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended that changed its version.

    Attributes:
        ending: How.
        why: What it says of itself, when it neither completed nor was undone.
        wrong: The invariants that do not hold, a sentence each.
        history: What it did.
    """

    ending: Ending
    why: str
    wrong: tuple[str, ...]
    history: Recording


class Worker:
    """The process of one version's worker."""

    def __init__(self, process: asyncio.subprocess.Process, version: Version, log: Path) -> None:
        self._process = process
        self._log = log
        self.version = version
        self.free = asyncio.Lock()
        """Held by the run that it works for: it works for one at a time."""

    @classmethod
    @asynccontextmanager
    async def start(cls, version: Version, environment: Mapping[str, str], folder: Path) -> AsyncIterator[Worker]:
        """Start the process; it is ended when the block is left."""
        log = folder / f"worker-{version.name}.log"
        with log.open("wb") as written:
            process = await asyncio.create_subprocess_exec(
                *version.command("host", version.app),
                cwd=version.folder,
                env=version.environment(environment),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=written,
            )
            try:
                yield cls(process, version, log)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()

    async def do(self, what: str, **told: Any) -> dict[str, Any]:
        """Have it do something.

        Raises:
            DefinitionError: It could not; with the end of its log.
        """
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        answer: dict[str, Any] = {}
        try:
            self._process.stdin.write(json.dumps({"do": what, **told}).encode() + b"\n")
            await self._process.stdin.drain()
            async with asyncio.timeout(_READY):
                line = await self._process.stdout.readline()
            answer = json.loads(line) if line else {"error": "its process has ended"}
        except (ConnectionError, TimeoutError) as error:
            answer = {"error": f"it does not answer ({type(error).__name__})"}
        if "error" in answer:
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
            raise DefinitionError(
                f"the worker of the {self.version.name} version",
                rule=f"asked for {what!r}, {answer['error']}; the last that it said is: {last}",
                fix=f"make `kit worker` run in {self.version.folder}",
            )
        return answer


@dataclass
class Theatre:
    """A server, a stage and the workers of both versions."""

    server: WorkflowEnvironment
    client: Client
    stage: Stage
    target: str
    workers: Mapping[str, Worker]
    runs: int = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, stage: Stage, target: str, versions: tuple[Version, Version], folder: Path
    ) -> AsyncIterator[Theatre]:
        """Start everything.

        Args:
            stage: The service's.
            target: Where it is, as ``module:attribute``.
            versions: Both.
            folder: For databases and logs.
        """
        async with AsyncExitStack() as stack:
            with _aside(folder / "server.log"):
                started = await start_time_skipping()
            server = await stack.enter_async_context(started)
            databases = folder / "stage"
            databases.mkdir()
            said = await stack.enter_async_context(stage.open(databases))
            config = server.client.config()
            config["plugins"] = [ReliabilityPlugin()]
            environment = {**_connection(server.client, folder), **said}
            workers = {
                version.name: await stack.enter_async_context(Worker.start(version, environment, folder))
                for version in versions
            }
            yield cls(server, Client(**config), stage, target, workers)

    async def scenarios(self, version: str) -> list[str]:
        """The stage's scenarios whose workflow a version has."""
        worker = self.workers[version]
        async with worker.free:
            return [
                name
                for name, cls in self.stage.scenarios.items()
                if (await worker.do("has", workflow=f"{cls.__module__}:{cls.__qualname__}"))["has"]
            ]

    async def play(self, scenario: str, *, first: str, second: str | None = None, task: int = 0) -> Finished | None:
        """One run from its start to its end.

        Args:
            scenario: What it goes through.
            first: The version that begins it.
            second: The version that finishes it; ``None`` for no change.
            task: The workflow task that the second version is the first to carry out.

        Returns:
            How it ended; ``None`` when it ended before that task.
        """
        self.runs += 1
        number = self.runs
        await self.stage.prepare(scenario, number)
        queue = f"rollback-{number}-{uuid.uuid4().hex[:6]}"
        argument = await self._argument(scenario, number, first)
        handle = await self.client.start_workflow(
            name_of(self.stage.scenarios[scenario]),
            argument,
            id=f"rollback-{file_name(scenario)}-{number}",
            task_queue=queue,
        )
        try:
            # A run that changes its version at its first task is begun by nobody.
            if second is None or task > 1:
                await self._carry(handle, first, queue, tasks=None if second is None else task - 1)
            if second is not None:
                if (await handle.describe()).status is not WorkflowExecutionStatus.RUNNING:
                    return None
                await self._carry(handle, second, queue, tasks=None)
            return await self._concluded(handle, scenario, number)
        finally:
            if (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
                await handle.terminate("the check is over")

    async def _argument(self, scenario: str, number: int, version: str) -> Any:
        """The argument as the version writes it; as the new one does, where the old has no stage."""
        worker = self.workers[version]
        try:
            async with worker.free:
                told = await worker.do("payload", stage=self.target, scenario=scenario, number=number)
        except DefinitionError:
            return self.stage.request(scenario, number)
        data = base64.b64decode(told["data"])
        return RawValue(Payload(metadata={"encoding": told["encoding"].encode()}, data=data))

    async def _carry(self, handle: WorkflowHandle[Any, Any], version: str, queue: str, *, tasks: int | None) -> None:
        """Let one version work until it has carried so many tasks out, or for good: until the run ends or stands."""
        worker = self.workers[version]
        async with worker.free:
            await worker.do("begin", queue=queue, tasks=tasks)
            until = time.monotonic() + PATIENCE.total_seconds()
            while time.monotonic() < until:
                look = await handle.describe()
                if look.status is not WorkflowExecutionStatus.RUNNING:
                    break
                if tasks is not None and await _carried(handle) >= tasks and _has_task(look):
                    break
                if tasks is None and (_stands(look) or await _parked(look)):
                    break
                await asyncio.sleep(_LOOK)
            await worker.do("end")

    async def _concluded(self, handle: WorkflowHandle[Any, Any], scenario: str, number: int) -> Finished:
        look = await handle.describe()
        history = await handle.fetch_history()
        ending, why = await _ending(look, history.events)
        wrong = tuple(await self.stage.check(scenario, number, ending))
        recording = of_events(
            f"stage/{file_name(scenario)}",
            history.events,
            workflow_id=handle.id,
            scenario=scenario,
            ending=ending.value,
        )
        return Finished(ending, why, wrong, recording)


@contextmanager
def _aside(log: Path) -> Iterator[None]:
    """What a process that is started here prints goes to a file: standard output is for the report."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with log.open("wb") as written:
            os.dup2(written.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _connection(client: Client, folder: Path) -> dict[str, str]:
    """What tells the workers where the server is; a profile on this machine is not meant for it."""
    empty = folder / "temporal.toml"
    empty.touch()
    return {
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": client.namespace,
        "TEMPORAL_CONFIG_FILE": str(empty),
        "TEMPORAL_PROFILE": "",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


async def _carried(handle: WorkflowHandle[Any, Any]) -> int:
    events = (await handle.fetch_history()).events
    return sum(event.HasField("workflow_task_completed_event_attributes") for event in events)


def _has_task(look: Any) -> bool:
    return bool(look.raw_description.HasField("pending_workflow_task"))


async def _parked(look: Any) -> bool:
    return bool((await look.memo()).get(PARKED_MEMO))


def _stands(look: Any) -> str:
    """Why a run will not go on by itself; empty when it may."""
    raw = look.raw_description
    if raw.HasField("pending_workflow_task") and raw.pending_workflow_task.attempt > 2:
        return "its workflow task fails again and again"
    for activity in raw.pending_activities:
        if activity.attempt > ATTEMPTS:
            said = " ".join(activity.last_failure.message.split())
            return f"{activity.activity_type.name} fails again and again: {said}"
    return ""


async def _ending(look: Any, events: Any) -> tuple[Ending, str]:
    match look.status:
        case WorkflowExecutionStatus.COMPLETED:
            return Ending.COMPLETED, ""
        case WorkflowExecutionStatus.CANCELED:
            return Ending.CANCELLED, ""
        case WorkflowExecutionStatus.FAILED:
            failure = events[-1].workflow_execution_failed_event_attributes.failure
            kind = failure.application_failure_info.type
            said = " ".join(failure.message.split())
            return (Ending.COMPENSATED, said) if kind == COMPENSATED else (Ending.FAILED, f"{kind}: {said}")
        case WorkflowExecutionStatus.RUNNING if await _parked(look):
            return Ending.PARKED, "it waits for a person"
        case _:
            return Ending.STUCK, _task_failure(events) or _stands(look) or "it did not end in time"


def _task_failure(events: Any) -> str:
    """Why the last workflow task failed that did, in the server's record."""
    for event in reversed(events):
        if event.HasField("workflow_task_failed_event_attributes"):
            told = event.workflow_task_failed_event_attributes
            cause = WorkflowTaskFailedCause.Name(told.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_").lower()
            return f"{cause.replace('_', ' ')} at event {event.event_id}: {' '.join(told.failure.message.split())}"
    return ""
