"""The checkout on the kit."""

from __future__ import annotations

from temporalio import workflow

from kit import SagaWorkflow, Token, Undo
from kit.worker import Connector
from tests.benchmarks import contract as c


@workflow.defn
class KitCheckout(SagaWorkflow, owner="checkout-team"):
    """Five activities, two of them at once."""

    @workflow.run
    async def run(self, cart: c.Cart) -> c.Placed:
        """Check out one cart."""
        held, paid = await self.parallel(
            (c.reserve, c.Reserve(order_id=cart.order_id, sku=cart.sku, quantity=cart.quantity)),
            (c.authorize, c.Authorize(order_id=cart.order_id, amount=cart.amount, currency=cart.currency)),
        )
        await self.step(
            c.create,
            c.Create(
                order_id=cart.order_id,
                reservation_id=held.reservation_id,
                payment_id=paid.payment_id,
                amount=cart.amount,
            ),
        )
        await self.pivot(c.capture, c.Capture(order_id=cart.order_id, payment_id=paid.payment_id, amount=cart.amount))
        done = await self.step(c.complete, c.Complete(order_id=cart.order_id))
        return c.Placed(order_id=cart.order_id, payment_id=paid.payment_id, status=done.status)


class Shop(Connector):
    """Does nothing at all: what is measured is what stands around it."""

    @c.reserve.action
    async def reserve(self, request: c.Reserve, token: Token) -> c.Reserved:
        return c.Reserved(reservation_id=f"r-{request.order_id}")

    @c.reserve.compensation
    async def release(self, undo: Undo[c.Reserve, c.Reserved], token: Token) -> None:
        return None

    @c.authorize.action
    async def authorize(self, request: c.Authorize, token: Token) -> c.Authorized:
        return c.Authorized(payment_id=f"p-{request.order_id}")

    @c.authorize.compensation
    async def void(self, undo: Undo[c.Authorize, c.Authorized], token: Token) -> None:
        return None

    @c.create.action
    async def create(self, request: c.Create, token: Token) -> c.Created:
        return c.Created(order_id=request.order_id, status="created")

    @c.create.compensation
    async def cancel(self, undo: Undo[c.Create, c.Created], token: Token) -> None:
        return None

    @c.capture.action
    async def capture(self, request: c.Capture, token: Token) -> c.Captured:
        return c.Captured(payment_id=request.payment_id, status="captured")

    @c.complete.action
    async def complete(self, request: c.Complete, token: Token) -> c.Completed:
        return c.Completed(order_id=request.order_id, status="completed")

    @c.complete.compensation
    async def reopen(self, undo: Undo[c.Complete, c.Completed], token: Token) -> None:
        return None
