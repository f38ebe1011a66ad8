"""The life of an entity: one event after the other, each a saga of its own, from one run to the next.

**One event.** Its steps are undone when it cannot go forward, and the state is what it was before. Then the entity's
policy says what becomes of it: a person is asked (``PARK``), who has it tried again or skipped, or it is written down
(``RECORD``). Either way the entity lives on.

**A fault of the entity's own code** is a failure of the event, too: a workflow task that fails for ever would block the
queue, and nobody would be asked. But the answer of a person must not stand in one history with the fault: fixed code
that replays it would not fail there. So the entity first undoes, then continues as new with the event in hand, and asks
in the new run; whatever code runs when the answer comes tries again. After a pivot it cannot turn round: there the
workflow task fails and waits for a fix, as in every saga.

**From run to run.** When history grows the entity leaves: updates that wait are answered ``WAITING``, handlers are
waited for, and then, in one step without a wait, everything that waits goes into the argument of the next run. What
arrives after that step is not lost: the server refuses to end a run that has news, and the step is taken again.

**Cancellation** ends the entity after the event at work. What waits is not applied: the query ``kit_entity`` gives it,
also of a closed run, as the argument of a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError, CancelledError, FailureError

from kit.contract import Drift
from kit.errors import SagaUsageError
from kit.telemetry import Event
from kit.workflow.engine import Saga
from kit.workflow.events import KEPT, Entity, EntityEvent, Fate, Memory, OnFailure, Receipt, Stuck
from kit.workflow.inbox import Inbox
from kit.workflow.parking import question
from kit.workflow.recording import Records
from kit.workflow.settling import shielded
from kit.workflow.steps import UnreadableResult
from kit.workflow.story import RunSummary, Status, row
from kit.workflow.tasks import Choice, Task

CARRIED: Final = 1_000_000
"""The most bytes of waiting events with which an entity continues as new by its own will: Temporal refuses an argument
of 2 MB. With more it first works off what waits."""

CLOSED: Final = "EntityClosed"
"""Type of the application error of an update whose event was not applied because the entity was cancelled."""

_NOT_HERE: Final = (workflow.NondeterminismError, workflow.ReadOnlyContextError, UnreadableResult)
"""What says that this worker cannot run this history: the workflow task fails, and another worker may."""


class Life:
    """One run of an entity.

    Args:
        entity: The workflow object; its ``apply`` is called, its ``state`` and its saga are set.
        enter: Makes a saga the one that the workflow's verbs act on.
    """

    def __init__(self, entity: Any, enter: Callable[[Saga], None]) -> None:
        self._entity = entity
        self._rules = entity.__entity__
        self._enter = enter
        self._read = _reader(self._rules.data)
        self._given = Entity[Any](state=None)
        self._inbox: Inbox | None = None
        self._early: list[Any] = []
        self._tasks: dict[str, Task] = {}
        self._told: list[dict[str, Any]] = []
        self._status = Status.RUNNING
        self._handled = 0
        self._leaving = self._closing = False
        self._saga = self._between_events(Saga(entity.__saga__))
        self._records = Records(Memory(), self._saga.run)

    # -- messages --------------------------------------------------------------------------------------------------

    def hear(self, document: Any) -> None:
        """Take in what a signal brought."""
        if self._inbox is None:  # signal-with-start: the signal comes before the run has begun
            self._early.append(document)
            return
        try:
            event = EntityEvent[Any].model_validate(document)
        except ValidationError as error:  # raised on it would fail every workflow task from now on
            self._records.unreadable(error)
        else:
            self._take(self._inbox, event)

    async def answer(self, event: EntityEvent[Any]) -> Receipt:
        """Take in what an update brought, and wait for what becomes of it."""
        await workflow.wait_condition(lambda: self._inbox is not None)
        inbox = self._opened()
        duplicate = self._take(inbox, event)
        await workflow.wait_condition(
            lambda: inbox.fate(event.id) is not Fate.WAITING or self._leaving or self._closing
        )
        fate = inbox.fate(event.id)
        if fate is Fate.WAITING and self._closing:
            raise ApplicationError(f"the entity was cancelled before event {event.id!r} was applied", type=CLOSED)
        # Out of the window already: it was dealt with, and so many after it.
        return Receipt(event_id=event.id, fate=fate or Fate.APPLIED, duplicate=duplicate)

    def _take(self, inbox: Inbox, event: EntityEvent[Any]) -> bool:
        """Take an event in. Returns whether it is a duplicate."""
        known = inbox.fate(event.id)
        if known is not None:
            self._records.duplicate(event, known)
        elif inbox.take(event, now=workflow.now()) is Fate.STALE:
            self._records.stale(event, applied=inbox.versions.get(event.source))
        return known is not None

    # -- the run ---------------------------------------------------------------------------------------------------

    async def live(self, entity: Entity[Any]) -> Any:
        """Apply what comes, until nothing has come for as long as the entity may be idle.

        Raises:
            CancelledError: It was cancelled.
            ContinueAsNewError: It goes on in the next run.
        """
        self._saga.refuse_run_timeout()
        inbox = self._open(entity)
        while not _cancelled():
            if await self._something_comes(inbox):
                await self._deal_with_one(inbox)
                if self._must_leave(inbox) and not _cancelled():
                    await self._leave(inbox)
            elif await self._idle(inbox):
                self._close(Status.COMPLETED)
                return self._entity.state
        self._closing = True
        await _handlers_finished()
        self._close(Status.CANCELLED)
        raise CancelledError("cancelled", self.summary().model_dump(mode="json"))

    def _open(self, entity: Entity[Any]) -> Inbox:
        memory = entity.memory
        self._given = entity.model_copy(update={"events": ()})
        self._entity.state = entity.state
        self._records = Records(memory, self._saga.run)
        self._stuck, self._last, self._asked = memory.stuck, memory.steps, memory.tasks
        inbox = self._inbox = Inbox(memory, window=self._rules.window, patience=self._rules.wait_for_missing)
        if memory.stuck is not None:
            inbox.resume(memory.stuck.event)
        for event in entity.events:
            self._take(inbox, event)
        early, self._early = self._early, []
        for document in early:
            self.hear(document)
        return inbox

    def _opened(self) -> Inbox:
        if self._inbox is None:
            raise SagaUsageError("an entity takes events in once its run has called self.live(...)")
        return self._inbox

    async def _something_comes(self, inbox: Inbox) -> bool:
        """Wait for work. ``False`` when there is none: cancelled, or idle for as long as it may be."""
        while not _cancelled():
            now = workflow.now()
            if self._stuck is not None or inbox.ready(now):
                return True
            due = inbox.due()
            arrived = partial(_grown, inbox, len(inbox))
            pause, why = self._given.close_when_idle, "close when idle"
            if due is not None:
                pause, why = due - now, "wait for what is missing"
            try:
                await workflow.wait_condition(arrived, timeout=pause, timeout_summary=why if pause else None)
            except TimeoutError:
                if not len(inbox):
                    return False
            except asyncio.CancelledError:
                if not _cancelled():
                    raise  # nobody asked for it: the SDK evicts the run
        return False

    async def _idle(self, inbox: Inbox) -> bool:
        """Whether it is idle still once every handler has finished: one may have brought news."""
        await _handlers_finished()
        return not len(inbox) and not _cancelled()

    async def _deal_with_one(self, inbox: Inbox) -> None:
        """See one event through, or ask about the one that could not be."""
        stuck, self._stuck = self._stuck, None
        if stuck is None:
            event = inbox.next(workflow.now())
            if event is None or self._is_stale(inbox, event):
                return
        else:
            again = await self._ask(inbox, stuck)
            if again is None:
                return
            event = again
        stuck = await shielded(self._attempt(event))
        if stuck is None:
            self._dealt_with(inbox, Fate.APPLIED)
        elif self._rules.on_failure is OnFailure.RECORD:
            self._records.gave_up(stuck, who=None)
            self._dealt_with(inbox, Fate.FAILED)
        else:
            self._stuck = stuck

    def _is_stale(self, inbox: Inbox, event: EntityEvent[Any]) -> bool:
        """Whether another event of its source has had its version meanwhile; and a gap before it is told of."""
        if inbox.stale():
            inbox.done(Fate.STALE)
            self._records.stale(event, applied=event.version)
            return True
        if inbox.passed is not None:
            self._records.gap(event, applied=inbox.passed)
        return False

    def _dealt_with(self, inbox: Inbox, fate: Fate) -> None:
        inbox.done(fate)
        self._records.dealt_with(fate)
        self._handled += 1

    # -- one event -------------------------------------------------------------------------------------------------

    async def _attempt(self, event: EntityEvent[Any]) -> Stuck | None:
        """One saga about one event. Returns why it failed, if it did, once it has undone itself."""
        saga = Saga(self._entity.__saga__, result_type=lambda: type(None))
        saga.run.tasks, saga.run.last, saga.run.asked = self._tasks, self._last, self._asked
        saga.run.finishes, saga.run.key_part = True, event.key
        saga.run.correlation_id = event.id
        saga.run.tenant = saga.run.definition.tenant_of(self._given)
        saga.run.about = {"event_id": event.id, "source": event.source}
        self._saga = saga
        self._enter(saga)
        before = self._entity.state
        try:
            await saga.supervise(partial(self._apply, event, saga))
        except FailureError as error:
            self._entity.state = before
            return Stuck(event=event, reason=saga.run.reason or type(error).__name__, why=error.message)
        finally:
            self._last, self._asked = saga.run.last, saga.run.asked
            self._between_events(saga)
        self._told = [*self._told, *(row(step) for step in saga.run.steps)][-KEPT:]
        return None

    async def _apply(self, event: EntityEvent[Any], saga: Saga) -> None:
        """The entity's own code; its faults are failures of the event."""
        try:
            await self._entity.apply(event.model_copy(update={"data": self._read(event.data)}))
        except (FailureError, TimeoutError, *_NOT_HERE):
            raise
        except Exception as error:  # anything may be wrong with code
            if saga.run.forward:
                raise
            kind = type(error).__name__
            raise ApplicationError(f"{kind}: {error}", type=kind, non_retryable=True) from error
        except workflow.ContinueAsNewError as error:
            raise SagaUsageError("an entity continues as new by itself, between two events") from error

    def _between_events(self, saga: Saga) -> Saga:
        """Between events no step may be taken: nobody would undo it."""
        saga.run.turned = saga.run.turned or SagaUsageError("an entity takes steps in apply(event) only")
        saga.run.tasks = self._tasks
        self._enter(saga)
        return saga

    async def _ask(self, inbox: Inbox, stuck: Stuck) -> EntityEvent[Any] | None:
        """Ask a person. Returns the event, when it is to be tried again."""
        self._asked += 1
        try:
            definition = self._entity.__saga__
            task = question(stuck, definition, number=self._asked, waiting=len(inbox))
            decision = await self._saga.desk.answer(task, remind=definition.due is not None)
        except asyncio.CancelledError:
            if not _cancelled():
                raise  # nobody asked for it: the SDK evicts the run
            self._stuck = stuck
            return None
        if decision.choice is Choice.RETRY:
            return stuck.event.model_copy(update={"round": stuck.event.round + 1})
        self._records.gave_up(stuck, who=decision.who)
        self._dealt_with(inbox, Fate.FAILED)
        return None

    # -- from run to run -------------------------------------------------------------------------------------------

    def _must_leave(self, inbox: Inbox) -> bool:
        grown = self._handled >= self._rules.continue_after or workflow.info().is_continue_as_new_suggested()
        return (grown or self._stuck is not None) and inbox.size <= CARRIED

    async def _leave(self, inbox: Inbox) -> None:
        """Continue as new; not if it is cancelled meanwhile."""
        self._leaving = True
        await _handlers_finished()
        if _cancelled():
            return
        run = self._saga.run
        run.log.info(Event.ENTITY_CONTINUED, **run.facts, handled=self._handled, waiting=len(inbox))
        workflow.continue_as_new(self.carried(runs=1))

    def _close(self, status: Status) -> None:
        self._status = status
        run = self._saga.run
        run.log.info(Event.ENTITY_CLOSED, **run.facts, status=status.value, waiting=len(self._opened()))

    def carried(self, *, runs: int = 0) -> Entity[Any]:
        """All that the next run is given."""
        inbox, before = self._opened(), self._given.memory
        memory = Memory(
            seen=dict(inbox.seen),
            versions=dict(inbox.versions),
            waiting=tuple(inbox.waiting),
            stuck=self._stuck,
            failed=self._records.failed,
            drift=self._records.drift,
            counts=self._records.counts,
            steps=self._last,
            tasks=self._asked,
            runs=before.runs + runs,
        )
        return self._given.model_copy(update={"state": self._entity.state, "memory": memory})

    # -- operators -------------------------------------------------------------------------------------------------

    def drifted(self, drift: tuple[Drift, ...]) -> None:
        """Record writes that were dropped."""
        self._records.drifted(drift)

    def summary(self) -> RunSummary:
        """How the entity stands: the steps of the event at work, after the latest ones of events that were applied."""
        told = self._saga.summary()
        at_work = self._inbox is not None and self._inbox.at_work is not None
        steps = [*self._told, *(told.steps if at_work and self._stuck is None else ())]
        status = told.status if at_work and self._status is Status.RUNNING else self._status
        return told.model_copy(update={"status": status, "steps": steps, "tasks": list(self._tasks.values())})


def _reader(data: Any) -> Callable[[Any], Any]:
    """What reads an event's data as the entity's own type, and raises where it does not fit."""
    if isinstance(data, type) and issubclass(data, BaseModel):
        return data.model_validate  # an adapter would cost half a millisecond, and do the same
    return TypeAdapter(data).validate_python


def _cancelled() -> bool:
    return workflow.cancellation_reason() is not None


def _grown(inbox: Inbox, size: int) -> bool:
    return len(inbox) > size


async def _handlers_finished() -> None:
    await shielded(workflow.wait_condition(workflow.all_handlers_finished))
