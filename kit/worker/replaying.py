"""Re-driving past events, worker side: start what was not started, in order per entity, and say what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import Priority, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from kit.contract import OnceStrategy, Operation
from kit.ledger.protocol import Ledger
from kit.ledger.states import SETTLED_STATES, State
from kit.worker.effects import describe
from kit.worker.starting import sagas
from kit.workflow import EVENTS_SIGNAL, PARKED_MEMO, SagaDefinition
from kit.workflow.batches import REDRIVE_PRIORITY, REPLAY_ACTIVITY, Chunk, Driven, PastEvent, Redriven

AT_ONCE: Final = 20
"""Entities whose events are re-driven side by side."""

_LOOK: Final = timedelta(seconds=1)
"""How often a run that takes its time is asked whether it waits for a person."""

_HEARTBEAT: Final = timedelta(seconds=5)


def replay_activity(ledgers: Sequence[Ledger], *, retention: timedelta) -> Callable[[Chunk], object]:
    """The activity that re-drives a chunk of past events.

    Args:
        ledgers: All that know effects of this service.
        retention: How long they keep what is settled.
    """

    @activity.defn(name=REPLAY_ACTIVITY)
    async def replay_events(chunk: Chunk) -> list[Driven]:
        info = activity.info()
        before = info.heartbeat_details[0] if info.heartbeat_details else {}
        done = {int(place): Driven.model_validate(driven) for place, driven in before.items()}
        redriving = Redriving(
            client=activity.client(),
            task_queue=info.task_queue,
            ledgers=ledgers,
            now=info.started_time,
            known_since=chunk.ledger_since or info.started_time - retention,
            patience=chunk.patience,
            done=done,
        )
        return await redriving.all_of(chunk.events)

    return replay_events


@dataclass
class Redriving:
    """One attempt at a chunk.

    Attributes:
        client: Of the worker.
        task_queue: Where what is started goes: the worker's own.
        now: When the attempt began, by the server's clock.
        ledgers: All that know effects of this service.
        known_since: From when on the ledgers know every effect.
        patience: How long one run is waited for.
        done: What has become of the events so far, by place: an earlier attempt's too.
    """

    client: Client
    task_queue: str
    now: datetime
    ledgers: Sequence[Ledger]
    known_since: datetime
    patience: timedelta
    done: dict[int, Driven] = field(default_factory=dict)

    async def all_of(self, events: Sequence[PastEvent]) -> list[Driven]:
        """Re-drive the events that are not done.

        Raises:
            LedgerUnavailable: A ledger did not answer; the next attempt goes on here.
            RPCError: The server did not.
        """
        room = asyncio.Semaphore(AT_ONCE)
        placed = sorted(enumerate(events), key=lambda each: (each[1].entity, each[1].at, each[0]))
        types = dict(sagas())
        alive = asyncio.create_task(self._heartbeat())
        try:
            async with asyncio.TaskGroup() as group:
                for _, about_one in groupby(placed, key=lambda each: each[1].entity):
                    group.create_task(self._entity(list(about_one), types, room))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None  # they are alike: the server, or the ledger, did not answer
        finally:
            alive.cancel()
        return [self.done[place] for place in range(len(events))]

    async def _entity(
        self, events: Sequence[tuple[int, PastEvent]], types: Mapping[str, SagaDefinition], room: asyncio.Semaphore
    ) -> None:
        """The events of one entity, one after the other; none after one that is parked."""
        async with room:
            parked = False
            for _, together in groupby(events, key=_delivered_together):
                missing = [(place, event) for place, event in together if place not in self.done]
                if missing:
                    driven = _BLOCKED if parked else await self._drive([event for _, event in missing], types)
                    self.done |= {place: driven for place, _ in missing}
                    parked = parked or driven.fate is Redriven.PARKED

    async def _drive(self, events: Sequence[PastEvent], types: Mapping[str, SagaDefinition]) -> Driven:
        """One event; or several that one entity is sent together."""
        event = events[0]
        definition = types.get(event.workflow)
        if definition is None:
            return Driven(fate=Redriven.UNKNOWN_TYPE, why=f"no worker here knows {event.workflow!r}")
        if (why := await self._too_old(event, definition)) is not None:
            return Driven(fate=Redriven.TOO_OLD, why=why)
        if event.event is not None:
            return await self._send(events)
        return await self._forgotten(event) or await self._start(event)

    async def _forgotten(self, event: PastEvent) -> Driven | None:
        """What the ledger says of a run that the server knows no more; ``None`` when it left nothing, or is known.

        Nothing is started then: the new run would be answered with the effects of the first, and take them back if it
        came to nothing itself.
        """
        rows = [row for ledger in self.ledgers for row in await ledger.of_saga(event.workflow_id)]
        there = [row for row in rows if row.state not in _GONE]
        if not there or await describe(self.client, event.workflow_id) is not None:
            return None
        unsettled = sorted(row.key for row in there if row.state not in SETTLED_STATES)
        if unsettled:
            why = f"the server has forgotten its run, which left {', '.join(unsettled)} unsettled: unwind it first"
            return Driven(fate=Redriven.TOO_OLD, why=why)
        return Driven(fate=Redriven.DUPLICATE)

    async def _send(self, events: Sequence[PastEvent]) -> Driven:
        """Send an entity its events; one that nobody has heard of begins with what the first of them says."""
        await self.client.start_workflow(
            events[0].workflow,
            events[0].request,
            id=events[0].workflow_id,
            task_queue=self.task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=EVENTS_SIGNAL,
            start_signal_args=[[event.event for event in events]],
            priority=Priority(priority_key=REDRIVE_PRIORITY),
        )
        return Driven(fate=Redriven.DELIVERED)

    async def _start(self, event: PastEvent) -> Driven:
        """Start the run of an event, unless there has been one, and wait for its end."""
        try:
            handle = await self.client.start_workflow(
                event.workflow,
                event.request,
                id=event.workflow_id,
                task_queue=self.task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                priority=Priority(priority_key=REDRIVE_PRIORITY),
            )
        except WorkflowAlreadyStartedError as known:
            first = self.client.get_workflow_handle(event.workflow_id, run_id=known.run_id)
            ended = await self._end(first)
            return ended if ended.fate is Redriven.PARKED else Driven(fate=Redriven.DUPLICATE)
        return await self._end(handle)

    async def _end(self, handle: WorkflowHandle[object, object]) -> Driven:
        """Wait until a run has closed or parked, for as long as the batch is patient."""
        ending = asyncio.ensure_future(handle.result())
        until = asyncio.get_running_loop().time() + self.patience.total_seconds()
        try:
            while (left := until - asyncio.get_running_loop().time()) > 0:
                done, _ = await asyncio.wait([ending], timeout=min(left, _LOOK.total_seconds()))
                if done:
                    await ending
                    return Driven(fate=Redriven.COMPLETED)
                if asked := await (await handle.describe()).memo_value(PARKED_MEMO, None):
                    return Driven(fate=Redriven.PARKED, why=f"it waits for a person: task {', '.join(asked)}")
        except WorkflowFailureError as failure:
            return Driven(fate=Redriven.FAILED, why=str(failure.cause))
        finally:
            ending.cancel()
        return Driven(fate=Redriven.PARKED, why=f"it is still open after {self.patience}")

    async def _too_old(self, event: PastEvent, definition: SagaDefinition) -> str | None:
        """Why nobody can know any more whether an event's effects have happened; ``None`` when somebody can."""
        if event.at >= self.known_since:
            return None
        # What the run has left in the ledger is known. What is not there was not done, or was purged before the rest.
        # The rows of an entity are those of all its events, and say nothing about this one.
        rows = [] if event.event is not None else [await ledger.of_saga(event.workflow_id) for ledger in self.ledgers]
        known = {row.operation for found in rows for row in found}
        age = self.now - event.at
        blind = sorted(
            name
            for name, operation in definition.operations.items()
            if name not in known and not _knowable(operation, age)
        )
        if not blind:
            return None
        return (
            f"it came {event.at.isoformat()}, before the ledger ({self.known_since.isoformat()}), and nobody could say "
            f"whether {', '.join(blind)} happened then"
        )

    async def _heartbeat(self) -> None:
        """Say what is done, so that another attempt goes on there."""
        while True:
            activity.heartbeat({str(place): driven.model_dump(mode="json") for place, driven in self.done.items()})
            await asyncio.sleep(_HEARTBEAT.total_seconds())


_GONE: Final = frozenset({State.VOID, State.UNDONE, State.REFUSED})
"""States of an effect that is not there."""

_BLOCKED: Final = Driven(fate=Redriven.BLOCKED, why="an earlier event of the same entity is parked")


def _delivered_together(placed: tuple[int, PastEvent]) -> tuple[str, str] | int:
    """What consecutive events that one entity is sent have in common; every other event stands alone."""
    place, event = placed
    return place if event.event is None else (event.workflow, event.workflow_id)


def _knowable(operation: Operation[Any, Any], age: timedelta) -> bool:
    """Whether an effect of this age is kept to one without the ledger: by its provider, by its state, by a look-up."""
    once = operation.once
    if once is None:
        return True  # a READ
    match once.strategy:
        case OnceStrategy.BY_KEY:
            return once.ttl is not None and once.ttl > age
        case OnceStrategy.BY_STATE | OnceStrategy.BY_PROBE:
            return True
        case _:
            return False
