"""Payments against a provider that speaks Stripe's wire format."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from activities.payments import contract as payments
from activities.payments import stripe
from activities.payments.contract import Authorization, AuthorizePayment, Capture, CapturePayment
from activities.payments.stripe import StripePayments
from kit.contract import FailureKind, Outcome, Token, Undo
from kit.errors import OutcomeUnknown, Refused
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox
from kit.worker.failures import classify
from tests.activities.conftest import live

INSUFFICIENT = "pm_card_chargeDeclinedInsufficientFunds"


def _authorize(order_id: str, *, method: str = "pm_card_visa") -> AuthorizePayment:
    return AuthorizePayment(
        order_id=order_id, amount=4999, currency="usd", payment_method=method, customer_email="ann@example.com"
    )


def _token(key: str) -> Token:
    return Token(key=key, correlation_id="corr-1", workflow_id="checkout-1")


@pytest.fixture
def connector(http: httpx.AsyncClient) -> StripePayments:
    """The connector under test."""
    return StripePayments(http)


async def _authorized(connector: StripePayments, order_id: str) -> Authorization:
    return await connector.authorize(_authorize(order_id), _token(f"authorize:{order_id}"))


async def _captured(connector: StripePayments, order_id: str) -> tuple[CapturePayment, Capture]:
    held = await _authorized(connector, order_id)
    request = CapturePayment(order_id=order_id, payment_intent=held.payment_intent, amount=4999)
    return request, await connector.capture(request, _token(f"capture:{order_id}"))


def _scripted(
    sandbox: Sandbox, operation: Operation, fault: FaultKind, *, status: int | None = None
) -> Callable[[], Awaitable[None]]:
    async def inject() -> None:
        await sandbox.control.fault(operation, fault, status=status)

    return inject


UNAVAILABLE = (FailureKind.UNAVAILABLE, Outcome.UNKNOWN)


@pytest.mark.slow
async def test_authorize_keeps_its_promises(sandbox: Sandbox, connector: StripePayments) -> None:
    """Authorizing conforms, whatever the provider does on the way."""

    def fault(kind: FaultKind, order: str, expected: FailureKind, outcome: Outcome, *, recovers: bool = True) -> Fault:
        return Fault(_scripted(sandbox, Operation.AUTHORIZE, kind), _authorize(order), expected, outcome, recovers)

    report = await check_connector(
        connector,
        payments.authorize,
        _authorize("ORDER-1"),
        oracle=lambda: live(sandbox, EffectKind.AUTHORIZED, EffectKind.CAPTURED),
        faults=[
            fault(FaultKind.REFUSE, "ORDER-2", FailureKind.DECLINED, Outcome.REFUSED),
            fault(FaultKind.RATE_LIMIT, "ORDER-3", FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            fault(FaultKind.UNAVAILABLE, "ORDER-4", *UNAVAILABLE),
            fault(FaultKind.DROP_BEFORE, "ORDER-5", *UNAVAILABLE),
            fault(FaultKind.DROP_REPLY, "ORDER-6", *UNAVAILABLE),
            # The 500 is stored under the key: only a look-up, after the key has expired, can resolve it.
            fault(FaultKind.ERROR_AFTER, "ORDER-7", *UNAVAILABLE, recovers=False),
        ],
    )

    assert report.faults == 6
    assert {Promise.KEY_HONOURED, Promise.PROBE_UNDONE, Promise.UNDO_FORGOTTEN} <= set(report.kept)
    assert {effect.correlation_id for effect in await sandbox.control.effects("ORDER-6")} == {"conformance-check"}


@pytest.mark.slow
async def test_capture_keeps_its_promises(sandbox: Sandbox, connector: StripePayments) -> None:
    """Capturing conforms, whatever the provider does on the way."""

    async def request(order: str) -> CapturePayment:
        held = await _authorized(connector, order)
        return CapturePayment(order_id=order, payment_intent=held.payment_intent, amount=4999)

    async def fault(kind: FaultKind, order: str, expected: FailureKind, outcome: Outcome) -> Fault:
        return Fault(_scripted(sandbox, Operation.CAPTURE, kind), await request(order), expected, outcome)

    report = await check_connector(
        connector,
        payments.capture,
        await request("ORDER-1"),
        oracle=lambda: live(sandbox, EffectKind.CAPTURED),
        faults=[
            await fault(FaultKind.REFUSE, "ORDER-2", FailureKind.INVALID, Outcome.REFUSED),
            await fault(FaultKind.RATE_LIMIT, "ORDER-3", FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            await fault(FaultKind.DROP_BEFORE, "ORDER-4", *UNAVAILABLE),
            await fault(FaultKind.DROP_REPLY, "ORDER-5", *UNAVAILABLE),
        ],
    )

    assert report.faults == 4


async def test_nothing_is_sent_to_a_port_where_nobody_listens(refused_http: httpx.AsyncClient) -> None:
    """A refused connection is no effect."""
    connector = StripePayments(refused_http)

    with pytest.raises(httpx.ConnectError) as raised:
        await _authorized(connector, "ORDER-1")

    failure = classify(connector, payments.authorize, raised.value)
    assert (failure.kind, failure.outcome) == (FailureKind.UNAVAILABLE, Outcome.NOT_STARTED)


# -- reading Stripe's errors ---------------------------------------------------------------------------------------


async def test_a_decline_carries_the_banks_reason(connector: StripePayments) -> None:
    """The reason of a decline is Stripe's decline code."""
    with pytest.raises(httpx.HTTPStatusError) as raised:
        await connector.authorize(_authorize("ORDER-1", method=INSUFFICIENT), _token("authorize:ORDER-1"))

    failure = classify(connector, payments.authorize, raised.value)
    assert isinstance(failure, Refused)
    assert (failure.kind, failure.reason) == (FailureKind.DECLINED, "insufficient_funds")


