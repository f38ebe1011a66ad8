"""The orders of the demo: what goes wrong with each, how it is played, and how it must end."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import insert
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, CancelledError

from activities.orders.contract import OrderStatus
from activities.orders.tables import open_cart, orders
from kit.ledger import SqlLedger, State
from kit.testing.sandbox import EffectKind, FaultKind, Operation
from kit.workflow import COMPENSATED
from temporal.demo.stage import ATTEMPT_CAP, BAD_BUILD, Stage
from workflows.checkout import Checkout, CheckoutRequest

AMOUNT: Final = 4999
CURRENCY: Final = "usd"
SKU: Final = "BOOK"

_POLL: Final = 0.02  # seconds between two looks whether a provider has done something


class Ending(StrEnum):
    """How an order ended."""

    COMPLETED = "completed"
    UNDONE = "compensated"
    CANCELLED = "cancelled"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Ended:
    """How one order ended, as its callers were told.

    Attributes:
        run_id: The run.
        status: Temporal's word: ``completed``, ``failed`` or ``canceled``.
        outcome: The kit's.
        reason: The reason code, unless it completed.
        answers: What each caller got.
        remarks: What the play itself saw, for the reader.
        problems: What the play itself found wrong.
    """

    run_id: str
    status: str
    outcome: Ending
    reason: str | None = None
    answers: tuple[Any, ...] = ()
    remarks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """One order.

    Attributes:
        name: The order's id without its suffix.
        title: What happens, in a few words.
        promise: What must come of it.
        ending: How it must end.
        faults: What is scripted, as (operation, fault, further arguments).
        payment_method: The customer's card.
        play: How it is submitted, and what else is done meanwhile.
        prepare: What is done to the shop before.
        alone: Played after all others: it kills the worker.
    """

    name: str
    title: str
    promise: str
    ending: Ending
    faults: tuple[tuple[Operation, FaultKind, dict[str, Any]], ...] = ()
    payment_method: str = "pm_card_visa"
    play: Callable[[Stage, Story], Awaitable[Ended]] | None = None
    prepare: Callable[[Stage, Story], Awaitable[None]] | None = None
    alone: bool = False

    def order_id(self, stage: Stage) -> str:
        """The order's id, which is the workflow's, too."""
        return f"order-{self.name}{stage.suffix}"

    def cart_id(self, stage: Stage) -> str:
        """The cart's id."""
        return f"cart-{self.name}{stage.suffix}"

    def request(self, stage: Stage) -> CheckoutRequest:
        """What the shop submits."""
        return CheckoutRequest(
            order_id=self.order_id(stage),
            cart_id=self.cart_id(stage),
            sku=SKU,
            quantity=1,
            amount=AMOUNT,
            currency=CURRENCY,
            payment_method=self.payment_method,
            email=f"{self.name}@customer.example",
        )

    async def set_scene(self, stage: Stage) -> None:
        """Put the cart into the shop and script the faults."""
        await open_cart(stage.shop, self.cart_id(stage))
        if self.prepare is not None:
            await self.prepare(stage, self)
        for operation, fault, arguments in self.faults:
            await stage.sandbox.control.fault(operation, fault, match=self.order_id(stage), **arguments)

    async def run(self, stage: Stage) -> Ended:
        """Play it to its end."""
        return await (self.play or _submit)(stage, self)


async def _start(stage: Stage, story: Story) -> WorkflowHandle[Checkout, Any]:
    """Submit a checkout. The workflow's id is the order's: whoever submits it again joins the first run."""
    return await stage.client.start_workflow(
        Checkout.run,
        story.request(stage),
        id=story.order_id(stage),
        task_queue=stage.settings.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
    )


async def _submit(stage: Stage, story: Story) -> Ended:
    return await _end_of(await _start(stage, story))


async def _end_of(handle: WorkflowHandle[Checkout, Any]) -> Ended:
    """Wait for the end of a run, and say it in the words of the kit."""
    run_id = handle.first_execution_run_id or handle.result_run_id or ""
    try:
        placed = await handle.result()
    except WorkflowFailureError as error:
        match error.cause:
            case ApplicationError(type=kind, details=details) if kind == COMPENSATED:
                return Ended(run_id, "failed", Ending.UNDONE, _reason(details))
            case CancelledError(details=details):
                return Ended(run_id, "canceled", Ending.CANCELLED, _reason(details))
            case other:
                return Ended(run_id, "failed", Ending.OTHER, str(other))
    return Ended(run_id, "completed", Ending.COMPLETED, answers=(placed,))


def _reason(details: Any) -> str | None:
    """The reason code in the summary that every closed saga carries."""
    summary = details[0] if details else None
    return summary.get("reason_code") if isinstance(summary, dict) else None


async def _submit_three_times(stage: Stage, story: Story) -> Ended:
    """Three impatient clicks, at the same moment."""
    handles = await asyncio.gather(*(_start(stage, story) for _ in range(3)))
    ends = await asyncio.gather(*(_end_of(handle) for handle in handles))
    runs = {end.run_id for end in ends}
    answers = tuple(answer for end in ends for answer in end.answers)
    problems = []
    if len(runs) != 1:
        problems.append(f"three submissions made {len(runs)} runs")
    if len(answers) != len(handles) or any(answer != answers[0] for answer in answers):
        problems.append(f"the three callers were not told the same: {answers!r}")
    remarks = ("3 submissions, 1 run, the same answer to all 3",)
    return dataclasses.replace(ends[0], answers=answers, remarks=remarks, problems=tuple(problems))


