"""Faults in the connector to the payment provider."""

from __future__ import annotations

from typing import Final

from tests.mutants.seeding import STREET, Edit, Mutant

_PATH: Final = "activities/payments/stripe.py"
_WIRE: Final = "activities/stripe.py"

_AUTHORIZE_POST: Final = 'await self._post("/v1/payment_intents", form, key=token.key)'
_VOID: Final = """\
        intent_id = undo.result.payment_intent
        try:
"""
_REFUND: Final = """\
        intent = await self._get(f"/v1/payment_intents/{intent_id}")
        if await self._left_to_refund(intent) <= 0:
            return
        try:
"""
_REFUND_POST: Final = 'await self._post("/v1/refunds", {"payment_intent": intent["id"]})'
_FIND: Final = "        async for intent in self._made_under(token.key):\n"
_CAPTURE_FAILED: Final = """\
        except httpx.HTTPStatusError as error:
            if not is_stored_breakdown(error) or (found := await self.find_capture(request, token)) is None:
"""


def _edit(before: str, after: str) -> Edit:
    return Edit(_PATH, before, after)


def _provider_key(key: str) -> Edit:
    return _edit(_AUTHORIZE_POST, _AUTHORIZE_POST.replace("token.key", key))


IN_PAYMENTS: Final = (
    # -- the key on the wire ---------------------------------------------------------------------------------------
    Mutant(
        name="attempt_in_the_provider_key",
        story="The attempt goes into the Idempotency-Key, so that each retry is a clean start.",
        edits=(_provider_key('f"{token.key}:{token.attempt}"'),),
        caught="payments.authorize#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="timestamp_in_the_provider_key",
        story="The time goes into the Idempotency-Key, to tell the requests apart in the provider's log.",
        edits=(_provider_key('f"{token.key}:{token.deadline:%H%M%S%f}"'),),
        caught="payments.authorize#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="random_provider_key",
        story="The Idempotency-Key is a fresh UUID, as in the provider's quick start.",
        edits=(_edit("import httpx\n", "import uuid\n\nimport httpx\n"), _provider_key("str(uuid.uuid4())")),
        caught="payments.authorize#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="authorize_without_a_provider_key",
        story="The Idempotency-Key is lost when the request is refactored.",
        edits=(_provider_key("None"),),
        caught="payments.authorize#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="capture_without_a_provider_key",
        story="The same for the capture.",
        edits=(
            _edit(
                '                {"amount_to_capture": str(request.amount)},\n                key=token.key,\n',
                '                {"amount_to_capture": str(request.amount)},\n',
            ),
        ),
        caught="payments.capture#1:twice",
        breaks="the ledger says what is true",
    ),
    # -- undo ------------------------------------------------------------------------------------------------------
    Mutant(
        name="void_does_nothing",
        story="The void is emptied 'for now': holds expire by themselves after a week.",
        edits=(_edit(_VOID, "        return\n" + _VOID),),
        caught="payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="refund_does_nothing",
        story="The refund is emptied: support does refunds.",
        edits=(_edit(_REFUND, "        return\n" + _REFUND),),
        caught="payments.capture#1:replies_lost",
        breaks="the ledger says what is true",
    ),
    Mutant(
        name="void_swallows_failures",
        story="A void that fails must not keep the saga waiting: whatever the provider says, it is done.",
        edits=(
            _edit(
                '            if error_of(error).get("code") != "payment_intent_unexpected_state":\n'
                "                raise\n"
                "            # What an earlier",
                '            if error_of(error).get("code") != "payment_intent_unexpected_state":\n'
                "                return\n"
                "            # What an earlier",
            ),
        ),
        caught="payments.authorize.undo#1:refused+payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="refund_swallows_failures",
        story="The same for the refund.",
        edits=(
            _edit(
                '            if error_of(error).get("code") != "charge_already_refunded":\n                raise\n',
                "            return\n",
            ),
        ),
        caught="payments.capture#1:replies_lost+payments.capture.undo#1/3:refused",
        breaks="the ledger says what is true",
    ),
    Mutant(
        name="refund_of_half",
        story="The fee is kept: half of the money is refunded.",
        edits=(
            _edit(
                _REFUND_POST,
                'await self._post("/v1/refunds", {"payment_intent": intent["id"], '
                '"amount": str(intent["amount_received"] // 2)})',
            ),
        ),
        caught="payments.capture#1:replies_lost",
        breaks="the ledger says what is true",
    ),
    Mutant(
        name="void_instead_of_refund",
        story="One undo for both: canceling the payment intent does it, captured or not.",
        edits=(
            _edit(
                _REFUND_POST,
                "await self._post(f\"/v1/payment_intents/{intent['id']}/cancel\", {})",
            ),
            _edit(
                '            if error_of(error).get("code") != "charge_already_refunded":\n                raise\n',
                '            if error_of(error).get("code") != "payment_intent_unexpected_state":\n'
                "                raise\n",
            ),
        ),
        caught="payments.capture#1:replies_lost",
        breaks="the ledger says what is true",
    ),
    Mutant(
        name="void_of_the_wrong_object",
        story="The void is sent to the order's id instead of the payment intent's, and a 404 counts as done.",
        edits=(
            _edit(_VOID, "        intent_id = undo.request.order_id\n        try:\n"),
            _edit(
                '            if error_of(error).get("code") != "payment_intent_unexpected_state":\n'
                "                raise\n"
                "            # What an earlier",
                "            if error.response.status_code == httpx.codes.NOT_FOUND:\n"
                "                return\n"
                "            # What an earlier",
            ),
        ),
        caught="payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    # -- look-ups --------------------------------------------------------------------------------------------------
    Mutant(
        name="authorization_is_never_found",
        story="The look-up is slow and was never seen to find anything: it answers None.",
        edits=(_edit(_FIND, "        return None\n" + _FIND),),
        caught="payments.authorize#1:replies_lost",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="capture_is_never_found",
        story="The same for the capture.",
        edits=(
            _edit(
                '        if intent["status"] not in _TAKEN or await self._left_to_refund(intent) <= 0:\n',
                '        if intent["status"] in _TAKEN or await self._left_to_refund(intent) <= 0:\n',
            ),
        ),
        caught="payments.capture#1:replies_lost",
        breaks="the ledger says what is true",
    ),
    Mutant(
        name="anybodys_authorization_is_found",
        subject=STREET,
        story="The look-up compares amounts instead of keys: 'the metadata is not always there'.",
        edits=(
            _edit(
                '            if intent["metadata"].get("kit_key") == key:\n',
                '            if intent["metadata"].get("kit_key"):\n',
            ),
        ),
        caught="payments.authorize#1:crash_before+payments.authorize#2:cancel_before",
        breaks="nothing of another order is touched",
    ),
    Mutant(
        name="capture_is_always_found",
        story="A payment intent that exists must have been captured, thinks the look-up.",
        edits=(
            _edit(
                '        if intent["status"] not in _TAKEN or await self._left_to_refund(intent) <= 0:\n'
                "            return None\n",
                "",
            ),
            _edit(
                'latest_charge"], amount=intent["amount_received"])',
                'latest_charge"], amount=intent["amount_received"] or intent["amount"])',
            ),
        ),
        caught="payments.capture#1:crash_before+payments.capture#2:refused",
        breaks="a placed order is paid in full, another one is not paid",
    ),
    # -- outcomes --------------------------------------------------------------------------------------------------
    Mutant(
        name="capture_timeout_is_success",
        story="The capture nearly always works: when the connection breaks it is reported as done.",
        edits=(
            _edit(
                _CAPTURE_FAILED,
                "        except httpx.TransportError:\n"
                "            return Capture(payment_intent=request.payment_intent, amount=request.amount)\n"
                + _CAPTURE_FAILED,
            ),
        ),
        caught="payments.capture#1:outage",
        breaks="a placed order is paid in full, another one is not paid",
    ),
    Mutant(
        name="declined_is_an_outage",
        story="A 402 is read as 'unavailable', because the provider's status page was red that day.",
        edits=(
            Edit(
                _WIRE,
                "            return Refused(FailureKind.DECLINED, message, reason=code)\n",
                "            return OutcomeUnknown(FailureKind.UNAVAILABLE, message, reason=code)\n",
            ),
        ),
        caught="payments.authorize#1:refused",
        breaks="a refusal for good is not asked for again",
    ),
    Mutant(
        name="retries_below_the_guard",
        story="The connector tries a broken connection again by itself, each time as a new request.",
        edits=(
            Edit(
                _WIRE,
                "        reply = await self._http.post(path, data=dict(form), headers=headers)\n",
                "        try:\n"
                "            reply = await self._http.post(path, data=dict(form), headers=headers)\n"
                "        except httpx.TransportError:\n"
                '            headers.pop("Idempotency-Key", None)\n'
                "            reply = await self._http.post(path, data=dict(form), headers=headers)\n",
            ),
        ),
        caught="payments.authorize#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="captures_at_once",
        story="One call less: the money is taken with the authorization.",
        edits=(_edit('            "capture_method": "manual",\n', '            "capture_method": "automatic",\n'),),
        caught="clean",
        breaks="without a fault it completes",
    ),
    Mutant(
        name="captures_a_little_less",
        story="Amounts are rounded down to whole units.",
        edits=(
            _edit(
                "str(request.amount)},\n                key", "str(request.amount // 100 * 100)},\n                key"
            ),
        ),
        caught="clean",
        breaks="a placed order is paid in full, another one is not paid",
    ),
)
