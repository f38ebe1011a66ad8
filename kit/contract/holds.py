"""Holds: kill switches on a workflow type, an operation, a dependency, a tenant, or a kind of effect. Pure data.

=================  ==============================================  =====================================================
gate               stops                                           where it is asked
=================  ==============================================  =====================================================
``start``          runs that have not begun                        where they are started; a start from elsewhere (an
                                                                   old client, a schedule) waits at its first step
``execute``        every action in scope, before its effect        in the guard, before the claim
``after_commit``   only what was held back until the saga's        in the guard, before the claim
                   success: "accept intent, delay the
                   irreversible"
=================  ==============================================  =====================================================

A step that is stopped has not failed: it waits, loses no attempt, and goes on when the hold is lifted. What takes an
effect back is never stopped, unless the hold says ``undo``; a ``READ`` only by a hold on that very operation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from pydantic import AwareDatetime, Field, model_validator

from kit.contract.effect import Effect
from kit.contract.model import Model
from kit.contract.operation import Operation


class HoldScope(StrEnum):
    """What a hold is on."""

    WORKFLOW = "workflow"
    """A workflow type. A child saga is a type of its own."""
    OPERATION = "operation"
    DEPENDENCY = "dependency"
    TENANT = "tenant"
    """What a run's class says with ``tenant=``."""
    EFFECT = "effect"
    """Every operation with one effect, such as ``irreversible``."""


class HoldGate(StrEnum):
    """Where a hold stops; see the table of the module."""

    START = "start"
    EXECUTE = "execute"
    AFTER_COMMIT = "after_commit"


DEFAULT_GATES: Final = {
    HoldScope.WORKFLOW: frozenset({HoldGate.START, HoldGate.EXECUTE}),
    HoldScope.TENANT: frozenset({HoldGate.START, HoldGate.EXECUTE}),
    HoldScope.OPERATION: frozenset({HoldGate.EXECUTE}),
    HoldScope.DEPENDENCY: frozenset({HoldGate.EXECUTE}),
    HoldScope.EFFECT: frozenset({HoldGate.EXECUTE}),
}
"""The gates of a hold that names none. A system that is held does not stop runs that may never come to it."""


class Hold(Model):
    """One kill switch that is on.

    Attributes:
        scope: What kind of thing it is on.
        name: Which one: a workflow type, an operation, a dependency, a tenant, or an effect.
        reason: Why, for everybody who meets it.
        who: Who switched it on.
        since: When, by the clock of whoever did.
        until: When it ends by itself; compared with the Temporal server's clock where a step is stopped.
        gates: Where it stops; by default those of `DEFAULT_GATES`.
        accepts: New runs are accepted and wait, instead of being refused where they are started.
        undo: It stops undos in its scope, too.
    """

    scope: HoldScope
    name: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1)
    who: str = Field(min_length=1)
    since: AwareDatetime
    until: AwareDatetime | None = None
    gates: frozenset[HoldGate] = frozenset()
    accepts: bool = False
    undo: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.gates:
            object.__setattr__(self, "gates", DEFAULT_GATES[self.scope])
        if self.scope is HoldScope.EFFECT:
            held = {effect.value for effect in Effect} - {Effect.READ.value}
            if self.name not in held:
                raise ValueError(f"{self.name!r} is no effect that can be held; one of {', '.join(sorted(held))}")
        if self.until is not None and self.until <= self.since:
            raise ValueError(f"it would end at {self.until}, before it begins at {self.since}")
        return self

    def __str__(self) -> str:
        """Such as ``hold on dependency 'payments' (double charges; ada)``."""
        return f"hold on {self.scope.value} {self.name!r} ({self.reason}; {self.who})"

    def over(self, now: datetime) -> bool:
        """Whether it has ended by itself."""
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """An attempt that wants to pass.

    Attributes:
        operation: What it would carry out, or undo.
        workflow_type: Of the run.
        tenant: Of the run; empty for none.
        undo: It would take an effect back.
        after_commit: It was held back until the saga's success.
        opened_at: When the run came to its first step, if this is it; ``None`` for every later step.
    """

    operation: Operation[Any, Any]
    workflow_type: str
    tenant: str = ""
    undo: bool = False
    after_commit: bool = False
    opened_at: datetime | None = None


def stops(hold: Hold, asking: Asking, *, now: datetime) -> bool:
    """Whether a hold stops an attempt at ``now``."""
    operation = asking.operation
    if hold.over(now) or not _in_scope(hold, operation, asking.workflow_type, asking.tenant):
        return False
    if operation.effect is Effect.READ and hold.scope is not HoldScope.OPERATION:
        return False
    if asking.undo:
        return hold.undo
    if HoldGate.EXECUTE in hold.gates or (HoldGate.AFTER_COMMIT in hold.gates and asking.after_commit):
        return True
    return HoldGate.START in hold.gates and asking.opened_at is not None and asking.opened_at >= hold.since


def stops_start(
    hold: Hold, *, workflow_type: str, tenant: str, operations: Iterable[Operation[Any, Any]], now: datetime
) -> bool:
    """Whether a hold is on the start of a run: on its type, its tenant, or anything it may carry out."""
    if hold.over(now) or HoldGate.START not in hold.gates:
        return False
    if hold.scope in (HoldScope.WORKFLOW, HoldScope.TENANT):
        return hold.name == (workflow_type if hold.scope is HoldScope.WORKFLOW else tenant)
    return any(_in_scope(hold, operation, workflow_type, tenant) for operation in operations)


def _in_scope(hold: Hold, operation: Operation[Any, Any], workflow_type: str, tenant: str) -> bool:
    match hold.scope:
        case HoldScope.WORKFLOW:
            return hold.name == workflow_type
        case HoldScope.TENANT:
            return hold.name == tenant
        case HoldScope.OPERATION:
            return hold.name == operation.name
        case HoldScope.DEPENDENCY:
            return hold.name == operation.dependency.name
        case HoldScope.EFFECT:
            return hold.name == operation.effect.value
