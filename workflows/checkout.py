"""Checkout: from a full cart to a paid order, or back to where it began."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

from activities.carts import contract as carts
from activities.email import contract as email
from activities.fulfilment import contract as fulfilment
from activities.inventory import contract as inventory
from activities.orders import contract as orders
from activities.payments import contract as payments
from kit import Model, SagaWorkflow


class CheckoutRequest(Model):
    """What the shop knows when the customer presses the button."""

    order_id: payments.Id
    cart_id: payments.Id
    sku: payments.Id
    quantity: inventory.Quantity
    amount: payments.Amount
    currency: payments.Currency
    payment_method: str
    email: email.Address


class OrderPlaced(Model):
    """A paid order."""

    order_id: str
    payment_intent: str
    reservation_id: str
    status: str


@workflow.defn
class Checkout(
    SagaWorkflow,
    owner="checkout-team",
    deadline=timedelta(hours=1),
    runbook="docs/explanation/failure-model.md#for-operators",
):
    """Reserve and authorize, create the order, capture, complete; then ship and send the receipt.

    The capture is the pivot: before it everything can be taken back without the customer noticing, after it the
    order stands. Shipment and receipt cannot be taken back, so they leave only once the order stands.
    """

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        reservation, authorization = await self.parallel(
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
        await self.step(
            orders.create,
            orders.CreateOrder(
                order_id=checkout.order_id,
                cart_id=checkout.cart_id,
                sku=checkout.sku,
                quantity=checkout.quantity,
                amount=checkout.amount,
                currency=checkout.currency,
                payment_intent=authorization.payment_intent,
                reservation_id=reservation.reservation_id,
            ),
        )
        await self.pivot(
            payments.capture,
            payments.CapturePayment(
                order_id=checkout.order_id, payment_intent=authorization.payment_intent, amount=checkout.amount
            ),
        )
        cart = await self.step(carts.complete, carts.CompleteCart(cart_id=checkout.cart_id, order_id=checkout.order_id))
        self.after_commit(
            fulfilment.request_shipment,
            fulfilment.RequestShipment(order_id=checkout.order_id, sku=checkout.sku, quantity=checkout.quantity),
        )
        self.after_commit(
            email.send_receipt,
            email.SendReceipt(
                order_id=checkout.order_id, to=checkout.email, amount=checkout.amount, currency=checkout.currency
            ),
        )
        return OrderPlaced(
            order_id=checkout.order_id,
            payment_intent=authorization.payment_intent,
            reservation_id=reservation.reservation_id,
            status=cart.status,
        )