async def test_a_declined_authorization_is_not_found(connector: StripePayments) -> None:
    """The payment intent a decline leaves behind holds no money, and does not count."""
    request, token = _authorize("ORDER-1", method=INSUFFICIENT), _token("authorize:ORDER-1")
    with pytest.raises(httpx.HTTPStatusError):
        await connector.authorize(request, token)

    assert await connector.find_authorization(request, token) is None


async def test_a_key_used_for_something_else_is_refused(connector: StripePayments) -> None:
    """Another request under a known key is `key_reused`."""
    await _authorized(connector, "ORDER-1")

    with pytest.raises(httpx.HTTPStatusError) as raised:
        await connector.authorize(_authorize("ORDER-2"), _token("authorize:ORDER-1"))

    failure = classify(connector, payments.authorize, raised.value)
    assert (failure.kind, failure.outcome) == (FailureKind.KEY_REUSED, Outcome.REFUSED)


async def test_bad_input_is_invalid_with_stripes_code(connector: StripePayments) -> None:
    """What Stripe calls an invalid request is refused for good, with Stripe's own code."""
    with pytest.raises(httpx.HTTPStatusError) as raised:
        await connector.authorize(_authorize("ORDER-1", method="pm_unknown"), _token("authorize:ORDER-1"))

    failure = classify(connector, payments.authorize, raised.value)
    assert (failure.kind, failure.outcome) == (FailureKind.INVALID, Outcome.REFUSED)
    assert failure.reason == "resource_missing"


def _answer(status: int, body: object, *, text: str | None = None) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://api.stripe.com/v1/payment_intents")
    response = (
        httpx.Response(status, request=request, text=text)
        if text
        else httpx.Response(status, request=request, json=body)
    )
    return httpx.HTTPStatusError(f"{status}", request=request, response=response)


def _body(**error: str) -> dict[str, object]:
    return {"error": {"message": "no", **error}}


