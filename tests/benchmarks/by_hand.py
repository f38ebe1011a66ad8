"""The same checkout in plain Temporal, written with care: what somebody does who has read the documentation.

The same activity names, payloads, timeouts and concurrency; each step's compensation is on the list before the step is
scheduled; siblings are settled before anything is undone; the undo is shielded from cancellation. Nothing remembers
which effects have happened, nothing is classified, nothing is logged or shown: that is what the kit adds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from tests.benchmarks import contract as c

T = TypeVar("T")

_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))


def _do(name: str, request: Any, result: type[T]) -> workflow.ActivityHandle[T]:
    return workflow.start_activity(
        name,
        request,
        result_type=result,
        start_to_close_timeout=c.TIMEOUT,
        schedule_to_close_timeout=timedelta(hours=1),
        retry_policy=_RETRY,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


@workflow.defn
class HandCheckout:
    """Five activities, two of them at once."""

    @workflow.run
    async def run(self, cart: c.Cart) -> c.Placed:
        """Check out one cart."""
        undo: list[tuple[str, Any]] = []
        try:
            ask_stock = c.Reserve(order_id=cart.order_id, sku=cart.sku, quantity=cart.quantity)
            ask_payment = c.Authorize(order_id=cart.order_id, amount=cart.amount, currency=cart.currency)
            undo += [("inventory.reserve.undo", ask_stock), ("payments.authorize.undo", ask_payment)]
            held, paid = await asyncio.gather(
                _do("inventory.reserve", ask_stock, c.Reserved),
                _do("payments.authorize", ask_payment, c.Authorized),
                return_exceptions=True,
            )
            if isinstance(held, BaseException):
                raise held
            if isinstance(paid, BaseException):
                raise paid
            ask_order = c.Create(
                order_id=cart.order_id,
                reservation_id=held.reservation_id,
                payment_id=paid.payment_id,
                amount=cart.amount,
            )
            undo.append(("orders.create.undo", ask_order))
            await _do("orders.create", ask_order, c.Created)
            await _do(
                "payments.capture",
                c.Capture(order_id=cart.order_id, payment_id=paid.payment_id, amount=cart.amount),
                c.Captured,
            )
            undo.clear()
            done = await _do("carts.complete", c.Complete(order_id=cart.order_id), c.Completed)
        except (FailureError, asyncio.CancelledError) as error:
            await asyncio.shield(_compensate(undo))
            raise ApplicationError("compensated", type="Compensated", non_retryable=True) from error
        return c.Placed(order_id=cart.order_id, payment_id=paid.payment_id, status=done.status)


async def _compensate(undo: list[tuple[str, Any]]) -> None:
    for name, request in reversed(undo):
        await _do(name, request, type(None))


@activity.defn(name="inventory.reserve")
async def _reserve(request: c.Reserve) -> c.Reserved:
    return c.Reserved(reservation_id=f"r-{request.order_id}")


@activity.defn(name="payments.authorize")
async def _authorize(request: c.Authorize) -> c.Authorized:
    return c.Authorized(payment_id=f"p-{request.order_id}")


@activity.defn(name="orders.create")
async def _create(request: c.Create) -> c.Created:
    return c.Created(order_id=request.order_id, status="created")


@activity.defn(name="payments.capture")
async def _capture(request: c.Capture) -> c.Captured:
    return c.Captured(payment_id=request.payment_id, status="captured")


@activity.defn(name="carts.complete")
async def _complete(request: c.Complete) -> c.Completed:
    return c.Completed(order_id=request.order_id, status="completed")


@activity.defn(name="inventory.reserve.undo")
async def _release(request: c.Reserve) -> None:
    return None


@activity.defn(name="payments.authorize.undo")
async def _void(request: c.Authorize) -> None:
    return None


@activity.defn(name="orders.create.undo")
async def _cancel(request: c.Create) -> None:
    return None


HAND_ACTIVITIES: list[Callable[..., Awaitable[Any]]] = [
    _reserve,
    _authorize,
    _create,
    _capture,
    _complete,
    _release,
    _void,
    _cancel,
]
