"""The checkout as a saga written by hand, by somebody careful: what the faults of `by_hand` are seeded into.

Every undo is registered before its step is scheduled, an activity at work is waited for, an undo is tried until it
succeeds, and is shielded from every further cancellation. It is a plain Temporal workflow, and the activities it calls
are the reference's own, with guard and ledger. It ends where the order stands: shipment and receipt are left out, which
need somebody to ask when they fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.carts import contract as carts
from activities.inventory import contract as inventory
from activities.orders import contract as orders
from activities.payments import contract as payments
from kit.contract import Operation, Outcome, Token, UndoRequest
from kit.workflow import Done, UndoEnded
from tests.mutants.seeding import Mutant
from workflows.checkout import CheckoutRequest, OrderPlaced

WAIT: Final = workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED

Call = tuple[Operation[Any, Any], Any]
"""An operation and its request."""


class ByHand:
    """What it does in each place is a method, so that a class can do it worse."""

    def __init__(self) -> None:
        self.taken: list[Call] = []

    async def check_out(self, checkout: CheckoutRequest) -> OrderPlaced:
        """The body, and the undo when it fails."""
        try:
            return await self.body(checkout)
        except BaseException:
            await self.turn_round()
            raise

    async def body(self, checkout: CheckoutRequest) -> OrderPlaced:
        """The steps."""
        reserved, authorized = await self.both(
            (
                inventory.reserve,
                inventory.ReserveStock(order_id=checkout.order_id, sku=checkout.sku, quantity=checkout.quantity),
            ),
            (
                payments.authorize,
                payments.AuthorizePayment(
                    order_id=checkout.order_id,
                    amount=checkout.amount,
                    currency=checkout.currency,
                    payment_method=checkout.payment_method,
                ),
            ),
        )
        await self.take(
            (
                orders.create,
                orders.CreateOrder(
                    **checkout.model_dump(include={"order_id", "cart_id", "sku", "quantity", "amount", "currency"}),
                    payment_intent=authorized.payment_intent,
                    reservation_id=reserved.reservation_id,
                ),
            )
        )
        await self.take(
            (
                payments.capture,
                payments.CapturePayment(
                    order_id=checkout.order_id, payment_intent=authorized.payment_intent, amount=checkout.amount
                ),
            )
        )
        cart = await self.take(
            (carts.complete, carts.CompleteCart(cart_id=checkout.cart_id, order_id=checkout.order_id))
        )
        return OrderPlaced(
            order_id=checkout.order_id,
            payment_intent=authorized.payment_intent,
            reservation_id=reserved.reservation_id,
            status=cart.status,
        )

    async def take(self, call: Call) -> Any:
        """One step: its undo is registered, then it is scheduled."""
        self.taken.append(call)
        return await self.act(call)

    async def both(self, *calls: Call) -> Sequence[Any]:
        """Several steps at once; all of them are over when this is."""
        tasks = [asyncio.ensure_future(self.take(call)) for call in calls]
        await workflow.wait(tasks)
        return [task.result() for task in tasks]

    async def act(self, call: Call, *, cancellation: workflow.ActivityCancellationType = WAIT) -> Any:
        """One activity, waited for even when the run is cancelled."""
        operation, request = call
        done: Done[Any] = await workflow.execute_activity(
            operation.name,
            args=[request, _token(call)],
            result_type=Done[operation.result],  # type: ignore[name-defined] # a type made at run time
            start_to_close_timeout=operation.timeout,
            cancellation_type=cancellation,
        )
        return done.result

    async def turn_round(self) -> None:
        """Undo everything, however often a cancellation comes meanwhile."""
        undo = asyncio.ensure_future(self.undo_all())
        while not undo.done():
            try:
                await asyncio.shield(undo)
            except asyncio.CancelledError:
                continue

    async def undo_all(self) -> None:
        """Latest first, each until it has succeeded."""
        for call in reversed(self.taken):
            await self.undo(call)

    async def undo(self, call: Call, *, retry: RetryPolicy | None = None) -> None:
        """One undo; the guard looks up whether there is anything to take back."""
        await workflow.execute_activity(
            call[0].undo_name,
            args=[self.undoing(call), _token(call)],
            result_type=UndoEnded,
            start_to_close_timeout=call[0].timeout,
            retry_policy=retry,
            cancellation_type=WAIT,
        )

    def undoing(self, call: Call) -> UndoRequest[Any, Any]:
        """What the undo of a step is told: it has not kept what came of it, so the guard is to find out."""
        return UndoRequest[Any, Any](request=call[1], outcome=Outcome.UNKNOWN)


def _token(call: Call) -> Token:
    operation, request = call
    info = workflow.info()
    key = operation.key_for(request, workflow_id=info.workflow_id)
    return Token(key=key, correlation_id=info.workflow_id, workflow_id=info.workflow_id, run_id=info.run_id)


@workflow.defn
class Careful(ByHand):
    """As it should be."""

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


ORIGINAL_BY_HAND: Final = Mutant(name="original_by_hand", story="The careful one, as it is.", workflow=Careful)
"""What the sagas written by hand are copies of: no single fault may be found in it."""