@pytest.mark.parametrize(
    ("error", "kind", "outcome", "reason"),
    [
        (
            _answer(409, _body(type="idempotency_error", code="idempotency_key_in_use")),
            FailureKind.UNAVAILABLE,
            Outcome.UNKNOWN,
            "idempotency_key_in_use",
        ),
        (
            _answer(400, _body(type="invalid_request_error", code="payment_intent_unexpected_state")),
            FailureKind.CONFLICT,
            Outcome.REFUSED,
            "payment_intent_unexpected_state",
        ),
        (
            _answer(402, _body(type="card_error", code="expired_card")),
            FailureKind.DECLINED,
            Outcome.REFUSED,
            "expired_card",
        ),
        (_answer(429, _body(code="lock_timeout")), FailureKind.RATE_LIMITED, Outcome.NOT_STARTED, "http_429"),
        (_answer(401, _body(type="invalid_request_error")), FailureKind.UNAUTHENTICATED, Outcome.REFUSED, "http_401"),
        (_answer(500, _body(type="api_error")), FailureKind.UNAVAILABLE, Outcome.UNKNOWN, "http_500"),
        (_answer(502, None, text="<html>"), FailureKind.UNAVAILABLE, Outcome.UNKNOWN, "http_502"),
        (_answer(400, None, text="<html>"), FailureKind.INVALID, Outcome.REFUSED, "http_400"),
        (_answer(400, ["strange"]), FailureKind.INVALID, Outcome.REFUSED, "http_400"),
    ],
)
def test_stripes_errors_are_read_from_their_body(
    http: httpx.AsyncClient, error: httpx.HTTPStatusError, kind: FailureKind, outcome: Outcome, reason: str
) -> None:
    """Every shape of error has one meaning, also when a proxy answers instead of Stripe."""
    failure = classify(StripePayments(http), payments.authorize, error)

    assert (failure.kind, failure.outcome, failure.reason) == (kind, outcome, reason)


def _stub(*replies: dict[str, object]) -> StripePayments:
    """A connector whose provider gives scripted replies, for states the sandbox does not have."""
    waiting = list(replies)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=waiting.pop(0)))
    return StripePayments(httpx.AsyncClient(base_url="https://api.stripe.com", transport=transport))


def _intent(status: str) -> dict[str, object]:
    return {"id": "pi_1", "status": status, "amount": 4999, "amount_received": 0, "currency": "usd", "metadata": {}}


async def test_a_payment_intent_that_holds_nothing_is_a_decline() -> None:
    """A success reply whose payment intent waits for the customer authorizes nothing."""
    with pytest.raises(Refused, match=r"'pi_1' holds no money: its status is 'requires_action'") as raised:
        await _authorized(_stub(_intent("requires_action")), "ORDER-1")

    assert (raised.value.kind, raised.value.reason) == (FailureKind.DECLINED, "requires_action")


async def test_a_payment_intent_that_is_processed_is_unknown() -> None:
    """A payment intent that is still processed may yet hold the money."""
    with pytest.raises(OutcomeUnknown, match=r"'pi_1' is still being processed"):
        await _authorized(_stub(_intent("processing")), "ORDER-1")


# -- the probe -----------------------------------------------------------------------------------------------------


