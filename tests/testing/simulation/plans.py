"""Random small workflows, as data: one workflow class that does what a plan says, and activities that do too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError
from temporalio.exceptions import TimeoutError as TimedOutError
from temporalio.workflow import ActivityCancellationType, ChildWorkflowCancellationType, ParentClosePolicy

Op = dict[str, Any]


class Diary:
    """What the code of plans tells those outside, who wait for it without asking the server again and again."""

    def __init__(self) -> None:
        self.attempts: dict[str, list[str]] = {}
        """What each attempt of an activity saw, by workflow id."""
        self._loop = asyncio.get_running_loop()
        self._told: set[str] = set()
        self._awaited: dict[str, asyncio.Future[None]] = {}

    def tell(self, word: str) -> None:
        """Say that something has been reached; from any thread, and again in a replay."""
        self._loop.call_soon_threadsafe(self._tell, word)

    def _tell(self, word: str) -> None:
        self._told.add(word)
        awaited = self._awaited.pop(word, None)
        if awaited is not None and not awaited.done():
            awaited.set_result(None)

    async def told(self, word: str, *, unless: Awaitable[Any]) -> bool:
        """Wait for it; returns whether it came before something else did."""
        if word not in self._told:
            awaited = self._awaited.setdefault(word, self._loop.create_future())
            await asyncio.wait([awaited, asyncio.ensure_future(unless)], return_when=asyncio.FIRST_COMPLETED)
        return word in self._told


diaries: list[Diary] = []
"""The last one is written to, if any: whoever carries plans out opens it, and a mere replay needs none."""


def tell(word: str) -> None:
    """Say that something has been reached."""
    if diaries:
        diaries[-1].tell(word)


@activity.defn
async def do(name: str, script: list[str]) -> str:
    """Does in each attempt what the script says; the last word counts for all further ones."""
    info = activity.info()
    workflow_id = info.workflow_id or ""
    diaries[-1].attempts.setdefault(workflow_id, []).append(
        f"{name} {info.activity_id} attempt {info.attempt} after {list(info.heartbeat_details)}"
    )
    tell(f"{workflow_id} begins {name}")
    word = script[min(info.attempt, len(script)) - 1]
    if word == "beat":
        activity.heartbeat(f"{name}{info.attempt}")
        word = "fail"
    match word:
        case "fail":
            raise ApplicationError(f"{name} failed", type="Transient")
        case "final":
            raise ApplicationError(f"{name} is final", type="Final", non_retryable=True)
        case "declared":
            raise ApplicationError(f"{name} is declared final", type="Declared")
        case "later":
            raise ApplicationError(f"{name} later", type="Later", next_retry_delay=timedelta(hours=3))
        case "bug":
            raise ValueError(f"{name} has a bug")
        case "hang":
            await asyncio.sleep(60)
        case "nap":
            await asyncio.sleep(1.5)
        case "listen":
            return await _listen(name, obstinate="obstinate" in script)
    return f"{name} done"


async def _listen(name: str, *, obstinate: bool) -> str:
    """Work until told to stop; the obstinate finish all the same."""
    try:
        while True:
            activity.heartbeat()
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        if obstinate:
            return f"{name} done all the same"
        raise


def story(error: BaseException | None) -> list[Any]:
    """An exception and its causes, as far as both servers must agree on them."""
    told = []
    while error is not None:
        words: list[Any] = [type(error).__name__, str(error)]
        match error:
            case ActivityError():
                words += [error.activity_type, error.activity_id, str(error.retry_state)]
            case ChildWorkflowError():
                words += [error.workflow_type, str(error.retry_state)]
            case ApplicationError():
                words += [error.type, error.non_retryable]
            case TimedOutError():
                words += [str(error.type), list(error.last_heartbeat_details)]
        told.append(words)
        error = error.__cause__
    return told


@workflow.defn
class Plan:
    """Does what it is told to."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.place = 0
        self.log: list[Any] = []
        self.cancelled = False

    @workflow.signal
    def tell(self, word: str) -> None:
        """Hears something."""
        self.words.append(word)

    @workflow.update
    async def ask(self, word: str) -> str:
        """Answers, after some work."""
        if word == "work":
            await workflow.execute_activity(do, args=["asked", ["ok"]], **_limits({}))
        if word == "fail":
            raise ApplicationError("asked too much", type="Asked")
        self.words.append(word)
        return f"{word} {len(self.words)}"

    @ask.validator
    def check(self, word: str) -> None:
        """Does not hear bad words."""
        if word == "bad":
            raise ValueError("a bad word")

    @workflow.query
    def where(self) -> list[Any]:
        """How many times it has held, and what it has heard."""
        return [self.place, self.words]

    @workflow.run
    async def run(self, ops: list[Op]) -> list[Any]:
        """Does it."""
        for place, op in enumerate(ops):
            if op["op"] == "again":
                workflow.continue_as_new(ops[place + 1 :])
            if op["op"] == "raise":
                raise ApplicationError("as planned", type="Planned")
            try:
                self.log.append(await self.step(op))
            except Exception as error:
                if op.get("fatal"):
                    raise
                self.log.append(story(error))
            except asyncio.CancelledError:
                # Only the one that was asked for is absorbed: the SDK cancels whatever it evicts from its cache.
                if op.get("fatal") or self.cancelled or workflow.cancellation_reason() is None:
                    raise
                self.cancelled = True
                self.log.append("cancelled")
        return [self.log, self.words]

    async def step(self, op: Op) -> Any:
        """One thing."""
        return await getattr(self, f"_{op['op']}")(op)

    async def _act(self, op: Op) -> Any:
        return await workflow.execute_activity(do, args=[op["name"], op["script"]], **_limits(op))

    async def _both(self, op: Op) -> Any:
        done = await asyncio.gather(*(self.step(part) for part in op["parts"]), return_exceptions=True)
        return [story(part) if isinstance(part, BaseException) else part for part in done]

    async def _sleep(self, op: Op) -> Any:
        await workflow.sleep(op["seconds"])
        return "slept"

    async def _race(self, op: Op) -> Any:
        try:
            async with asyncio.timeout(op["limit"]):
                await workflow.sleep(op["seconds"])
        except TimeoutError:
            return "too long"
        return "in time"

    async def _patience(self, op: Op) -> Any:
        try:
            await workflow.wait_condition(lambda: False, timeout=op["seconds"])
        except TimeoutError:
            return "in vain"

    async def _hold(self, op: Op) -> Any:
        self.place += 1
        tell(f"{workflow.info().workflow_id} holds {self.place}")
        await workflow.wait_condition(lambda: len(self.words) >= op["words"])
        return list(self.words)

    async def _memo(self, op: Op) -> Any:
        workflow.upsert_memo({"note": op["note"]})
        return workflow.memo()["note"]

    async def _patch(self, op: Op) -> Any:
        return workflow.patched(op["name"])

    async def _deprecate(self, op: Op) -> Any:
        workflow.deprecate_patch(op["name"])

    async def _random(self, op: Op) -> Any:
        # The seed is the run id's, which no two servers share: that it was drawn is all there is to compare.
        return 0 <= workflow.random().random() < 1 and len(str(workflow.uuid4())) == 36

    async def _cancelling(self, op: Op) -> Any:
        """Ask for an activity and cancel it: in the same breath, or once it is at work."""
        handle = workflow.start_activity(
            do,
            args=[op["name"], op["script"]],
            **_limits(op),
            cancellation_type=ActivityCancellationType(op["kind"]),
        )
        if "words" in op:
            await self._hold(op)
        handle.cancel()
        try:
            return await handle
        except asyncio.CancelledError:
            if "words" in op:
                raise
            return "never was"

    async def _child(self, op: Op) -> Any:
        own = workflow.info().workflow_id
        handle = await workflow.start_child_workflow(
            Plan.run,
            op["ops"],
            id=own if op.get("twin") else f"{own}-{op['name']}",
            cancellation_type=ChildWorkflowCancellationType(op.get("kind", 1)),
            parent_close_policy=ParentClosePolicy(op.get("close", 1)),
        )
        if op.get("detached"):
            return "left alone"
        if op.get("word") and op.get("outside"):
            await workflow.get_external_workflow_handle(handle.id).signal(Plan.tell, op["word"])
        elif op.get("word"):
            await handle.signal(Plan.tell, op["word"])
        if op.get("cancel"):
            handle.cancel()
        try:
            return await handle
        finally:
            # The server forgets a request for cancellation whose workflow has closed: give it a moment.
            await workflow.sleep(op.get("then", 0))

    async def _elsewhere(self, op: Op) -> Any:
        other = workflow.get_external_workflow_handle("there-is-none")
        await (other.cancel() if op["cancel"] else other.signal("tell", "x"))
        return "told"


def _limits(op: Op) -> dict[str, Any]:
    found: dict[str, Any] = {"start_to_close_timeout": timedelta(seconds=op.get("attempt", 20))}
    if "all" in op:
        found["schedule_to_close_timeout"] = timedelta(seconds=op["all"])
    if "start" in op:
        found["schedule_to_start_timeout"] = timedelta(seconds=op["start"])
        found["task_queue"] = "nobody-polls-this"
    if "beat" in op:
        found["heartbeat_timeout"] = timedelta(seconds=op["beat"])
    policy = {"maximum_attempts": op.get("attempts", 4), "non_retryable_error_types": ["Declared"]}
    return {**found, "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=10), **policy)}
