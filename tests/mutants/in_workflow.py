"""Faults in the workflow's own code."""

from __future__ import annotations

from typing import Final

from tests.mutants.seeding import Edit, Mutant

_PATH: Final = "workflows/checkout.py"

# The places of the reference that the faults are about.
_PARALLEL: Final = "        reservation, authorization = await self.parallel(\n"
_CREATE: Final = "        await self.step(\n            orders.create,\n"
_PIVOT: Final = """\
        await self.pivot(
            payments.capture,
            payments.CapturePayment(
                order_id=checkout.order_id, payment_intent=authorization.payment_intent, amount=checkout.amount
            ),
        )
"""
_COMPLETE: Final = (
    "        cart = await self.step(carts.complete, "
    "carts.CompleteCart(cart_id=checkout.cart_id, order_id=checkout.order_id))\n"
)
_SHIP: Final = """\
        self.after_commit(
            fulfilment.request_shipment,
            fulfilment.RequestShipment(order_id=checkout.order_id, sku=checkout.sku, quantity=checkout.quantity),
        )
"""
_RECEIPT: Final = """\
        self.after_commit(
            email.send_receipt,
            email.SendReceipt(
                order_id=checkout.order_id, to=checkout.email, amount=checkout.amount, currency=checkout.currency
            ),
        )
"""
_BRANCHES: Final = """\
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
"""


def _edit(before: str, after: str) -> Edit:
    return Edit(_PATH, before, after)


# What goes round the kit: a plain Temporal activity, which is served all the same.
_PLAIN: Final = (
    _edit(
        "from kit import Model, SagaWorkflow\n",
        "from kit import Model, SagaWorkflow\n"
        "from kit.contract import Token\n"
        "from kit.workflow import Done\n"
        "from temporalio.common import RetryPolicy\n"
        "from temporalio.exceptions import ActivityError\n",
    ),
    _edit(
        "    @workflow.run\n",
        """\
    async def plainly(self, operation, request):
        done = await workflow.execute_activity(
            operation.name,
            args=[
                request,
                Token(
                    key=operation.key_for(request, workflow_id=workflow.info().workflow_id),
                    correlation_id=workflow.info().workflow_id,
                    workflow_id=workflow.info().workflow_id,
                ),
            ],
            result_type=Done[operation.result],
            start_to_close_timeout=operation.timeout,
        )
        return done.result

    @workflow.run
""",
    ),
)


def _body(text: str, before: str, after: str) -> str:
    """A block of the reference, with a change in it."""
    if before not in text:
        raise LookupError(f"{before!r} is not in the block that it is to be replaced in")
    return text.replace(before, after)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def _guarded(text: str, *, clause: str) -> str:
    """A block within a ``try`` whose ``except`` is the given one."""
    return f"        try:\n{_indented(text)}        {clause}\n"


_RECEIPT_PLAINLY: Final = _body(_RECEIPT, "self.after_commit(", "await self.plainly(")
_SHIP_PLAINLY: Final = _body(_SHIP, "self.after_commit(", "await self.plainly(")

