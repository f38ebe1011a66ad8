"""What payments answer when a call cannot have its way: scripted faults, and states that do not allow it."""

from typing import Any

from kit.testing.sandbox.exchange import Reply, Request
from kit.testing.sandbox.faults import Fault, FaultKind, Operation
from kit.testing.sandbox.payment_intent import PaymentIntent
from kit.testing.sandbox.stripe_wire import error_reply


def fault_reply(fault: Fault, request: Request) -> Reply:
    """The reply to a scripted fault, in Stripe's words."""
    reply = _worded(fault, request.operation)
    status = fault.status or reply.status
    # An execution that began is remembered; a refusal for lack of permission is decided before it begins.
    remember = fault.fault is FaultKind.ERROR_AFTER or (fault.fault is FaultKind.REFUSE and status in (400, 402))
    return Reply(status, reply.body, headers=fault.retry_after_header(), remember=remember)


def _worded(fault: Fault, operation: Operation) -> Reply:
    match fault.fault, operation:
        case FaultKind.RATE_LIMIT, _:
            return error_reply(429, "invalid_request_error", "Too many requests, slow down.", code="rate_limit")
        case FaultKind.UNAVAILABLE, _:
            return error_reply(503, "api_error", "The service is not available at the moment.")
        case FaultKind.REFUSE, Operation.AUTHORIZE:
            return error_reply(
                402,
                "card_error",
                "Your card was declined.",
                code="card_declined",
                decline_code="generic_decline",
            )
        case FaultKind.REFUSE, Operation.CAPTURE:
            return error_reply(
                400,
                "invalid_request_error",
                "The charge cannot be captured: its authorization has expired.",
                code="charge_expired_for_capture",
            )
        case FaultKind.REFUSE, _:
            return error_reply(403, "invalid_request_error", "This API key has no permission for this request.")
        case _:
            return error_reply(500, "api_error", "An error occurred while processing your request.")


def unexpected_state(intent: PaymentIntent, verb: str, expected: tuple[str, ...]) -> Reply:
    """The state of the payment intent does not allow what was asked; the reply shows the payment intent."""
    return error_reply(
        400,
        "invalid_request_error",
        f"This PaymentIntent could not be {verb} because it has a status of {intent.status}. "
        f"Only a PaymentIntent with one of the following statuses may be {verb}: {', '.join(expected)}.",
        code="payment_intent_unexpected_state",
        remember=True,
        payment_intent=intent.wire(),
    )


def page(kind: str, url: str, data: list[dict[str, Any]], *, has_more: bool = False) -> dict[str, Any]:
    """One page of a list of objects; the only one unless there are more."""
    listed: dict[str, Any] = {"object": kind, "url": url, "has_more": has_more, "data": data}
    return listed | {"next_page": None} if kind == "search_result" else listed
