"""The holds of a scenario: an operator who switches one on before a call, and off again two attempts later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from kit.contract import Asking, Hold, HoldScope, Role, Token
from kit.ledger import MemoryHolds
from kit.testing.faults import Fault
from kit.testing.wire.carrying import EPOCH, Carrier
from kit.worker.holding import HoldWatch, Stopped

WHO: Final = "the sweep"


class WireHolds(HoldWatch):
    """What the scenario's worker knows of the holds: real ones, on the operation and its undo where that is meant.

    Nobody looks at a store: what the operator has switched is known at once, so that one seed gives one run.
    """

    def __init__(self, carrier: Carrier) -> None:
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
        carrier = self._carrier
        role = Role.COMPENSATION if asking.undo else Role.ACTION
        name = asking.operation.name
        carrier.next_call(name, role)
        if not carrier.holds:
            return None
        self._holds = tuple(_hold(fault) for fault in carrier.held(name, role))
        found = super().stopped(asking, token=token, now=now)
        if found is not None:
            carrier.hold_back(name, role, token)
        return found


def _hold(fault: Fault) -> Hold:
    return Hold(
        scope=HoldScope.OPERATION,
        name=fault.point.operation,
        reason=str(fault),
        who=WHO,
        since=EPOCH,
        undo=fault.point.role is Role.COMPENSATION,
    )