IN_WORKFLOW: Final = (
    Mutant(
        name="receipt_before_the_order",
        story="The receipt is sent first, as a plain activity, so that the customer sees something at once.",
        edits=(*_PLAIN, _edit(_RECEIPT, ""), _edit(_CREATE, _RECEIPT_PLAINLY + _CREATE)),
        caught="payments.capture#1:refused",
        breaks="nothing irreversible before the commit",
    ),
    Mutant(
        name="receipt_as_a_step_before_the_order",
        story="The same as a step of the saga.",
        edits=(
            _edit(_RECEIPT, ""),
            _edit(_CREATE, _body(_RECEIPT, "self.after_commit(", "await self.step(") + _CREATE),
        ),
        refused="is IRREVERSIBLE and comes before the pivot",
    ),
    Mutant(
        name="shipment_before_the_capture",
        story="The warehouse is told to ship while the bank is asked, to save a minute.",
        edits=(*_PLAIN, _edit(_SHIP, ""), _edit(_PIVOT, _SHIP_PLAINLY + _PIVOT)),
        caught="payments.capture#1:refused",
        breaks="nothing irreversible before the commit",
    ),
    Mutant(
        name="reservation_beside_the_saga",
        story="The reservation is made by a plain activity 'because it needs no undo': it expires anyway, one day.",
        edits=(
            *_PLAIN,
            _edit(
                _PARALLEL + _BRANCHES,
                "        reservation = await self.plainly(\n"
                "            inventory.reserve,\n"
                "            inventory.ReserveStock(order_id=checkout.order_id, sku=checkout.sku, "
                "quantity=checkout.quantity),\n"
                "        )\n"
                "        authorization = await self.step(\n"
                + _BRANCHES.split("            (\n")[2]
                .replace("            ),\n        )\n", "        )\n")
                .replace("                payments.authorize,", "            payments.authorize,"),
            ),
        ),
        caught="payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="cart_completed_before_the_charge",
        story="Our own state is written first, 'the charge will work out': it is closer to hand.",
        edits=(*_PLAIN, _edit(_COMPLETE, ""), _edit(_PIVOT, _body(_COMPLETE, "self.step(", "self.plainly(") + _PIVOT)),
        caught="payments.capture#1:refused",
        breaks="every run ends, or waits for a person",
    ),
    Mutant(
        name="capture_failure_swallowed",
        story="A failed capture must not lose the order: it is caught, and accounting collects the money later.",
        edits=(
            _PLAIN[0],
            _edit(_PIVOT, _guarded(_PIVOT, clause="except ActivityError:\n            pass")),
        ),
        caught="payments.capture#1:refused",
        breaks="a placed order is paid in full, another one is not paid",
    ),
    Mutant(
        name="made_up_authorization",
        story="When the bank does not answer the checkout goes on with a placeholder, to be reconciled at night.",
        edits=(
            _PLAIN[0],
            _edit(
                _PARALLEL + _BRANCHES,
                "        reservation = await self.step(\n"
                "            inventory.reserve,\n"
                "            inventory.ReserveStock(order_id=checkout.order_id, sku=checkout.sku, "
                "quantity=checkout.quantity),\n"
                "        )\n"
                "        try:\n"
                "            authorization = await self.step(\n"
                "                payments.authorize,\n"
                "                payments.AuthorizePayment(\n"
                "                    order_id=checkout.order_id,\n"
                "                    amount=checkout.amount,\n"
                "                    currency=checkout.currency,\n"
                "                    payment_method=checkout.payment_method,\n"
                "                ),\n"
                "            )\n"
                "        except ActivityError:\n"
                "            authorization = payments.Authorization(\n"
                '                payment_intent="pi_pending", amount=checkout.amount, currency=checkout.currency\n'
                "            )\n",
            ),
            _edit(_PIVOT, _guarded(_PIVOT, clause="except ActivityError:\n            pass")),
        ),
        caught="payments.authorize#1:refused",
        breaks="a placed order is paid in full, another one is not paid",
    ),
    Mutant(
        name="failure_as_a_plain_exception",
        story="A declined capture is raised as a RuntimeError of our own, with a nicer text.",
        edits=(
            _PLAIN[0],
            _edit(
                _PIVOT,
                _guarded(
                    _PIVOT,
                    clause='except ActivityError as error:\n            raise RuntimeError("declined") from error',
                ),
            ),
        ),
        caught="payments.capture#1:refused",
        breaks="every run ends, or waits for a person",
    ),
    Mutant(
        name="pivot_too_early",
        story="The order is declared the point of no return, because that is what the business calls an order.",
        edits=(
            _edit(_CREATE, _body(_CREATE, "self.step(", "self.pivot(")),
            _edit(_PIVOT, _body(_PIVOT, "self.pivot(", "self.step(")),
        ),
        equivalent="a refused capture waits for a person instead of turning round by itself, and the person can unwind "
        "it; a cancellation comes too late one step earlier. Slower, and nothing is lost, charged or sent that should "
        "not be",
    ),
    Mutant(
        name="cancel_swallowed_in_the_body",
        story="A cancellation in the middle of the capture is caught: 'we are nearly done'.",
        edits=(
            _edit("from datetime import timedelta\n", "import asyncio\nfrom datetime import timedelta\n"),
            _edit(_PIVOT, _guarded(_PIVOT, clause="except asyncio.CancelledError:\n            pass")),
        ),
        equivalent="the saga looks for a cancellation at its next boundary, whatever the body has caught, and undoes",
    ),
    Mutant(
        name="retried_under_a_new_order_id",
        story="When the capture fails it is tried once more under a fresh key, 'to get round the stuck one'.",
        edits=(
            _PLAIN[0],
            _edit(
                _PIVOT,
                _guarded(
                    _PIVOT,
                    clause="except ActivityError:\n"
                    + _indented(
                        _body(_PIVOT, "order_id=checkout.order_id", 'order_id=checkout.order_id + "-2"')
                    ).rstrip(),
                ),
            ),
        ),
        caught="payments.capture#1:replies_lost",
        breaks="a placed order is paid in full, another one is not paid",
    ),
    Mutant(
        name="authorized_again_for_the_capture",
        story="The hold may have expired by now: authorize again right before the capture, to be sure.",
        edits=(
            _edit(
                _PIVOT,
                """\
        authorization = await self.step(
            payments.authorize,
            payments.AuthorizePayment(
                order_id=checkout.order_id + "-fresh",
                amount=checkout.amount,
                currency=checkout.currency,
                payment_method=checkout.payment_method,
            ),
        )
"""
                + _PIVOT,
            ),
        ),
        caught="clean",
        breaks="a placed order is paid in full, another one is not paid",
    ),
)
