"""Payments on Stripe's wire format: states, error shapes, look-ups."""

import httpx
import pytest

from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox, live_effects
from kit.testing.sandbox.stripe_wire import StripeError, search_clauses

from .conftest import Authorize


async def test_confirmed_manual_intent_holds_money(sandbox: Sandbox, authorize: Authorize) -> None:
    """A confirmed intent with manual capture is `requires_capture`, with its metadata and a Request-Id."""
    answer = await authorize("ORDER-1", correlation="corr-1", key="authorize:ORDER-1")

    intent = answer.json()
    assert answer.status_code == 200
    assert answer.headers["request-id"].startswith("req_")
    assert (intent["object"], intent["status"], intent["amount_capturable"]) == (
        "payment_intent",
        "requires_capture",
        1999,
    )
    assert intent["metadata"] == {"order_id": "ORDER-1"}
    [effect] = await sandbox.control.effects()
    assert (effect.kind, effect.reference, effect.object_id) == (
        EffectKind.AUTHORIZED,
        "ORDER-1",
        intent["id"],
    )
    assert (effect.amount, effect.currency, effect.live) == (1999, "eur", True)
    assert (effect.correlation_id, effect.idempotency_key) == ("corr-1", "authorize:ORDER-1")


async def test_capture_takes_the_money_once(sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize) -> None:
    """A capture turns the hold into a charge; a second one is an unexpected state that shows the intent."""
    intent_id = (await authorize()).json()["id"]
    first = await http.post(f"/v1/payment_intents/{intent_id}/capture")
    second = await http.post(f"/v1/payment_intents/{intent_id}/capture")

    assert (first.json()["status"], first.json()["amount_received"]) == ("succeeded", 1999)
    error = second.json()["error"]
    assert (second.status_code, error["code"]) == (400, "payment_intent_unexpected_state")
    assert error["payment_intent"]["status"] == "succeeded"
    live = live_effects(await sandbox.control.effects(), "ORDER-1")
    assert [effect.kind for effect in live] == [EffectKind.CAPTURED]


async def test_part_of_the_hold_can_be_captured(
    sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize
) -> None:
    """`amount_to_capture` charges less than was authorized, and never more."""
    intent_id = (await authorize()).json()["id"]
    path = f"/v1/payment_intents/{intent_id}/capture"

    more = await http.post(path, data={"amount_to_capture": "2000"})
    less = await http.post(path, data={"amount_to_capture": "500"})

    assert (more.status_code, more.json()["error"]["code"]) == (400, "amount_too_large")
    assert less.json()["amount_received"] == 500
    assert [e.amount for e in await sandbox.control.effects() if e.kind is EffectKind.CAPTURED] == [500]


async def test_cancel_frees_the_money(sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize) -> None:
    """A cancelled intent holds nothing; cancelling or capturing it again is an unexpected state."""
    intent_id = (await authorize()).json()["id"]
    path = f"/v1/payment_intents/{intent_id}"

    first = await http.post(f"{path}/cancel", data={"cancellation_reason": "abandoned"})
    again = await http.post(f"{path}/cancel")
    capture = await http.post(f"{path}/capture")

    assert (first.json()["status"], first.json()["cancellation_reason"]) == ("canceled", "abandoned")
    assert {r.json()["error"]["code"] for r in (again, capture)} == {"payment_intent_unexpected_state"}
    effects = await sandbox.control.effects()
    assert [effect.kind for effect in effects] == [EffectKind.AUTHORIZED, EffectKind.VOIDED]
    assert live_effects(effects, "ORDER-1") == ()


async def test_succeeded_intent_cannot_be_cancelled(http: httpx.AsyncClient, authorize: Authorize) -> None:
    """After the capture only a refund gives the money back."""
    intent_id = (await authorize(capture_method="automatic")).json()["id"]

    answer = await http.post(f"/v1/payment_intents/{intent_id}/cancel")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "payment_intent_unexpected_state")


