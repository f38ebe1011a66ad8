"""The ways in which a saga that is written by hand goes wrong: each forgets one thing that `Careful` does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from activities.carts import contract as carts
from activities.orders import contract as orders
from activities.orders.contract import CartStatus
from activities.payments import contract as payments
from kit.contract import Outcome, UndoRequest
from tests.mutants.careful import WAIT, ByHand, Call
from tests.mutants.seeding import Mutant
from workflows.checkout import CheckoutRequest, OrderPlaced


@workflow.defn
class UndoRegisteredAfterTheStep(ByHand):
    """What raised has not happened, it thinks."""

    async def take(self, call: Call) -> Any:
        """See base class."""
        result = await self.act(call)
        self.taken.append(call)
        return result

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class ExceptException(ByHand):
    """A cancellation is no `Exception`."""

    async def check_out(self, checkout: CheckoutRequest) -> OrderPlaced:
        """See base class."""
        try:
            return await self.body(checkout)
        except Exception:
            await self.turn_round()
            raise

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class SiblingNotSettled(ByHand):
    """The first failure is enough for it: what the other branch is doing is not waited for."""

    async def both(self, *calls: Call) -> Sequence[Any]:
        """See base class."""
        return await asyncio.gather(*(self.take(call) for call in calls))

    async def take(self, call: Call) -> Any:
        """See base class."""
        result = await self.act(call)
        self.taken.append(call)
        return result

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class UndoNotShielded(ByHand):
    """A cancellation reaches the undo, and ends it."""

    async def turn_round(self) -> None:
        """See base class."""
        await self.undo_all()

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class ShieldAwaitedOnce(ByHand):
    """A cancellation ends the await of the shield, and with it the run; the rest of the undo is never scheduled."""

    async def turn_round(self) -> None:
        """See base class."""
        await asyncio.shield(self.undo_all())

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class UndoTriedOnce(ByHand):
    """An undo that fails is not tried again."""

    async def undo(self, call: Call, *, retry: RetryPolicy | None = None) -> None:
        """See base class."""
        await super().undo(call, retry=RetryPolicy(maximum_attempts=1))

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class UndoOfWhatWasRefused(ByHand):
    """Every step that was begun is undone as if it had succeeded; what its undo needs to know is made up."""

    def undoing(self, call: Call) -> UndoRequest[Any, Any]:
        """See base class."""
        operation, request = call
        if operation is not payments.authorize:
            return super().undoing(call)
        held = payments.Authorization(
            payment_intent=f"pi_of_{request.order_id}", amount=request.amount, currency=request.currency
        )
        return UndoRequest[Any, Any](request=request, result=held, outcome=Outcome.DONE)

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class UndoInOrder(ByHand):
    """First taken, first undone: what a later step has built on an earlier one stands in the way."""

    async def undo_all(self) -> None:
        """See base class."""
        for call in self.taken:
            await self.undo(call)

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class CancelSwallowed(ByHand):
    """Whatever a step raises is a hiccup: the saga goes on with what it has."""

    async def take(self, call: Call) -> Any:
        """See base class."""
        self.taken.append(call)
        try:
            return await self.act(call)
        except BaseException:
            operation, request = call
            if operation.result is carts.Cart:
                return carts.Cart(cart_id=request.cart_id, status=CartStatus.COMPLETED)
            if operation.result in (payments.Capture, orders.Order):
                return None
            raise

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class RefundLeftOut(ByHand):
    """What comes after the charge does not fail, it thinks; when it does, the charge stays."""

    async def turn_round(self) -> None:
        """See base class."""
        self.taken = [call for call in self.taken if call[0] is not payments.capture]
        await super().turn_round()

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class EffectLeftToItself(ByHand):
    """The default cancellation type: an activity at work is left behind, and lands after the undo."""

    async def take(self, call: Call) -> Any:
        """See base class."""
        result = await self.act(call)
        self.taken.append(call)
        return result

    async def act(self, call: Call, *, cancellation: workflow.ActivityCancellationType = WAIT) -> Any:
        """See base class."""
        return await super().act(call, cancellation=workflow.ActivityCancellationType.TRY_CANCEL)

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


@workflow.defn
class GivenUpOnTime(ByHand):
    """The whole checkout gets a limit by `asyncio.wait_for`, and its end by that limit is not seen as a failure."""

    async def check_out(self, checkout: CheckoutRequest) -> OrderPlaced:
        """See base class."""
        try:
            return await asyncio.wait_for(self.body(checkout), timedelta(seconds=5).total_seconds())
        except ActivityError:
            await self.turn_round()
            raise

    @workflow.run
    async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
        """Check out one cart."""
        return await self.check_out(checkout)


def _fault(name: str, story: str, saga: type, *, caught: str, breaks: str) -> Mutant:
    return Mutant(name=name, story=story, workflow=saga, caught=caught, breaks=breaks)


IN_SAGAS_BY_HAND: Final = (
    _fault(
        "undo_registered_after_the_step",
        "The undo goes on the list when the step has returned.",
        UndoRegisteredAfterTheStep,
        caught="payments.authorize#1:replies_lost",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "except_exception",
        "`except Exception` round the saga.",
        ExceptException,
        caught="payments.authorize#1:cancel_with_result",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "sibling_not_settled",
        "`asyncio.gather`, and the undo at its first failure.",
        SiblingNotSettled,
        caught="payments.authorize#1:cancel_before",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "undo_not_shielded",
        "The undo is awaited like everything else.",
        UndoNotShielded,
        caught="payments.authorize.undo#1:cancel_before+payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "shield_awaited_once",
        "`await asyncio.shield(undo())`, once.",
        ShieldAwaitedOnce,
        caught="payments.authorize.undo#1:cancel_during+payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "undo_tried_once",
        "`maximum_attempts=1`, lest an undo runs twice.",
        UndoTriedOnce,
        caught="payments.authorize#1:replies_lost",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "undo_of_what_was_refused",
        "A clean refusal is undone, too, 'better safe than sorry'.",
        UndoOfWhatWasRefused,
        caught="payments.authorize#1:refused",
        breaks="only what may have happened is undone",
    ),
    _fault(
        "undo_in_order",
        "The list of undos is walked from its beginning.",
        UndoInOrder,
        caught="carts.complete#1:cancel_before",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "cancel_swallowed",
        "`except BaseException` round a step, 'for robustness'.",
        CancelSwallowed,
        caught="payments.capture#1:refused",
        breaks="a placed order is paid in full, another one is not paid",
    ),
    _fault(
        "refund_left_out",
        "The refund is left out of the undo.",
        RefundLeftOut,
        caught="carts.complete#1:cancel_before",
        breaks="a placed order is paid in full, another one is not paid",
    ),
    _fault(
        "effect_left_to_itself",
        "The default cancellation type.",
        EffectLeftToItself,
        caught="payments.authorize#1:cancel_during",
        breaks="ended without success: nothing is left",
    ),
    _fault(
        "given_up_on_time",
        "`asyncio.wait_for` round the saga.",
        GivenUpOnTime,
        caught="inventory.reserve#1:too_slow",
        breaks="ended without success: nothing is left",
    ),
)