async def _cancel_while_authorizing(stage: Stage, story: Story) -> Ended:
    """The customer goes away while the payment provider has held the money and not yet answered."""
    handle = await _start(stage, story)
    await _until_done(stage, story, EffectKind.AUTHORIZED)
    await handle.cancel()
    return await _end_of(handle)


async def _kill_worker_while_capturing(stage: Stage, story: Story) -> Ended:
    """The provider has taken the money; the worker is killed before it hears of it."""
    handle = await _start(stage, story)
    await _until_done(stage, story, EffectKind.CAPTURED)
    pid = stage.worker.pid
    await stage.worker.kill()
    async with SqlLedger(stage.settings.ledger_url) as ledger:
        entry = await ledger.get(f"capture:{story.order_id(stage)}")
    state = entry.state if entry else None
    await stage.start_worker(build_id=BAD_BUILD)
    end = await _end_of(handle)
    missed = f"the kill did not strike between effect and record: the ledger said {state!r}"
    return dataclasses.replace(
        end,
        remarks=(f"worker {pid} killed after the charge, before its record; worker {stage.worker.pid} took over",),
        problems=() if state is State.CLAIMED else (missed,),
    )


async def _until_done(stage: Stage, story: Story, kind: EffectKind) -> None:
    """Wait until a provider has written an effect of the order down."""
    order_id = story.order_id(stage)
    # The provider is asked from outside, as anybody could: it has no event to wait for.
    while not any(effect.kind is kind for effect in await stage.sandbox.control.effects(order_id)):  # noqa: ASYNC110
        await asyncio.sleep(_POLL)


async def _order_is_there_already(stage: Stage, story: Story) -> None:
    """An import has left a cancelled order under the same id: to create it again breaks the primary key."""
    async with stage.shop.begin() as tx:
        await tx.execute(
            insert(orders).values(
                id=story.order_id(stage),
                cart_id="imported",
                sku=SKU,
                quantity=1,
                amount=AMOUNT,
                currency=CURRENCY,
                payment_intent="imported",
                reservation_id="imported",
                status=OrderStatus.CANCELLED,
            )
        )


STORIES: Final = (
    Story(
        name="success",
        title="Everything works",
        promise="charged once, shipped, receipt sent",
        ending=Ending.COMPLETED,
    ),
    Story(
        name="card-declined",
        title="The card is declined",
        promise="no charge, stock released",
        ending=Ending.UNDONE,
        payment_method="pm_card_chargeDeclined",
    ),
    Story(
        name="create-fails",
        title="The order cannot be created after the payment is authorized",
        promise="hold on the card voided, stock released, cart open again",
        ending=Ending.UNDONE,
        prepare=_order_is_there_already,
    ),
    Story(
        name="capture-refused",
        title="The bank refuses the charge when all else is done",
        promise="order cancelled, hold voided, stock released, cart open again",
        ending=Ending.UNDONE,
        faults=((Operation.CAPTURE, FaultKind.REFUSE, {}),),
    ),
    Story(
        name="reply-lost",
        title="The charge happens, its reply is lost",
        promise="asked again under the same key: no second charge",
        ending=Ending.COMPLETED,
        faults=((Operation.CAPTURE, FaultKind.DROP_REPLY, {}),),
    ),
    Story(
        name="rate-limited",
        title="Payments are rate-limited (Retry-After: 1)",
        promise="waits as asked, then goes on",
        ending=Ending.COMPLETED,
        faults=((Operation.AUTHORIZE, FaultKind.RATE_LIMIT, {"retry_after": 1, "times": 2}),),
    ),
    Story(
        name="fulfilment-down",
        title="Fulfilment is down when the order is paid",
        promise="the order stands, the shipment goes out later",
        ending=Ending.COMPLETED,
        faults=((Operation.DELIVER, FaultKind.UNAVAILABLE, {"times": 2}),),
    ),
    Story(
        name="mail-fails",
        title="The mail server refuses for now, the order exists",
        promise="only the e-mail is tried again",
        ending=Ending.COMPLETED,
        faults=((Operation.SEND, FaultKind.UNAVAILABLE, {"times": 2}),),
    ),
    Story(
        name="three-clicks",
        title="The same checkout is submitted three times",
        promise="one order, one charge, one answer",
        ending=Ending.COMPLETED,
        play=_submit_three_times,
    ),
    Story(
        name="cancelled",
        title="Cancelled while the payment is being authorized",
        promise="everything undone",
        ending=Ending.CANCELLED,
        faults=((Operation.AUTHORIZE, FaultKind.DELAY, {"seconds": 1.0}),),
        play=_cancel_while_authorizing,
    ),
    Story(
        name="worker-killed",
        title="The worker is killed between the charge and its record",
        promise="another worker takes over: one charge",
        ending=Ending.COMPLETED,
        # The reply is held back for as long as an attempt may take: nobody but the provider knows of the charge.
        faults=((Operation.CAPTURE, FaultKind.DELAY, {"seconds": ATTEMPT_CAP.total_seconds()}),),
        play=_kill_worker_while_capturing,
        alone=True,
    ),
)
"""The orders, in the order they are shown."""
