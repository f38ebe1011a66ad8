"""Switch holds on and off, and say beforehand what that stops."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from temporalio import workflow

from kit.contract import Asking, Hold, HoldScope, Operation, stops, stops_start
from kit.errors import DefinitionError
from kit.ledger.holds import HoldStore, holds_of
from kit.operate.service import Operating
from kit.telemetry import Event, process_log
from kit.workflow import SagaWorkflow
from kit.workflow.steps import Phase

_log: Final = process_log("kit.operate")


@dataclass(frozen=True, slots=True)
class Stopping:
    """What a hold stops of one workflow type.

    Attributes:
        workflow_type: Which.
        starts: New runs are refused, or wait where the hold accepts them.
        operations: The operations that wait, by name.
        undos: The operations whose undo waits, by name.
    """

    workflow_type: str
    starts: bool
    operations: tuple[str, ...]
    undos: tuple[str, ...]


def store_of(operating: Operating) -> HoldStore:
    """Where a service keeps its holds.

    Raises:
        DefinitionError: Its ledger has no place for them.
    """
    store = holds_of(operating.ledger)
    if store is None:
        raise DefinitionError(
            "holds",
            rule=f"the ledger {type(operating.ledger).__name__} has no place for holds",
            fix="let the app's operating() give a SqliteLedger or a PostgresLedger",
        )
    return store


async def hold_on(store: HoldStore, hold: Hold) -> None:
    """Switch a hold on. Workers learn of it within seconds; what is at work then is not called back.

    Raises:
        LedgerUnavailable: The store did not answer; repeating it is safe.
    """
    await store.switch_on(hold)
    _log.info(Event.HOLD_SWITCHED, on=True, scope=hold.scope.value, held=hold.name, who=hold.who, reason=hold.reason)


async def hold_off(store: HoldStore, scope: HoldScope, name: str, *, who: str, reason: str) -> Hold | None:
    """Switch a hold off. What has waited goes on within seconds. Returns the hold; ``None`` when none was on.

    Raises:
        LedgerUnavailable: The store did not answer; repeating it is safe.
    """
    hold = await store.switch_off(scope, name, who=who, reason=reason, at=datetime.now(UTC))
    if hold is not None:
        _log.info(Event.HOLD_SWITCHED, on=False, scope=scope.value, held=name, who=who, reason=reason)
    return hold


def name_of(cls: type) -> str:
    """The type of a workflow class, as Temporal knows it."""
    definition = workflow._Definition.from_class(cls)
    return (definition.name if definition is not None else None) or cls.__name__


def stopping(hold: Hold, workflows: Iterable[type]) -> list[Stopping]:
    """What a hold stops of these workflows, as far as can be read from them; types it does not touch are left out.

    A tenant is known only where a run is started, so a hold on one is told as if every run were its.
    """
    found = []
    for cls in workflows:
        if not issubclass(cls, SagaWorkflow):
            continue
        if hold.scope is HoldScope.TENANT and not cls.__saga__.tenant:
            continue
        kind, tenant, uses = name_of(cls), hold.name, cls.__saga__.uses
        starts = stops_start(
            hold, workflow_type=kind, tenant=tenant, operations=[use.operation for use in uses], now=hold.since
        )

        def waits(
            operation: Operation[Any, Any], *, held_back: bool = False, undo: bool = False, kind: str = kind
        ) -> bool:
            asking = Asking(
                operation=operation, workflow_type=kind, tenant=hold.name, undo=undo, after_commit=held_back
            )
            return stops(hold, asking, now=hold.since)

        actions = {u.operation.name for u in uses if waits(u.operation, held_back=u.phase is Phase.AFTER_COMMIT)}
        undos = {u.operation.name for u in uses if u.operation.has_undo and waits(u.operation, undo=True)}
        if starts or actions or undos:
            found.append(Stopping(kind, starts, tuple(sorted(actions)), tuple(sorted(undos))))
    return found
