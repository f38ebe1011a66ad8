"""From how a workflow stands, once nothing more happens by itself, to what came of the scenario.

Shared by the engines, so that both conclude the same from the same. An engine says how every run of its scenario stands
(`Stand`, read from its history) and passes a person's decisions on (`Underway`); everything else is here: which ending
that is, what a person is asked and answers, what the providers and the ledgers say, what does not hold, and the gist
(`kit.testing.engines.gist`) in which both engines must agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Protocol

from pydantic import ValidationError
from temporalio.api.enums.v1 import EventType
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import History, HistoryEvent

from kit.testing.engines.gist import fingerprint
from kit.testing.engines.person import answers
from kit.testing.invariants import judge
from kit.testing.invariants.judging import Held
from kit.testing.runs import PERSON, WORKFLOW, Ending, Run, Violation
from kit.testing.wire import Wire
from kit.testing.world import Subject, World, truth_of
from kit.workflow import COMPENSATED, Decision, RunSummary, SagaWorkflow, Task, TaskKind
from kit.workflow.unwound import Unwound

WORKFLOW_ID: Final = "sweep"
"""The id of the run of a scenario. The same in every scenario: it may be part of a key."""

AGAIN_ID: Final = f"{WORKFLOW_ID}-again"
"""The id of the run that a duplicate start makes; see `again_id`."""


def again_id(number: int) -> str:
    """The id of the run that the ``number``-th duplicate start makes, from 1."""
    return AGAIN_ID if number == 1 else f"{AGAIN_ID}-{number}"


ROUNDS: Final = 5
"""How often a person repairs what is open. A run that is parked after that stays parked."""

QUESTIONS: Final = 100
"""How often a person answers what is asked where nothing has failed: more often than any saga asks that ends."""

PARKED: Final = "parked"
END: Final = "end"
"""When the invariants are asked: `Violation.when`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How one run stands once nothing more happens by itself.

    Attributes:
        workflow_id: Which run.
        history: All of it.
        tasks: Its questions to people, answered or not; none for a workflow that is no saga.
        summary: What the saga says of itself; ``None`` where the closing error says it, or for another workflow.
        stuck: Why the run neither goes on nor ends, when it does neither although it waits for nobody.
        below: The child sagas that it waits for.
    """

    workflow_id: str
    history: History
    tasks: tuple[Task, ...] = ()
    summary: RunSummary | None = None
    stuck: str | None = None
    below: tuple[Stand, ...] = ()

    @property
    def own(self) -> tuple[Task, ...]:
        """Its own questions that wait for an answer."""
        return () if self._closing else tuple(task for task in self.tasks if task.open)

    @property
    def open(self) -> tuple[Task, ...]:
        """The questions that it waits for: its own, and its children's."""
        return () if self._closing else (*self.own, *(task for child in self.below for task in child.open))

    @property
    def family(self) -> tuple[Stand, ...]:
        """Itself and the children that it waits for."""
        return (self, *(each for child in self.below for each in child.family))

    @property
    def children(self) -> Iterator[str]:
        """The workflow ids of all child workflows that it has asked for."""
        for event in self.history.events:
            if event.HasField("start_child_workflow_execution_initiated_event_attributes"):
                yield event.start_child_workflow_execution_initiated_event_attributes.workflow_id

    @property
    def ending(self) -> Ending:
        """Which ending it is."""
        match self._closing:
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                return Ending.COMPLETED
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
                return Ending.CANCELLED
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
                return Ending.TERMINATED
            case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
                compensated = self._failure.application_failure_info.type == COMPENSATED
                return Ending.COMPENSATED if compensated else Ending.FAILED
            case None:
                return Ending.PARKED if self.open else Ending.STUCK
            case _:
                return Ending.FAILED

    @property
    def result(self) -> str | None:
        """What it returned, as JSON; ``None`` when it returned nothing or did not complete."""
        payloads = self._last.workflow_execution_completed_event_attributes.result.payloads
        return payloads[0].data.decode() if payloads and payloads[0].data else None

    @property
    def error(self) -> str | None:
        """Why it did not complete, in a sentence."""
        if self._closing == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
            return ": ".join(dict.fromkeys(failure.message for failure in _causes(self._failure) if failure.message))
        if self._closing == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
            return self._last.workflow_execution_terminated_event_attributes.reason or "terminated"
        return self.stuck if self.ending is Ending.STUCK else None

    @property
    def told(self) -> RunSummary | None:
        """What the saga says of itself: asked for, or as the details of the error that closed it."""
        if self.summary is not None:
            return self.summary
        details = self._failure.application_failure_info.details.payloads
        try:
            return RunSummary.model_validate_json(details[0].data) if details else None
        except ValidationError:
            return None  # another workflow's error

    @property
    def _last(self) -> HistoryEvent:
        return self.history.events[-1]

    @property
    def _closing(self) -> EventType.ValueType | None:
        return self._last.event_type if self._last.event_type in _CLOSING else None

    @property
    def _failure(self) -> Failure:
        return self._last.workflow_execution_failed_event_attributes.failure


