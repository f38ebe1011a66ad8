"""The checkout's connectors on a wire, driven through the real guard as Temporal would drive them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final, NoReturn

from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from activities.email.contract import SendReceipt
from activities.inventory.contract import ReserveStock
from activities.orders.contract import CreateOrder
from activities.payments.contract import AuthorizePayment
from kit.contract import Operation, Outcome, Token, UndoRequest
from kit.ledger import State
from kit.testing.faults import FaultKind, Scenario
from kit.testing.wire import Wire, WorkerLost
from kit.testing.wire.controls import never
from kit.testing.world import World
from kit.worker import Attempt, Guard
from tests.worker.world import Failure, clock, now
from tests.worlds.checkout import AMOUNT, CART, CURRENCY, ORDER, SKU, CheckoutWorld

AUTHORIZE: Final = AuthorizePayment(order_id=ORDER, amount=AMOUNT, currency=CURRENCY, payment_method="pm_card_visa")
RESERVE: Final = ReserveStock(order_id=ORDER, sku=SKU, quantity=2)
CREATE: Final = CreateOrder(
    order_id=ORDER,
    cart_id=CART,
    sku=SKU,
    quantity=2,
    amount=AMOUNT,
    currency=CURRENCY,
    payment_intent="pi_1",
    reservation_id="res_1",
)
SEND: Final = SendReceipt(order_id=ORDER, to="customer@example.com", amount=AMOUNT, currency=CURRENCY)


class Hand:
    """An engine's controls, which write down what they were asked, and how the world stood then."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.live = 0
        self.world: World | None = None

    def now(self) -> timedelta:
        """Virtual."""
        return timedelta(seconds=clock())

    async def cancel(self) -> None:
        """Written down."""
        await self._note("cancel")

    async def cancel_with_result(self) -> None:
        """Written down."""
        await self._note("cancel_with_result")

    async def terminate(self) -> None:
        """Written down."""
        await self._note("terminate")

    async def start_again(self) -> None:
        """Written down."""
        await self._note("start_again")

    async def hand_over(self) -> None:
        """Written down."""
        await self._note("hand_over")

    async def die(self) -> NoReturn:
        """As on a real worker."""
        await never()

    async def _note(self, what: str) -> None:
        self.asked.append(what)
        if self.world is not None:
            self.live = sum(effect.live for effect in await self.world.truth())


class Bench:
    """One scenario, attempt by attempt.

    Args:
        scenario: As `Scenario.parse` reads it.
    """

    def __init__(self, scenario: str = "clean") -> None:
        self.hand = Hand()
        self.wire = Wire(Scenario.parse(scenario), self.hand)
        self.world = CheckoutWorld(self.wire)
        self.hand.world = self.world
        self.guard = Guard(self.wire.ledger(self.world.ledger), clock=clock, holds=self.wire.watch())
        self.served = {
            name: (handlers.operation, each)
            for each in self.world.connectors
            for name, handlers in each.handlers.items()
        }
        self.attempts: dict[str, int] = {}
        self.counts: dict[str, dict[str, int]] = {}

    async def act(self, operation: Operation[Any, Any], request: BaseModel) -> Any:
        """The next attempt of an action; its result, or how it failed."""
        _, connector = self.served[operation.name]
        attempt = self._attempt(operation, operation.name)
        try:
            return await self.guard.act(connector, operation, request, self._token(operation, request), attempt)
        except ApplicationError as error:
            return Failure.of(error)

    async def undo(self, operation: Operation[Any, Any], request: BaseModel, *, result: Any = None) -> Any:
        """The next attempt of an undo; whether there was an effect, or how it failed."""
        _, connector = self.served[operation.name]
        outcome = Outcome.UNKNOWN if result is None else Outcome.DONE
        asked = UndoRequest[Any, Any](request=request, result=result, outcome=outcome)
        attempt = self._attempt(operation, operation.undo_name)
        try:
            return await self.guard.undo(connector, operation, asked, self._token(operation, request), attempt)
        except ApplicationError as error:
            return Failure.of(error)

    async def drive(self, step: Any) -> Any:
        """Repeat attempts as Temporal would, until one ends it."""
        for _ in range(40):
            began = clock()
            try:
                ended = await step()
            except WorkerLost:
                await asyncio.sleep(began + 11 - clock())
                continue
            if not isinstance(ended, Failure) or ended.permanent:
                return ended
            await asyncio.sleep(ended.delay.total_seconds())
        raise AssertionError("40 attempts did not end it")

    async def live(self) -> list[str]:
        """The operations whose effects stand, oldest first."""
        return [effect.operation for effect in await self.world.truth() if effect.live]

    def calls(self) -> int:
        """How many requests the sandbox's providers received."""
        return len(self.world.app.exchange.journal.calls())

    async def state(self, key: str) -> State | None:
        """The state of a row of the effect ledger."""
        row = await self.world.ledger.get(key)
        return None if row is None else row.state

    def told(self, kind: FaultKind) -> bool:
        """Whether the story tells of a fault."""
        return any(line.fault is not None and line.fault.kind is kind for line in self.wire.story)

    def _token(self, operation: Operation[Any, Any], request: BaseModel) -> Token:
        key = operation.key_for(request, workflow_id="w-1")
        return Token(key=key, correlation_id="corr-1", workflow_id="w-1", step=1)

    def _attempt(self, operation: Operation[Any, Any], place: str) -> Attempt:
        number = self.attempts[place] = self.attempts.get(place, 0) + 1
        return Attempt(
            number=number,
            started_at=now(),
            timeout=operation.timeout,
            counts=dict(self.counts.get(place, {})),
            remember=lambda counts: self.counts.__setitem__(place, dict(counts)),
            clock=clock,
        )


async def bench(scenario: str = "clean") -> Bench:
    """A bench with its world open."""
    made = Bench(scenario)
    await made.world.open()
    return made