@pytest.mark.parametrize(
    ("method", "decline_code"),
    [
        ("pm_card_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
    ],
)
async def test_declined_card_has_no_effect(
    sandbox: Sandbox, authorize: Authorize, method: str, decline_code: str
) -> None:
    """A declined card is a 402 card error; the intent it leaves behind holds no money."""
    answer = await authorize(payment_method=method)

    error = answer.json()["error"]
    assert answer.status_code == 402
    assert (error["type"], error["code"], error["decline_code"]) == (
        "card_error",
        "card_declined",
        decline_code,
    )
    assert error["payment_intent"]["status"] == "requires_payment_method"
    assert await sandbox.control.effects() == []


async def test_declined_intent_can_be_cancelled_without_effect(
    sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize
) -> None:
    """Cancelling an intent that never held money voids nothing."""
    declined = await authorize(payment_method="pm_card_chargeDeclined")
    intent_id = declined.json()["error"]["payment_intent"]["id"]

    answer = await http.post(f"/v1/payment_intents/{intent_id}/cancel")

    assert answer.json()["status"] == "canceled"
    assert await sandbox.control.effects() == []


async def test_unconfirmed_intent_has_no_effect(sandbox: Sandbox, authorize: Authorize) -> None:
    """Without confirmation an intent is only a plan."""
    answer = await authorize(confirm="false")

    assert answer.json()["status"] == "requires_confirmation"
    assert await sandbox.control.effects() == []


@pytest.mark.parametrize("authorization", [None, "Bearer sk_live_1", "Basic sk_test_1"])
async def test_credentials_are_required(http: httpx.AsyncClient, authorization: str | None) -> None:
    """Without a secret test key every call is a 401 that does not repeat the key."""
    http.headers.pop("Authorization")
    headers = {} if authorization is None else {"Authorization": authorization}

    answers = [
        await http.post("/v1/payment_intents", headers=headers),
        await http.get("/v1/payment_intents/pi_1", headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert "sk_live_1" not in answers[0].text


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"amount": ""}, "parameter_missing", "amount"),
        ({"amount": "19.99"}, "parameter_invalid_integer", "amount"),
        ({"amount": "0"}, "parameter_invalid_integer", "amount"),
        ({"currency": "euro"}, None, "currency"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"payment_method": "pm_card_nobody"}, "resource_missing", "payment_method"),
        ({"order_id": "ORDER-1"}, "parameter_unknown", "order_id"),
    ],
)
async def test_bad_input_is_a_400_that_names_the_parameter(
    sandbox: Sandbox, authorize: Authorize, changes: dict[str, str], code: str | None, param: str
) -> None:
    """A parameter that is missing, malformed or unknown is refused by name, and nothing happens."""
    answer = await authorize(**changes)

    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error.get("code"), error["param"]) == (code, param)
    assert await sandbox.control.effects() == []


async def test_json_bodies_are_refused(http: httpx.AsyncClient) -> None:
    """Stripe takes form encoding only; a JSON body is a clear error."""
    answer = await http.post("/v1/payment_intents", json={"amount": 1999})

    assert answer.status_code == 400
    assert "application/x-www-form-urlencoded" in answer.json()["error"]["message"]


async def test_confirmation_needs_a_payment_method(http: httpx.AsyncClient) -> None:
    """An intent cannot be confirmed without something to charge."""
    answer = await http.post("/v1/payment_intents", data={"amount": "1", "currency": "eur", "confirm": "true"})

    assert answer.json()["error"]["param"] == "payment_method"


@pytest.mark.parametrize("path", ["", "/capture", "/cancel"])
async def test_unknown_intent_is_a_404(http: httpx.AsyncClient, path: str) -> None:
    """Whatever is asked of an intent that does not exist is a 404 `resource_missing`."""
    url = f"/v1/payment_intents/pi_none{path}"

    answer = await (http.post(url) if path else http.get(url))

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "resource_missing")


async def test_intent_is_found_by_id_and_by_order(http: httpx.AsyncClient, authorize: Authorize) -> None:
    """A payment intent is found by its id, and by its metadata with the search language, newest first."""
    first = (await authorize("ORDER-1")).json()["id"]
    second = (await authorize("ORDER-1")).json()["id"]
    await authorize("ORDER-10")

    by_id = await http.get(f"/v1/payment_intents/{first}")
    query = "metadata['order_id']:'ORDER-1' AND status:'requires_capture'"
    by_order = await http.get("/v1/payment_intents/search", params={"query": query})

    assert by_id.json()["id"] == first
    assert by_order.json()["object"] == "search_result"
    assert [intent["id"] for intent in by_order.json()["data"]] == [second, first]


def test_search_reads_quotes_and_escapes() -> None:
    """A value may be quoted either way and hold escaped quotes, as in Stripe's language."""
    clauses = search_clauses(r"""metadata["order_id"]:"a\"b" AND status:'succeeded'""")

    assert clauses == [("metadata.order_id", 'a"b'), ("status", "succeeded")]


