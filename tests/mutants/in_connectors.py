"""Faults in the connectors to the warehouse, the shop's own database, the shipping partner and the mail server."""

from __future__ import annotations

from typing import Final

from tests.mutants.seeding import STREET, Edit, Mutant

_WAREHOUSE: Final = "activities/inventory/http.py"
_ORDERS: Final = "activities/orders/sql.py"
_CARTS: Final = "activities/carts/sql.py"
_PARTNER: Final = "activities/fulfilment/webhook.py"
_MAIL: Final = "activities/email/smtp.py"

_POST: Final = '        reply = await self._http.post("/stock/reservations", json=body)\n'
_DELETE: Final = '        reply = await self._http.delete(f"/stock/reservations/{undo.result.reservation_id}")\n'
_RELEASED: Final = """\
        if reply.status_code != httpx.codes.NOT_FOUND:
            reply.raise_for_status()
"""
_FOUND: Final = '        found = reply.raise_for_status().json()["reservations"]\n'
_ASK_BY_REFERENCE: Final = 'params={"reference": token.key})\n'
_MOVE_CART: Final = (
    "        await move(tx, carts, request.cart_id, CART, CartStatus.CHECKED_OUT, order_id=request.order_id)\n"
)
_REOPEN: Final = """\
            .where(carts.c.id == cart_id, carts.c.order_id == order_id)
            .where(carts.c.status.in_(CART.sources(CartStatus.OPEN)))
"""

