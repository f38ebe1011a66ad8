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
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import RawValue
from temporalio.testing import WorkflowEnvironment

from kit.errors import DefinitionError
from kit.testing.gates.histories import Recording, file_name, of_events
from kit.testing.gates.replaying import name_of
from kit.testing.gates.rollback.looking import carried, ending, has_task, parked, refused, stands
from kit.testing.gates.rollback.stage import Stage
from kit.testing.gates.rollback.versions import Version
from kit.testing.runs import Ending
from kit.testing.server import start_time_skipping
from kit.worker import ReliabilityPlugin

PATIENCE: Final = timedelta(seconds=60)
"""How long a run may take in real time. Time is skipped: what takes longer hangs."""

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
                if tasks is not None and await carried(handle) >= tasks and has_task(look):
                    break
                if tasks is None and (stands(look) or await parked(look) or await refused(handle, look)):
                    break
                await asyncio.sleep(_LOOK)
            await worker.do("end")

    async def _concluded(self, handle: WorkflowHandle[Any, Any], scenario: str, number: int) -> Finished:
        look = await handle.describe()
        history = await handle.fetch_history()
        how, why = await ending(look, history.events)
        wrong = tuple(await self.stage.check(scenario, number, how))
        recording = of_events(
            f"stage/{file_name(scenario)}",
            history.events,
            workflow_id=handle.id,
            scenario=scenario,
            ending=how.value,
        )
        return Finished(how, why, wrong, recording)


@contextmanager
def _aside(log: Path) -> Iterator[None]:
    """What a process that is started here prints goes to a file: standard output is for the report."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with log.open("wb") as written:
            for number in kept:
                os.dup2(written.fileno(), number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


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