async def test_a_new_payment_intent_is_found_on_any_page(
    sandbox: Sandbox, connector: StripePayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made a moment ago is found by listing, page after page, and never by a search that lags behind."""
    monkeypatch.setattr(stripe, "PAGE", 1)
    wanted = await _authorized(connector, "ORDER-1")
    await _authorized(connector, "ORDER-2")
    await _authorized(connector, "ORDER-3")

    found = await connector.find_authorization(_authorize("ORDER-1"), _token("authorize:ORDER-1"))

    assert found == wanted
    looked = [call.path for call in await sandbox.control.calls() if call.method == "GET"]
    assert looked == ["/v1/payment_intents"] * 3


async def test_an_old_payment_intent_is_found_by_search(
    connector: StripePayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too old to be listed is searched, by a key that may hold quotes."""
    monkeypatch.setattr(stripe, "SEARCH_LAG", timedelta(days=-1))
    token = _token(r"authorize:O'RDER\1")
    wanted = await connector.authorize(_authorize("ORDER-1"), token)

    found = await connector.find_authorization(_authorize("ORDER-1"), token)

    assert found == wanted


async def test_a_captured_authorization_is_still_found(connector: StripePayments) -> None:
    """An authorization whose money was taken stands until the money is given back."""
    request, taken = await _captured(connector, "ORDER-1")
    token = _token("authorize:ORDER-1")

    before = await connector.find_authorization(_authorize("ORDER-1"), token)
    await connector.refund(Undo(request, taken), _token("capture:ORDER-1:undo"))
    after = await connector.find_authorization(_authorize("ORDER-1"), token)

    assert before is not None
    assert after is None


# -- undo after somebody else was there ----------------------------------------------------------------------------


async def test_a_void_after_a_full_refund_has_nothing_to_do(connector: StripePayments) -> None:
    """A captured payment intent whose money went back holds nothing to void."""
    request, taken = await _captured(connector, "ORDER-1")
    await connector.refund(Undo(request, taken), _token("capture:ORDER-1:undo"))
    held = Authorization(payment_intent=taken.payment_intent, amount=4999, currency="usd")

    await connector.void(Undo(_authorize("ORDER-1"), held), _token("authorize:ORDER-1:undo"))


async def test_a_void_of_taken_money_is_refused(connector: StripePayments) -> None:
    """Voiding cannot give back money that was taken, and says so."""
    _, taken = await _captured(connector, "ORDER-1")
    held = Authorization(payment_intent=taken.payment_intent, amount=4999, currency="usd")

    with pytest.raises(Refused, match="cannot be canceled: its status is 'succeeded'") as raised:
        await connector.void(Undo(_authorize("ORDER-1"), held), _token("authorize:ORDER-1:undo"))

    assert raised.value.kind is FailureKind.CONFLICT


async def test_a_void_that_fails_otherwise_is_left_to_classification(
    sandbox: Sandbox, connector: StripePayments
) -> None:
    """Only the payment intent's state explains a refused cancellation away."""
    held = await _authorized(connector, "ORDER-1")
    await sandbox.control.fault(Operation.CANCEL, FaultKind.REFUSE)

    with pytest.raises(httpx.HTTPStatusError, match="403"):
        await connector.void(Undo(_authorize("ORDER-1"), held), _token("authorize:ORDER-1:undo"))


async def _refund_by_hand(http: httpx.AsyncClient, intent: str, amount: int) -> None:
    reply = await http.post("/v1/refunds", data={"payment_intent": intent, "amount": str(amount)})
    reply.raise_for_status()


async def test_a_refund_gives_back_only_the_rest(
    sandbox: Sandbox, connector: StripePayments, http: httpx.AsyncClient
) -> None:
    """What was refunded by hand is not refunded again."""
    request, taken = await _captured(connector, "ORDER-1")
    await _refund_by_hand(http, taken.payment_intent, 999)

    await connector.refund(Undo(request, taken), _token("capture:ORDER-1:undo"))

    refunds = [e.amount for e in await sandbox.control.effects() if e.kind is EffectKind.REFUNDED]
    assert refunds == [999, 4000]


async def test_a_refund_after_a_full_refund_has_nothing_to_do(
    sandbox: Sandbox, connector: StripePayments, http: httpx.AsyncClient
) -> None:
    """A payment that was refunded by hand needs no refund."""
    request, taken = await _captured(connector, "ORDER-1")
    await _refund_by_hand(http, taken.payment_intent, 4999)

    await connector.refund(Undo(request, taken), _token("capture:ORDER-1:undo"))

    assert await live(sandbox, EffectKind.CAPTURED) == 0


async def test_an_undo_is_not_held_up_by_a_stored_breakdown(sandbox: Sandbox, connector: StripePayments) -> None:
    """Stripe stores a 500 under a key and repeats it: void and refund ask without one, and end."""
    held = await connector.authorize(_authorize("ORDER-1"), _token("authorize:ORDER-1"))
    request, taken = await _captured(connector, "ORDER-2")
    for operation in (Operation.CANCEL, Operation.REFUND):
        await sandbox.control.fault(operation, FaultKind.ERROR_AFTER)

    for _ in range(2):
        with contextlib.suppress(httpx.HTTPStatusError):
            await connector.void(Undo(_authorize("ORDER-1"), held), _token("authorize:ORDER-1:undo"))
        with contextlib.suppress(httpx.HTTPStatusError):
            await connector.refund(Undo(request, taken), _token("capture:ORDER-2:undo"))
    await connector.void(Undo(_authorize("ORDER-1"), held), _token("authorize:ORDER-1:undo"))
    await connector.refund(Undo(request, taken), _token("capture:ORDER-2:undo"))

    assert await live(sandbox, EffectKind.AUTHORIZED, EffectKind.CAPTURED) == 0
    assert [e.amount for e in await sandbox.control.effects() if e.kind is EffectKind.REFUNDED] == [4999]


async def test_a_stored_breakdown_without_an_effect_stays_unknown() -> None:
    """A repeated 500 whose effect cannot be found is passed on as it is: nothing is asked for under another key."""
    asked: list[str] = []

    def provider(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        if request.method == "POST":
            return httpx.Response(500, json=_body(type="api_error"), headers={"Idempotent-Replayed": "true"})
        return httpx.Response(200, json={"data": [], "has_more": False})

    http = httpx.AsyncClient(base_url="https://api.stripe.com", transport=httpx.MockTransport(provider))

    with pytest.raises(httpx.HTTPStatusError):
        await StripePayments(http).authorize(_authorize("ORDER-1"), _token("authorize:ORDER-1"))

    assert asked == ["POST /v1/payment_intents", "GET /v1/payment_intents", "GET /v1/payment_intents/search"]


async def test_a_refund_overtaken_by_hand_has_nothing_to_do() -> None:
    """A refund made by hand between look-up and request leaves nothing to refund, and no failure."""
    taken = {**_intent("succeeded"), "amount_received": 4999, "latest_charge": "ch_1"}

    def provider(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(400, json=_body(type="invalid_request_error", code="charge_already_refunded"))
        return httpx.Response(200, json={"data": [], "has_more": False} if "refunds" in request.url.path else taken)

    http = httpx.AsyncClient(base_url="https://api.stripe.com", transport=httpx.MockTransport(provider))
    request = CapturePayment(order_id="ORDER-1", payment_intent="pi_1", amount=4999)
    result = Capture(payment_intent="pi_1", charge="ch_1", amount=4999)

    await StripePayments(http).refund(Undo(request, result), _token("capture:ORDER-1:undo"))


async def test_a_refund_that_fails_otherwise_is_left_to_classification(
    sandbox: Sandbox, connector: StripePayments
) -> None:
    """Only an earlier refund explains a refused refund away."""
    request, taken = await _captured(connector, "ORDER-1")
    await sandbox.control.fault(Operation.REFUND, FaultKind.REFUSE)

    with pytest.raises(httpx.HTTPStatusError, match="403"):
        await connector.refund(Undo(request, taken), _token("capture:ORDER-1:undo"))


async def test_the_provider_sees_the_key(sandbox: Sandbox, connector: StripePayments) -> None:
    """The key goes out as `Idempotency-Key` and into the metadata, where the probe looks for it."""
    await _authorized(connector, "ORDER-1")

    (effect,) = await sandbox.control.effects("ORDER-1")
    (intent,) = sandbox.app.payments.intents.values()
    assert effect.idempotency_key == "authorize:ORDER-1"
    assert intent.metadata == {"order_id": "ORDER-1", "kit_key": "authorize:ORDER-1"}