def test_search_refuses_what_it_does_not_know() -> None:
    """A query beyond the subset is an error that shows the part, never an empty result."""
    with pytest.raises(StripeError, match="near 'amount>100'"):
        search_clauses("status:'succeeded' AND amount>100")


async def test_bad_search_is_a_400(http: httpx.AsyncClient) -> None:
    """A search that is not understood says so to the caller."""
    answer = await http.get("/v1/payment_intents/search", params={"query": "order 1"})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "query")


async def test_refunds_end_the_charge_when_it_is_returned_in_full(
    sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize
) -> None:
    """A partial refund leaves the charge standing, the rest ends it, and more than the rest is refused."""
    intent_id = (await authorize(capture_method="automatic")).json()["id"]
    form = {"payment_intent": intent_id}

    part = await http.post("/v1/refunds", data={**form, "amount": "999"})
    standing = live_effects(await sandbox.control.effects(), "ORDER-1")
    above = await http.post("/v1/refunds", data={**form, "amount": "1001"})
    rest = await http.post("/v1/refunds", data=form)
    nothing = await http.post("/v1/refunds", data=form)

    assert (part.json()["amount"], rest.json()["amount"], rest.json()["status"]) == (999, 1000, "succeeded")
    assert (above.status_code, above.json()["error"]["param"]) == (400, "amount")
    assert nothing.json()["error"]["code"] == "charge_already_refunded"
    assert [effect.kind for effect in standing] == [EffectKind.CAPTURED]
    assert live_effects(await sandbox.control.effects(), "ORDER-1") == ()
    listed = await http.get("/v1/refunds", params=form)
    assert [refund["id"] for refund in listed.json()["data"]] == [rest.json()["id"], part.json()["id"]]


async def test_hold_cannot_be_refunded(http: httpx.AsyncClient, authorize: Authorize) -> None:
    """Money that was never taken is not given back."""
    intent_id = (await authorize()).json()["id"]

    answer = await http.post("/v1/refunds", data={"payment_intent": intent_id})

    assert answer.json()["error"]["code"] == "payment_intent_unexpected_state"


@pytest.mark.parametrize("form", [{}, {"payment_intent": "pi_none"}])
async def test_refund_needs_a_known_payment(http: httpx.AsyncClient, form: dict[str, str]) -> None:
    """A refund of nothing in particular is a 400."""
    answer = await http.post("/v1/refunds", data=form)

    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("operation", "status", "code"),
    [
        (Operation.CAPTURE, 400, "charge_expired_for_capture"),
        (Operation.CANCEL, 403, None),
    ],
)
async def test_refusals_are_worded_for_the_operation(
    sandbox: Sandbox,
    http: httpx.AsyncClient,
    authorize: Authorize,
    operation: Operation,
    status: int,
    code: str | None,
) -> None:
    """A scripted refusal is one that Stripe gives for that operation, and leaves the hold as it was."""
    intent_id = (await authorize()).json()["id"]
    await sandbox.control.fault(operation, FaultKind.REFUSE, match="ORDER-1")

    answer = await http.post(f"/v1/payment_intents/{intent_id}/{operation}")

    assert (answer.status_code, answer.json()["error"].get("code")) == (status, code)
    live = live_effects(await sandbox.control.effects(), "ORDER-1")
    assert [effect.kind for effect in live] == [EffectKind.AUTHORIZED]


async def test_intents_are_listed_page_by_page(http: httpx.AsyncClient, authorize: Authorize) -> None:
    """The list is newest first, says whether there is more, and goes on after the last one seen."""
    ids = [(await authorize(f"ORDER-{number}")).json()["id"] for number in range(3)]
    path = "/v1/payment_intents"

    first = (await http.get(path, params={"limit": "2", "created[gte]": "1"})).json()
    second = (await http.get(path, params={"limit": "2", "starting_after": ids[1]})).json()
    future = (await http.get(path, params={"created[gte]": "99999999999"})).json()
    lost = await http.get(path, params={"starting_after": "pi_none"})

    assert ([intent["id"] for intent in first["data"]], first["has_more"]) == ([ids[2], ids[1]], True)
    assert ([intent["id"] for intent in second["data"]], second["has_more"]) == ([ids[0]], False)
    assert future["data"] == []
    assert (lost.status_code, lost.json()["error"]["code"]) == (400, "resource_missing")


async def test_parameter_given_twice_is_refused(http: httpx.AsyncClient) -> None:
    """A parameter that appears twice is an error and not a silent choice between the two."""
    form = "amount=1&amount=2&currency=eur"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = await http.post("/v1/payment_intents", content=form, headers=headers)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "amount")