IN_CONNECTORS: Final = (
    # -- the warehouse ---------------------------------------------------------------------------------------------
    Mutant(
        name="attempt_in_the_reference",
        story="The reservation's reference gets the attempt's number, to be told apart in the warehouse's log.",
        edits=(Edit(_WAREHOUSE, '"reference": token.key,', '"reference": f"{token.key}/{token.attempt}",'),),
        caught="inventory.reserve#1:reply_lost",
        breaks="at most one live effect per key",
    ),
    Mutant(
        name="reservation_is_never_found",
        story="The look-up was once slow and was switched off: it finds nothing.",
        edits=(Edit(_WAREHOUSE, _FOUND, "        found = []\n"),),
        caught="inventory.reserve#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="reservation_is_always_found",
        story="The look-up makes a reservation up from the request: 'we know what we asked for'.",
        edits=(
            Edit(
                _WAREHOUSE,
                _FOUND,
                '        found = [{"id": token.key, "sku": request.sku, "quantity": request.quantity}]\n',
            ),
        ),
        caught="inventory.reserve#1:crash_before",
        breaks="completed means every effect is there",
    ),
    Mutant(
        name="reservation_of_another_order_is_found",
        subject=STREET,
        story="The look-up goes by the sku: any reservation of it will do.",
        edits=(Edit(_WAREHOUSE, _ASK_BY_REFERENCE, 'params={"reference": f"reserve:YESTERDAY:{request.sku}"})\n'),),
        caught="inventory.reserve#1:crash_before",
        breaks="completed means every effect is there",
    ),
    Mutant(
        name="reserves_twice_on_a_broken_connection",
        story="The connector repeats the POST when the connection breaks: the wifi in the warehouse is bad.",
        edits=(
            Edit(
                _WAREHOUSE,
                _POST,
                f"        try:\n    {_POST}        except httpx.TransportError:\n    {_POST}",
            ),
        ),
        caught="inventory.reserve#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="reservation_timeout_is_success",
        story="No answer of the warehouse is a yes: it is always in stock.",
        edits=(
            Edit(
                _WAREHOUSE,
                _POST,
                f"        try:\n    {_POST}        except httpx.TransportError:\n"
                "            return Reservation(\n"
                "                reservation_id=token.key, sku=request.sku, quantity=request.quantity\n"
                "            )\n",
            ),
        ),
        caught="inventory.reserve#1:outage",
        breaks="completed means every effect is there",
    ),
    Mutant(
        name="remembered_before_it_is_reserved",
        story="Local state is written before the call, so that a retry answers at once.",
        edits=(
            Edit(_WAREHOUSE, "        self._http = http\n", "        self._http = http\n        self._made = {}\n"),
            Edit(
                _WAREHOUSE,
                _POST,
                "        if token.key in self._made:\n"
                "            return self._made[token.key]\n"
                "        self._made[token.key] = Reservation(\n"
                "            reservation_id=token.key, sku=request.sku, quantity=request.quantity\n"
                "        )\n" + _POST,
            ),
        ),
        caught="inventory.reserve#1:outage",
        breaks="completed means every effect is there",
    ),
    Mutant(
        name="release_does_nothing",
        story="The release is emptied: the warehouse drops reservations after a day.",
        edits=(Edit(_WAREHOUSE, _DELETE + _RELEASED, ""),),
        caught="payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="release_swallows_failures",
        story="The release must not fail the undo: what the warehouse answers is not looked at.",
        edits=(Edit(_WAREHOUSE, _RELEASED, ""),),
        caught="inventory.reserve.undo#1:refused+payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="release_refuses_what_is_gone",
        story="The special case of the 404 is removed as dead code.",
        edits=(Edit(_WAREHOUSE, _RELEASED, "        reply.raise_for_status()\n"),),
        caught="inventory.reserve.undo#1:reply_lost+payments.capture#1:refused",
        breaks="every run ends, or waits for a person",
    ),
    Mutant(
        name="release_by_the_sku",
        subject=STREET,
        story="The release goes by the reference of the last reservation it finds, whoever's it is.",
        edits=(
            Edit(
                _WAREHOUSE,
                _DELETE,
                '        listed = await self._http.get("/stock/reservations", '
                'params={"reference": f"reserve:YESTERDAY:{undo.request.sku}"})\n'
                '        first = (listed.json()["reservations"] or [{"id": undo.result.reservation_id}])[0]\n'
                "        reply = await self._http.delete(f\"/stock/reservations/{first['id']}\")\n",
            ),
        ),
        caught="payments.capture#1:refused",
        breaks="nothing of another order is touched",
    ),
    Mutant(
        name="out_of_stock_is_an_outage",
        story="Out of stock passes: it is read as 'unavailable', and asked again.",
        edits=(
            Edit(
                _WAREHOUSE,
                'Refused(FailureKind.DECLINED, "there is not enough stock left", reason="out_of_stock")',
                'OutcomeUnknown(FailureKind.UNAVAILABLE, "there is not enough stock left", reason="out_of_stock")',
            ),
            Edit(_WAREHOUSE, "OperationFailure, Refused\n", "OperationFailure, OutcomeUnknown\n"),
        ),
        caught="inventory.reserve#1:refused",
        breaks="a refusal for good is not asked for again",
    ),
    # -- orders and carts ------------------------------------------------------------------------------------------
    Mutant(
        name="cart_stays_checked_out",
        story="The undo of an order leaves the cart alone: the customer can make a new one.",
        edits=(Edit(_ORDERS, ".values(status=CartStatus.OPEN, order_id=None)", ".values(order_id=order_id)"),),
        caught="payments.capture#1:refused",
        breaks="order and cart stand as the checkout ended",
    ),
    Mutant(
        name="cart_of_another_order_reopened",
        subject=STREET,
        story="The undo opens every cart that is checked out: the filter was 'too clever'.",
        edits=(Edit(_ORDERS, _REOPEN, _REOPEN.splitlines(keepends=True)[1]),),
        caught="payments.capture#1:refused",
        breaks="nothing of another order is touched",
    ),
    Mutant(
        name="order_stays_pending",
        story="The undo of an order only opens the cart; the nightly job removes old orders.",
        edits=(Edit(_ORDERS, "        await move(tx, orders, order_id, ORDER, OrderStatus.CANCELLED)\n", ""),),
        caught="payments.capture#1:refused",
        breaks="order and cart stand as the checkout ended",
    ),
    Mutant(
        name="order_without_its_cart",
        story="The order no longer checks the cart out: completing it does that, later.",
        edits=(Edit(_ORDERS, _MOVE_CART, ""),),
        caught="clean",
        breaks="without a fault it completes",
    ),
    Mutant(
        name="order_committed_on_its_own",
        story="The order is written in a transaction of its own: the one it is given 'is for the ledger'.",
        edits=(
            Edit(
                _ORDERS,
                _MOVE_CART,
                "        async with self.database.begin() as tx:\n"
                f"    {_MOVE_CART}"
                '            row = request.model_dump(exclude={"order_id"})\n'
                "            row |= {'id': request.order_id, 'status': OrderStatus.PENDING}\n"
                "            await tx.execute(insert(orders).values(**row))\n"
                "        return Order(order_id=request.order_id, status=OrderStatus.PENDING)\n",
            ),
        ),
        caught="clean",
        breaks="without a fault it completes",
    ),
    Mutant(
        name="cart_completed_without_its_order",
        story="Completing the cart no longer places the order: an event handler will.",
        edits=(
            Edit(
                _CARTS,
                "        await move(tx, orders, request.order_id, ORDER, OrderStatus.PLACED)\n        return Cart(",
                "        return Cart(",
            ),
        ),
        caught="clean",
        breaks="order and cart stand as the checkout ended",
    ),
    Mutant(
        name="cart_completed_in_memory_only",
        story="The cart is completed in the background, the answer is given at once.",
        edits=(
            Edit(
                _CARTS,
                "        await move(tx, carts, request.cart_id, CART, CartStatus.COMPLETED)\n"
                "        await move(tx, orders, request.order_id, ORDER, OrderStatus.PLACED)\n",
                "",
            ),
        ),
        caught="clean",
        breaks="completed means every effect is there",
    ),
    # -- the shipping partner --------------------------------------------------------------------------------------
    Mutant(
        name="random_webhook_id",
        story="Each delivery gets a fresh webhook-id, as the library's example has it.",
        edits=(
            Edit(_PARTNER, '"webhook-id": token.key,', '"webhook-id": f"{token.key}.{token.attempt}",'),
            Edit(_PARTNER, "self._webhook.sign(token.key,", 'self._webhook.sign(f"{token.key}.{token.attempt}",'),
        ),
        caught="fulfilment.request_shipment#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="shipment_reply_not_read",
        story="Webhooks are fire and forget: the reply is not looked at.",
        edits=(
            Edit(_PARTNER, "        reply.raise_for_status()\n", ""),
            Edit(_PARTNER, "        reply = await", "        await"),
        ),
        caught="fulfilment.request_shipment#1:refused",
        breaks="completed means every effect is there",
    ),
    Mutant(
        name="shipment_timeout_is_success",
        story="The partner is slow and reliable: no answer counts as taken.",
        edits=(
            Edit(
                _PARTNER,
                "        reply = await self._http.post(self._url, content=body, headers=headers)\n",
                "        try:\n"
                "            reply = await self._http.post(self._url, content=body, headers=headers)\n"
                "        except httpx.TransportError:\n"
                "            return Accepted(webhook_id=token.key)\n",
            ),
        ),
        caught="fulfilment.request_shipment#1:outage",
        breaks="completed means every effect is there",
    ),
    # -- the mail server -------------------------------------------------------------------------------------------
    Mutant(
        name="receipt_failure_swallowed",
        story="A receipt is not important enough to trouble anybody: its failure is passed over.",
        edits=(
            Edit(
                _MAIL,
                "        finally:\n            server.close()\n",
                "        except Exception:\n"
                '            return Sent(message_id=message["Message-ID"])\n'
                "        finally:\n            server.close()\n",
            ),
        ),
        caught="email.send_receipt#1:outage",
        breaks="completed means every effect is there",
    ),
    Mutant(
        name="lost_receipt_is_not_sent",
        story="The message itself is put under the same handler as the envelope: whatever breaks, nothing was sent.",
        edits=(
            Edit(_MAIL, "            await server.data(message.as_bytes())\n", ""),
            Edit(
                _MAIL,
                "            await self._open_envelope(server, request)\n",
                "            await self._open_envelope(server, request)\n"
                "            try:\n"
                "                await server.data(message.as_bytes())\n"
                "            except (aiosmtplib.SMTPException, OSError) as error:\n"
                "                _nothing_sent(error)\n",
            ),
        ),
        caught="email.send_receipt#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="receipt_sent_twice_by_itself",
        story="The connector sends the message again when the connection breaks.",
        edits=(
            Edit(
                _MAIL,
                "            await server.data(message.as_bytes())\n",
                "            try:\n"
                "                await server.data(message.as_bytes())\n"
                "            except (aiosmtplib.SMTPException, OSError):\n"
                "                server.close()\n"
                "                await self._open_envelope(server, request)\n"
                "                await server.data(message.as_bytes())\n",
            ),
        ),
        caught="email.send_receipt#1:reply_lost",
        breaks="at most one live effect per key",
    ),
)
