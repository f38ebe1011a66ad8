"""The worker of one version of a service, on a leash: it takes so many workflow tasks of a run and no more.

``kit rollback-check`` starts this as a process of each version, in that version's folder. It is told what to do by
lines of JSON on its standard input and answers each with one on its standard output::

    {"do": "begin", "queue": "...", "tasks": 3}   run the service's worker on this queue; it may complete 3 tasks
    {"do": "end"}                                 stop it; attempts at work are finished first
    {"do": "has", "workflow": "..."}              whether this version has a class, as module:qualname
    {"do": "payload", "stage": "...", "scenario": "...", "number": 1}
                                                  the argument of a workflow, as this version writes it

The service is not changed and not asked for anything but its ``app``: `temporalio.worker.Worker` is told the queue,
the leash and a short patience when the app builds one.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import importlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    Worker,
    WorkerTuner,
)

_SLOTS: Final = 20
"""How many activities, and without a leash workflow tasks, may be at work at once."""

_GRACE: Final = timedelta(seconds=5)
"""How long attempts at work may take when the worker is told to stop."""


class _Leash(CustomSlotSupplier):
    """Lets one workflow task be asked for at a time, and after so many that were carried out no more."""

    def __init__(self, tasks: int) -> None:
        self._left = tasks
        self._out: SlotPermit | None = None
        self._used = False
        self._back = asyncio.Event()

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        """See base class."""
        while self._out is not None or self._left <= 0:
            self._back.clear()
            await self._back.wait()
        self._out, self._used = SlotPermit(), False
        return self._out

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """See base class."""
        return None

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """See base class."""
        self._used = True

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """See base class."""
        if self._used:
            self._left -= 1
        self._out = None
        self._back.set()


class Host:
    """The service's worker, begun and ended on command."""

    def __init__(self, work: Callable[[], Awaitable[int]]) -> None:
        self._work = work
        self._queue = ""
        self._tasks: int | None = None
        self._worker: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._running: asyncio.Future[int] | None = None
        self._build = Worker.__init__
        Worker.__init__ = functools.partialmethod(Host._made, self)  # type: ignore[method-assign, assignment] # see above

    @staticmethod
    def _made(worker: Worker, host: Host, *args: Any, **options: Any) -> None:
        leash = None if host._tasks is None else _Leash(host._tasks)
        fixed = FixedSizeSlotSupplier(_SLOTS)
        options.update(
            task_queue=host._queue,
            # Nothing is cached, so that no task waits for a worker that is gone.
            max_cached_workflows=0,
            graceful_shutdown_timeout=_GRACE,
            build_id="rollback-check",
            disable_eager_activity_execution=True,
            tuner=WorkerTuner.create_composite(
                workflow_supplier=leash or fixed,
                activity_supplier=fixed,
                local_activity_supplier=fixed,
                nexus_supplier=fixed,
            ),
        )
        for name in ("max_concurrent_workflow_tasks", "max_concurrent_activities", "max_concurrent_local_activities"):
            options.pop(name, None)
        host._build(worker, *args, **options)
        host._worker.set_result(worker)

    async def begin(self, queue: str, tasks: int | None) -> None:
        """Run the worker."""
        self._queue, self._tasks = queue, tasks
        self._worker = asyncio.get_running_loop().create_future()
        self._running = asyncio.ensure_future(self._work())
        either: list[asyncio.Future[Any]] = [self._worker, self._running]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            raise RuntimeError(f"the service's worker ended at once, with {self._running.result()!r}")

    async def end(self) -> None:
        """Stop the worker."""
        if self._running is not None:
            await self._worker.result().shutdown()
            await self._running
        self._running = None


def payload(stage: str, scenario: str, number: int) -> dict[str, str]:
    """The argument of a workflow as this version of the service writes it."""
    made = pydantic_data_converter.payload_converter.to_payloads([load(stage).request(scenario, number)])[0]
    return {"encoding": made.metadata["encoding"].decode(), "data": base64.b64encode(made.data).decode()}


def load(target: str) -> Any:
    """What ``module:attribute`` names in this version.

    Raises:
        ImportError: There is no such module.
        AttributeError: It has no such attribute.
    """
    module, _, path = target.partition(":")
    return functools.reduce(getattr, path.split("."), importlib.import_module(module))


def missing(target: str) -> str:
    """Why this version does not have what ``module:attribute`` names; empty when it has.

    Raises:
        ImportError: The module is there and cannot be imported: this version is broken.
    """
    name, _, path = target.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name and not name.startswith(f"{error.name}."):
            raise
        return f"there is no module {error.name}"
    return "" if hasattr(module, path.partition(".")[0]) else f"{name} has no {path}"


async def serve(app: str, answer: Callable[[dict[str, Any]], None]) -> None:
    """Carry commands out until standard input ends."""
    host = Host(load(app).work)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        told = json.loads(line)
        try:
            match told.pop("do"):
                case "begin":
                    await host.begin(told["queue"], told["tasks"])
                    answer({})
                case "end":
                    await host.end()
                    answer({})
                case "has":
                    answer({"has": not missing(told["workflow"])})
                case "payload":
                    answer(payload(**told))
        except Exception as error:  # the one who asked decides what it means
            answer({"error": f"{type(error).__name__}: {error}"})
    await host.end()


def main(app: str) -> None:
    """The process of the service whose app is named, as ``module:attribute``.

    What the service prints goes to standard error: standard output is for answers.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    asyncio.run(serve(app, answer))
    os._exit(0)  # the teardown of an interpreter that ran a worker aborts now and then