_CLOSING: Final = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    }
)


class Underway(Protocol):
    """The runs of one scenario, in an engine's hands."""

    async def stand(self) -> Sequence[Stand]:
        """Wait until nothing more happens by itself; the scenario's own run comes first, then what runs beside it."""

    async def decide(self, workflow_id: str, decision: Decision) -> None:
        """Pass a person's answer on to a run, as its update ``kit_decide``; returns once it is accepted."""

    def unwinding(self, workflow_id: str) -> bool:
        """Whether a run's unwind has begun, or is over."""

    async def unwind(self, workflow_id: str) -> Stand:
        """Have a closed run unwound, or go on with that; returns how the unwind stands once nothing more happens."""


async def conclude(
    underway: Underway, *, subject: Subject, wire: Wire, world: World, held: set[Held] | None = None
) -> Run:
    """See a scenario to its end: with a person's help where it parks, and with everything that can be known of it.

    Approvals and questions are part of a run's way: they are answered as they come, and faults go on striking. A run
    counts as parked when something has failed.

    The invariants are asked where it parks (before anybody answers) and at the end. `Run.ending` tells them how the run
    stands at that instant; the `Run` that is returned says ``PARKED`` for one that a person's answers have ended, and
    how in `Run.repaired`.

    Args:
        underway: The started runs. They may have come some way: as long as nobody has asked an invariant, whatever they
            say of themselves leads on to the same end.
        subject: What is under faults.
        wire: The scenario's.
        world: The scenario's, open.
        held: See `judge`.
    """
    stands = await underway.stand()
    violations: tuple[Violation, ...] = ()
    parked = frozenset[str]()
    if not underway.unwinding(stands[0].workflow_id):
        stands = await _agreed(underway, stands, subject=subject, wire=wire, world=world)
        parked = frozenset(stand.workflow_id for stand in stands if stand.open)
    asked = tuple(task for stand in stands for task in stand.open) if parked else ()
    if parked:
        _tell_of(wire, stands)
        now = await _known(stands, subject=subject, wire=wire, world=world)
        violations = await judge(subject, world, replace(now, tasks=asked), when=PARKED, held=held)
        wire.well = True
        stands = await _with_help(underway, stands, subject=subject, wire=wire, world=world)
    unwound = await _unwound(underway, stands[0], subject=subject, wire=wire, world=world)
    if stands[0].ending is Ending.TERMINATED:  # while it was unwound, the same request may have been started again
        stands = await _agreed(underway, await underway.stand(), subject=subject, wire=wire, world=world)
        wire.well = wire.well or any(stand.open for stand in stands)
        stands = await _with_help(underway, stands, subject=subject, wire=wire, world=world)
    await wire.settle()
    _tell_of(wire, stands)
    end = replace(await _known(stands, subject=subject, wire=wire, world=world), tasks=asked, unwound=unwound)
    violations += await judge(subject, world, end, when=END, held=held)
    end = replace(
        _left_alone(end, parked),
        violations=violations,
        story=tuple(wire.story),
        duplicates=tuple(_left_alone(duplicate, parked) for duplicate in end.duplicates),
    )
    return replace(end, fingerprint=fingerprint(end))


def _left_alone(run: Run, parked: Collection[str]) -> Run:
    """A run as it ended when left alone, and how a person's answers ended it."""
    return replace(run, ending=Ending.PARKED, repaired=run.ending) if run.workflow_id in parked else run


async def _agreed(
    underway: Underway, stands: Sequence[Stand], *, subject: Subject, wire: Wire, world: World
) -> Sequence[Stand]:
    """Answer what is asked where nothing has failed, until only repairs are left, or for `QUESTIONS` rounds."""
    for _ in range(QUESTIONS):
        family = [each for stand in stands for each in stand.family]
        asked = [(each, [task for task in each.own if task.kind is not TaskKind.REPAIR]) for each in family]
        if not any(tasks for _, tasks in asked):
            break
        for stand, tasks in asked:
            await _answer(underway, stand, tasks, subject=subject, wire=wire, world=world)
        stands = await underway.stand()
    return stands


