"""The seams on this side of the wire: the ledger that the guard writes to, and the worker that runs the attempts."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final, Self

import temporalio.exceptions
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from kit.contract.operation import UNDO_SUFFIX
from kit.errors import LedgerUnavailable
from kit.ledger import (
    Busy,
    ClaimAction,
    Claimed,
    ClaimUndo,
    Command,
    Complete,
    Decide,
    Doubt,
    Entry,
    Ledger,
    Lost,
    Recorded,
    Rejected,
    Release,
    ReleaseUndo,
    Settled,
    Undone,
    Verdict,
)
from kit.testing.faults import Fault, FaultKind
from kit.testing.runs import LEDGER, SERVER, WORKER
from kit.testing.wire import failing
from kit.testing.wire.carrying import Carrier, Execution, current_execution
from kit.testing.wire.controls import WorkerLost

STALL: Final = timedelta(seconds=1)
"""How long after the end of its lease a frozen worker goes on."""

_ASKED: Final[dict[type[Command], str]] = {
    ClaimAction: "claim the action",
    ClaimUndo: "claim the undo",
    Complete: "record the result",
    Release: "give the claim back",
    Doubt: "write down that it may have happened",
    Undone: "record the undo",
    ReleaseUndo: "give the undo back",
    Decide: "write a person's decision down",
}


class WireLedger:
    """The ledger of a scenario: tells the story of every row, and fails when the scenario says so."""

    def __init__(self, carrier: Carrier, inner: Ledger) -> None:
        self._carrier = carrier
        self._inner = inner
        self._failing: dict[str, str] = {}
        """By key, the owner whose result cannot be written down."""

    async def open(self) -> None:
        """See `Ledger`."""
        await self._inner.open()

    async def close(self) -> None:
        """See `Ledger`."""
        await self._inner.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def apply(self, command: Command, *, expected: Entry | None = None) -> Verdict:
        """See `Ledger`."""
        if isinstance(command, Complete | Undone):
            await self._hinder(command, expected)
        verdict = await self._inner.apply(command, expected=expected)
        self._carrier.tell(LEDGER, f"{command.key}: asked to {_ASKED[type(command)]}: {_told(verdict)}")
        return verdict

    async def get(self, key: str) -> Entry | None:
        """See `Ledger`."""
        return await self._inner.get(key)

    async def of_saga(self, saga: str) -> list[Entry]:
        """See `Ledger`."""
        return await self._inner.of_saga(saga)

    async def page(self, prefix: str, *, after: str = "", limit: int = 100) -> list[Entry]:
        """See `Ledger`."""
        return await self._inner.page(prefix, after=after, limit=limit)

    async def purge(self, now: datetime) -> int:
        """See `Ledger`."""
        return await self._inner.purge(now)

    async def _hinder(self, command: Complete | Undone, expected: Entry | None) -> None:
        carrier = self._carrier
        fault = carrier.aftermath.records.pop(command.key, None)
        if fault is not None and not carrier.well:
            if fault.kind is FaultKind.STALLED:
                await self._stall(command, expected, fault)
            else:
                carrier.strike(fault, LEDGER, f"{command.key}: cannot be reached, so the result is not written down")
                self._failing[command.key] = command.owner
        if self._failing.get(command.key) == command.owner and not carrier.well:
            raise LedgerUnavailable("the ledger cannot be reached")

    async def _stall(self, command: Complete | Undone, expected: Entry | None, fault: Fault) -> None:
        lease = expected.lease_until if expected is not None and expected.lease_until is not None else command.now
        asleep = max(lease + STALL - command.now, STALL)
        self._carrier.strike(
            fault, WORKER, f"freezes with the result of {command.key} for {asleep.total_seconds():.1f} s"
        )
        await asyncio.sleep(asleep.total_seconds())
        self._carrier.tell(WORKER, f"wakes up and goes on with {command.key}", fault=fault)


def _told(verdict: Verdict) -> str:
    match verdict:
        case Claimed(entry) if entry.unknown_since is not None:
            return "go ahead, but an earlier attempt may have done it"
        case Claimed():
            return "go ahead"
        case Recorded():
            return "it is done already, here is its result"
        case Settled(entry):
            return f"it is {entry.state.value}"
        case Busy():
            return "another attempt holds it, come back later"
        case Rejected(_, _, reason):
            return f"never ({reason})"
        case Lost(entry):
            return f"not yours any more, it is {'gone' if entry is None else entry.state.value}"


class WireInterceptor(Interceptor):
    """Stands outermost around every activity: a dead worker stays silent, and what strikes at the end strikes here."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Inbound(next, self._carrier)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, carrier: Carrier) -> None:
        super().__init__(next)
        self._carrier = carrier

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """See base class."""
        execution = Execution(undo=activity.in_activity() and activity.info().activity_type.endswith(UNDO_SUFFIX))
        current_execution.set(execution)
        try:
            result = await super().execute_activity(input)
        except WorkerLost:
            await self._carrier.controls.die()
        except temporalio.exceptions.FailureError as failure:
            if activity.in_activity():
                self._carrier.tell(WORKER, failing.told(activity.info(), failure))
            await self._die_recorded(execution)
            raise
        await self._die_recorded(execution)
        for fault in execution.armed:
            if fault.kind is FaultKind.CANCEL_WITH_RESULT:
                text = f"is asked to cancel the run; this and the result of {fault.point} reach it together"
                self._carrier.strike(fault, SERVER, text)
                await self._carrier.controls.cancel_with_result()
        return result

    async def _die_recorded(self, execution: Execution) -> None:
        for fault in execution.armed:
            if fault.kind is FaultKind.CRASH_RECORDED:
                text = f"the worker dies after {fault.point} is recorded, before Temporal hears of it"
                self._carrier.strike(fault, WORKER, text)
                self._carrier.lost = True
                await self._carrier.controls.die()
