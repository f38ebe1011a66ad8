"""What one process knows of the holds: one look at the store every second, for all its attempts together.

A hold takes effect on a running worker within `EVERY`, and what a look takes. A step that waits asks again after
`kit.contract.HELD_PAUSE`, so it goes on within the sum of both after the hold's end.

A store that cannot be reached leaves the last knowledge in force: what was on stays on. After `STALE_AFTER` nobody can
say any more whether a hold is on, and each operation does what it declares (`kit.contract.HoldFails`): it goes on or it
waits. So does a worker that starts while the store is down, from its first attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from kit.contract import Asking, Hold, HoldFails, Token, stops
from kit.errors import LedgerError
from kit.ledger.holds import HoldStore
from kit.telemetry import Event, process_log
from kit.worker.context import elapsed

EVERY: Final = timedelta(seconds=1)
"""Between two looks at the store."""

STALE_AFTER: Final = timedelta(seconds=10)
"""How old the last look may be before nobody can say whether a hold is on."""

log: Final = process_log("kit.holds")


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why an attempt may not pass.

    Attributes:
        hold: What stops it; ``None`` when nobody can say whether a hold is on.
    """

    hold: Hold | None

    def __str__(self) -> str:
        """A sentence's end, for people."""
        if self.hold is None:
            return "whether a hold is on cannot be known: their store does not answer"
        return f"there is a {self.hold}"


class HoldWatch:
    """What one process knows of the holds.

    Args:
        store: Where they are kept.
        clock: Seconds that only go forward.
        stale_after: See `STALE_AFTER`.
    """

    def __init__(
        self, store: HoldStore, *, clock: Callable[[], float] = elapsed, stale_after: timedelta = STALE_AFTER
    ) -> None:
        self.store = store
        self._clock = clock
        self._stale_after = stale_after.total_seconds()
        self._holds: tuple[Hold, ...] = ()
        self._looked: float | None = None
        self._reached = True

    @property
    def holds(self) -> tuple[Hold, ...]:
        """Those that were on when it last looked."""
        return self._holds

    @property
    def knows(self) -> bool:
        """Whether it can still say which holds are on."""
        return self._looked is not None and self._clock() - self._looked <= self._stale_after

    def stopped(self, asking: Asking, *, token: Token, now: datetime) -> Stopped | None:
        """Whether an attempt must wait, and why. Asks nobody: this is on the way of every effect.

        Args:
            asking: What it would do.
            token: Of the attempt; for whoever tells of it.
            now: The server's time.
        """
        for hold in self._holds:
            if stops(hold, asking, now=now):
                return Stopped(hold)
        if asking.undo or asking.operation.hold_fails is HoldFails.OPEN or self.knows:
            return None
        return Stopped(None)

    async def look(self) -> bool:
        """Look at the store. Returns whether it answered; without an answer the last knowledge stays."""
        try:
            async with asyncio.timeout(self._stale_after):
                await self.store.open()
                holds = tuple(await self.store.active())
        except (LedgerError, TimeoutError) as error:
            if self._reached:
                log.warning(Event.HOLDS_UNREACHABLE, error=str(error) or type(error).__name__)
            self._reached = False
            return False
        if not self._reached:
            log.info(Event.HOLDS_REACHED)
        self._learn(holds)
        self._reached, self._looked = True, self._clock()
        return True

    async def fresh(self) -> bool:
        """`look`, unless that was done less than `EVERY` ago: for a client, which nobody looks for."""
        recent = self._looked is not None and self._clock() - self._looked < EVERY.total_seconds()
        return recent or await self.look()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look now, and again and again while the block lasts."""
        await self.look()
        task = asyncio.create_task(self._again_and_again(), name="kit holds")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _again_and_again(self) -> None:
        while True:
            await asyncio.sleep(EVERY.total_seconds())
            try:
                await self.look()
            except Exception:  # whatever it is, a watch that has ended would never see a hold again
                log.exception(Event.HOLDS_UNREACHABLE)

    def _learn(self, holds: tuple[Hold, ...]) -> None:
        before, now = set(self._holds), set(holds)
        for hold in sorted(now - before, key=str):
            until = hold.until and hold.until.isoformat()
            log.warning(
                Event.HOLD_IN_FORCE,
                scope=hold.scope.value,
                held=hold.name,
                who=hold.who,
                reason=hold.reason,
                until=until,
            )
        for hold in sorted(before - now, key=str):
            log.info(Event.HOLD_LIFTED, scope=hold.scope.value, held=hold.name)
        self._holds = holds