async def _with_help(
    underway: Underway, stands: Sequence[Stand], *, subject: Subject, wire: Wire, world: World
) -> Sequence[Stand]:
    """Answer what is open until nothing is, or for `ROUNDS` rounds."""
    for _ in range(ROUNDS):
        if not any(stand.open for stand in stands):
            break
        await wire.settle()  # people take their time: what was still on its way has arrived
        for stand in stands:
            for each in stand.family:
                await _answer(underway, each, each.own, subject=subject, wire=wire, world=world)
        stands = await underway.stand()
    return stands


async def _answer(
    underway: Underway, stand: Stand, tasks: Sequence[Task], *, subject: Subject, wire: Wire, world: World
) -> None:
    """Answer questions of one run."""
    operations = {name: found.operation for each in world.connectors for name, found in each.handlers.items()}
    for decision in await answers(
        tasks, operations=operations, world=world, summary=stand.told, approves=subject.approves
    ):
        wire.tell(PERSON, f"task {decision.task_id}: {decision.choice.value}, because {decision.why}")
        await underway.decide(stand.workflow_id, decision)


async def _unwound(underway: Underway, own: Stand, *, subject: Subject, wire: Wire, world: World) -> Unwound | None:
    """What an operator does about a saga that was terminated: have it unwound, with a person's help where it asks."""
    if own.ending is not Ending.TERMINATED or not issubclass(subject.workflow, SagaWorkflow):
        return None
    if not underway.unwinding(own.workflow_id):
        own = await _orphans_helped(underway, own, subject=subject, wire=wire, world=world)
        wire.tell(PERSON, f"{own.workflow_id} was terminated: it is unwound")
    stand = await underway.unwind(own.workflow_id)
    for _ in range(ROUNDS):
        if not stand.open:
            break
        _tell_of(wire, [own, stand])
        wire.well = True
        await wire.settle()
        for each in stand.family:  # what was begun as a child is unwound as one
            await _answer(underway, each, each.own, subject=subject, wire=wire, world=world)
        stand = await underway.unwind(own.workflow_id)
    return Unwound.model_validate_json(stand.result) if stand.result else None


async def _orphans_helped(underway: Underway, own: Stand, *, subject: Subject, wire: Wire, world: World) -> Stand:
    """Answer what the children of a terminated run ask, which undo what they did without it."""
    for _ in range(ROUNDS):
        asking = [each for each in own.family if each.own]
        if not asking:
            break
        _tell_of(wire, [own])
        wire.well = True
        await wire.settle()
        for each in asking:
            await _answer(underway, each, each.own, subject=subject, wire=wire, world=world)
        own, *_ = await underway.stand()
    return own


async def _known(stands: Sequence[Stand], *, subject: Subject, wire: Wire, world: World) -> Run:
    """Everything that can be known now."""
    own, *duplicates = (_run(stand, subject=subject, wire=wire) for stand in stands)
    return replace(
        own,
        truth=await truth_of(world),
        rows=tuple(await world.rows(*dict.fromkeys(chain.from_iterable(_sagas(stand) for stand in stands)))),
        seen=tuple(wire.seen),
        story=tuple(wire.story),
        unreached=tuple(wire.unreached()),
        duplicates=tuple(duplicates),
    )


def _sagas(stand: Stand) -> Iterator[str]:
    """Whose effects the ledgers are asked for: the run's, its children's, and theirs as far as they are waited for."""
    for each in stand.family:
        yield each.workflow_id
        yield from each.children


def _run(stand: Stand, *, subject: Subject, wire: Wire) -> Run:
    return Run(
        scenario=wire.scenario,
        workflow=subject.workflow.__name__,
        workflow_id=stand.workflow_id,
        children=tuple(dict.fromkeys(stand.children)),
        ending=stand.ending,
        summary=stand.told,
        tasks=stand.open,
        result=stand.result,
        error=stand.error,
        history=stand.history.SerializeToString(deterministic=True),
    )


def _tell_of(wire: Wire, stands: Sequence[Stand]) -> None:
    for stand in stands:
        name = "" if stand is stands[0] else f"{stand.workflow_id}: "
        for each in stand.family:
            whose = name if each is stand else f"{each.workflow_id}: "
            for task in each.own:
                wire.tell(WORKFLOW, f"{whose}parked, and asks {task.owner or 'a person'}: {task.question}")
        if not stand.open:
            wire.tell(WORKFLOW, f"{name}{stand.ending.value}" + (f": {stand.error}" if stand.error else ""))


def _causes(failure: Failure) -> Iterator[Failure]:
    """The failure and what caused it, outermost first."""
    while True:
        yield failure
        if not failure.HasField("cause"):
            return
        failure = failure.cause
