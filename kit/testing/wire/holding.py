"""The holds of a scenario: an operator who switches one on before a call, and off again two attempts later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from kit.contract import Asking, Hold, HoldScope, Role, Token
from kit.errors import Outcome
from kit.ledger import MemoryHolds
from kit.testing.faults import Fault, FaultKind, Point
from kit.testing.runs import WORKER, Seen
from kit.testing.wire.aftermath import Place
from kit.testing.wire.witness import EPOCH, Witness
from kit.worker.holding import HoldWatch, Stopped

WHO: Final = "the sweep"


class WireHolds(HoldWatch):
    """What the scenario's worker knows of the holds: real ones, on the operation and its undo where that is meant.

    Nobody looks at a store: what the operator has switched is known at once, so that one seed gives one run.
    """

    def __init__(self, carrier: Witness) -> None:
        super().__init__(MemoryHolds())
        self._carrier = carrier

    @property
    def knows(self) -> bool:
        """Always."""
        return True

    async def look(self) -> bool:
        """There is nothing to look at."""
        return True

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Nor is anything looked at again and again."""
        yield

    def stopped(self, asking: Asking, *, token: Token, now: datetime) -> Stopped | None:
        """See base class. The operator comes before the attempt does."""
        carrier, held = self._carrier, self._carrier.aftermath.held
        place = (asking.operation.name, Role.COMPENSATION if asking.undo else Role.ACTION)
        fault = carrier.before(place, FaultKind.HELD)
        if fault is not None and place not in held:
            carrier.aftermath.hold(place, fault)
        self._holds = () if carrier.well else tuple(_hold(fault) for fault, _ in held.values())
        found = super().stopped(asking, token=token, now=now) if self._holds else None
        if found is not None:
            self._hold_back(place, token)
        return found

    def _hold_back(self, place: Place, token: Token) -> None:
        """A hold has stopped an attempt: it counts as the call it would have made."""
        carrier, (operation, role) = self._carrier, place
        point = Point(operation, role, carrier.count(place))
        fault = carrier.aftermath.stops(place)
        carrier.strike(fault, WORKER, f"{point} is held back: there is a hold on {operation}")
        kinds = (FaultKind.CANCEL_BEFORE,)
        persistent = token.persistent or role is Role.COMPENSATION
        carrier.seen.append(
            Seen(point, token.workflow_id, token.key, token.attempt, fault, Outcome.NOT_STARTED, kinds, persistent)
        )


def _hold(fault: Fault) -> Hold:
    return Hold(
        scope=HoldScope.OPERATION,
        name=fault.point.operation,
        reason=str(fault),
        who=WHO,
        since=EPOCH,
        undo=fault.point.role is Role.COMPENSATION,
    )
