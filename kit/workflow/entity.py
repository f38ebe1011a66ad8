"""The base of long-lived workflows: one per business entity, which takes its change events one after the other."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Final, Generic, NoReturn, TypeVar, get_args, get_origin

from temporalio import workflow

from kit.contract import Merged
from kit.errors import DefinitionError, SagaUsageError
from kit.workflow.engine import Saga
from kit.workflow.events import (
    APPLY_UPDATE,
    ENTITY_QUERY,
    EVENT_SIGNAL,
    EVENTS_SIGNAL,
    DataT,
    Entity,
    EntityEvent,
    OnFailure,
    Receipt,
    StateT,
)
from kit.workflow.inbox import NO_PATIENCE
from kit.workflow.living import Life
from kit.workflow.saga import SAGA, SagaWorkflow
from kit.workflow.story import RunSummary
from kit.workflow.tasks import SUMMARY_QUERY

DEFAULT_WINDOW: Final = 1000
"""How many events are known by their ids, when nothing is said: about 40 KB of what is carried from run to run."""

DEFAULT_CONTINUE_AFTER: Final = 500
"""How many events one run deals with, when nothing is said: with some steps each well below the 4,000 events of
history at which Temporal asks for a new run."""

_LIFE: Final = "_kit_life"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRules:
    """What an entity class declares about its events.

    Attributes:
        window: How many events that were dealt with are known by their ids.
        continue_after: How many events one run deals with.
        wait_for_missing: How long a version waits for those missing before it.
        on_failure: What becomes of an event that cannot be applied.
        data: The type of an event's data; ``None`` on a base that does not name it.
    """

    window: int = DEFAULT_WINDOW
    continue_after: int = DEFAULT_CONTINUE_AFTER
    wait_for_missing: timedelta = NO_PATIENCE
    on_failure: OnFailure = OnFailure.PARK
    data: Any = None


class EntityWorkflow(SagaWorkflow, Generic[StateT, DataT], tenant="{tenant}"):
    """A workflow that lives as long as a business entity, and applies the entity's change events in order.

    A subclass names the types of its state and of its events' data, and says what an event does::

        @workflow.defn
        class CrmSync(EntityWorkflow[Account, AccountChanged], owner="crm-team", deadline=timedelta(minutes=30)):
            @workflow.run
            async def run(self, account: Entity[Account]) -> Account:
                return await self.live(account)

            async def apply(self, event: EntityEvent[AccountChanged]) -> None:
                await self.step(upsert, Upsert(change_id=event.key, ...))
                self.state = Account(...)

    Whoever knows of a change sends it with the signal ``kit_event``, most simply with `kit.operate.deliver`, which
    starts the entity if need be; or with the update ``kit_apply``, which answers with what has become of the event.

    Each event is applied as a saga of its own: the verbs of `SagaWorkflow` work in `apply`, and nowhere else. When it
    cannot go forward its steps are undone and the state is what it was before. The key of every step must contain
    ``event.key``; a step whose key does not is refused, for the next event would be given its result.

    Class keywords, besides those of `SagaWorkflow` (``deadline`` is the budget of one event; the tenant is the
    `Entity`'s own):
        window: How many events that were dealt with are known by their ids. Default `DEFAULT_WINDOW`.
        continue_after: How many events one run deals with before the entity continues as new; it does so earlier when
            the server suggests it. Default `DEFAULT_CONTINUE_AFTER`.
        wait_for_missing: How long a version waits for those missing before it. Default zero: gaps are passed at once,
            are recorded, and what comes late is stale. That fits events which carry whole values.
        on_failure: ``OnFailure.PARK``, the default: a person is asked, and the queue waits, for order counts.
            ``OnFailure.RECORD``: the event is written down as failed, and the queue goes on.

    Guaranteed, across retries, replays, continue-as-new and crashes of workers: an event is applied at most once while
    its id is in the window, and, if it has a version, for ever; events of one source are applied in the order of their
    versions, one at a time; an event that was taken in is applied, put to a person, or recorded as stale or failed.

    Not guaranteed: any order between sources; anything about an event that is sent without a version after the window
    has forgotten it (it is applied again, and its steps find their results in the ledger); memory after the entity has
    closed (cancelled, terminated, idle), unless it is started again with the `Entity` that it left. An entity keeps at
    most about 1 MB of waiting events when it continues as new; whoever sends faster than it applies, for long, should
    use the update, which answers when the event is dealt with.

    Raises:
        DefinitionError: When the class is built and breaks a rule.
    """

    __entity__: ClassVar[EntityRules] = EntityRules()
    """What the class declares about its events."""

    state: StateT
    """What is known of the entity. Set it anew in `apply`; do not change it in place: if the event fails, the object
    that was there before counts."""

    def __init_subclass__(
        cls,
        *,
        window: int | None = None,
        continue_after: int | None = None,
        wait_for_missing: timedelta | None = None,
        on_failure: OnFailure | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        base = cls.__entity__
        cls.__entity__ = EntityRules(
            window=base.window if window is None else window,
            continue_after=base.continue_after if continue_after is None else continue_after,
            wait_for_missing=base.wait_for_missing if wait_for_missing is None else wait_for_missing,
            on_failure=base.on_failure if on_failure is None else on_failure,
            data=_data_of(cls) or base.data,
        )
        if not workflow.unsafe.in_sandbox():
            _check(cls)

    @staticmethod
    def _kit_watched(run: Any) -> Any:
        """A ``run`` in which no step can be taken outside of an event."""

        @functools.wraps(run)
        async def living(self: EntityWorkflow[Any, Any], *args: Any) -> Any:
            _life(self)
            return await run(self, *args)

        return living

    async def live(self, entity: Entity[StateT]) -> StateT:
        """Apply what comes. To be called by ``run``, with its argument.

        Returns:
            The state, when the entity has been idle for as long as its argument allows.

        Raises:
            CancelledError: It was cancelled. The event at work is finished first; what waits, and all that is known, is
                what the query ``kit_entity`` gives, also of the closed run: the argument to start it again with.
        """
        state: StateT = await _life(self).live(entity)
        return state

    async def apply(self, event: EntityEvent[DataT]) -> None:
        """Apply one event. A subclass says how.

        Raises:
            Exception: The event cannot be applied: its steps are undone, and the policy says what becomes of it.
        """
        raise NotImplementedError

    def record_drift(self, merged: Merged) -> None:
        """Record the writes that were dropped because their writers do not own the fields; they are not applied."""
        _life(self).drifted(merged.drift)

    def continue_as_new(self, request: Any) -> NoReturn:
        """Not for an entity, which continues as new by itself.

        Raises:
            SagaUsageError: Always.
        """
        raise SagaUsageError("an entity continues as new by itself, between two events")

    # -- messages --------------------------------------------------------------------------------------------------

    @workflow.signal(name=EVENT_SIGNAL, description="A change of this entity.")
    def kit_event(self, event: Any) -> None:
        """Take an `EntityEvent` in. One that cannot be read is counted and logged, and harms nothing."""
        _life(self).hear(event)

    @workflow.signal(name=EVENTS_SIGNAL, description="Several changes of this entity, in order.")
    def kit_events(self, events: list[Any]) -> None:
        """Take several events in, as if each had been signalled by itself."""
        for event in events:
            _life(self).hear(event)

    @workflow.update(name=APPLY_UPDATE, description="A change of this entity, to be applied before it is answered.")
    async def kit_apply(self, event: EntityEvent[Any]) -> Receipt:
        """Take an event in, and answer once it was dealt with, or at the next continue-as-new."""
        return await _life(self).answer(event)

    @workflow.query(name=ENTITY_QUERY, description="The state of this entity, and what it remembers.")
    def kit_entity(self) -> Entity[Any]:
        """All that it would carry into its next run."""
        return _life(self).carried()

    @workflow.query(name=SUMMARY_QUERY, description="How this entity stands.")
    def kit_summary(self) -> RunSummary:
        """How it stands: the latest steps that stand, and those of the event at work."""
        return _life(self).summary()


def _life(entity: EntityWorkflow[Any, Any]) -> Life:
    """The entity's life, made when it is first needed: a subclass need not call ``super().__init__()``."""
    life = entity.__dict__.get(_LIFE)
    if life is None:
        life = entity.__dict__[_LIFE] = Life(entity, functools.partial(_enter, entity))
    assert isinstance(life, Life)  # noqa: S101 - for the type checker; the attribute is private
    return life


def _enter(entity: EntityWorkflow[Any, Any], saga: Saga) -> None:
    entity.__dict__[SAGA] = saga


def _data_of(cls: type) -> Any:
    """The type of an event's data, as the class names it; ``None`` when it names none."""
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, EntityWorkflow):
            named = get_args(base)
            return None if not named or isinstance(named[-1], TypeVar) else named[-1]
    return None


def _check(cls: type[EntityWorkflow[Any, Any]]) -> None:
    rules = cls.__entity__

    def refuse(rule: str, fix: str) -> DefinitionError:
        return DefinitionError(f"entity {cls.__name__!r}", rule=rule, fix=fix)

    if rules.window < 1:
        raise refuse(f"window={rules.window!r} knows no event", "keep as many as may come again")
    if rules.continue_after < 1:
        raise refuse(f"continue_after={rules.continue_after!r} lets a run deal with no event", "use 1 or more")
    if rules.wait_for_missing < NO_PATIENCE:
        raise refuse(f"wait_for_missing={rules.wait_for_missing!r} is negative", "use timedelta(0) or more")
    if "run" in vars(cls) and rules.data is None:
        raise refuse(
            "it does not name the types of its state and of its events' data",
            "derive it from EntityWorkflow[State, Data]",
        )
    if "run" in vars(cls) and cls.apply is EntityWorkflow.apply:
        raise refuse("it does not say what an event does", "write async def apply(self, event: EntityEvent[Data])")
