"""The HTTP side of payments: paths, parameters and credentials (https://docs.stripe.com/api/payment_intents)."""

from collections.abc import Awaitable, Callable, Collection
from itertools import count

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.exchange import Reply, Request
from kit.testing.sandbox.faults import Operation, Provider
from kit.testing.sandbox.http import caller_of, response
from kit.testing.sandbox.payments import Payments
from kit.testing.sandbox.stripe_wire import (
    StripeError,
    error_reply,
    integer,
    metadata_of,
    parse_form,
    search_clauses,
)

# What may be sent to each endpoint; other names are refused, as Stripe does.
CREATE_PARAMS = frozenset({
    "amount", "automatic_payment_methods", "capture_method", "confirm", "currency", "customer", "description",
    "error_on_requires_action", "metadata", "off_session", "payment_method", "payment_method_types",
    "receipt_email", "return_url", "statement_descriptor", "statement_descriptor_suffix", "expand",
})  # fmt: skip
CAPTURE_PARAMS = frozenset({"amount_to_capture", "metadata", "expand"})
CANCEL_PARAMS = frozenset({"cancellation_reason", "expand"})
REFUND_PARAMS = frozenset({"amount", "metadata", "payment_intent", "reason", "expand"})


class PaymentRoutes:
    """Stripe's endpoints over a `Payments`."""

    def __init__(self, payments: Payments) -> None:
        self._payments = payments
        self._request_ids = count(1)

    def routes(self) -> list[Route]:
        """The routes, to be mounted at the root: Stripe's paths start with /v1."""
        intents = "/v1/payment_intents"
        return [
            Route(intents, self._create, methods=["POST"]),
            Route(intents, self._list, methods=["GET"]),
            Route(f"{intents}/search", self._search, methods=["GET"]),
            Route(f"{intents}/{{id}}", self._retrieve, methods=["GET"]),
            Route(f"{intents}/{{id}}/capture", self._capture, methods=["POST"]),
            Route(f"{intents}/{{id}}/cancel", self._cancel, methods=["POST"]),
            Route("/v1/refunds", self._refund, methods=["POST"]),
            Route("/v1/refunds", self._list_refunds, methods=["GET"]),
        ]

    async def _create(self, http: HttpRequest) -> Response:
        async def serve(request: Request, params: dict[str, str]) -> Reply:
            return await self._payments.serve(request, self._payments.create(params, request.caller), params)

        return await self._post(http, Operation.AUTHORIZE, CREATE_PARAMS, serve)

    async def _capture(self, http: HttpRequest) -> Response:
        async def serve(request: Request, params: dict[str, str]) -> Reply:
            execute = self._payments.capture(http.path_params["id"], params, request.caller)
            return await self._payments.serve(request, execute, params)

        return await self._post(http, Operation.CAPTURE, CAPTURE_PARAMS, serve)

    async def _cancel(self, http: HttpRequest) -> Response:
        async def serve(request: Request, params: dict[str, str]) -> Reply:
            execute = self._payments.cancel(http.path_params["id"], params, request.caller)
            return await self._payments.serve(request, execute, params)

        return await self._post(http, Operation.CANCEL, CANCEL_PARAMS, serve)

    async def _refund(self, http: HttpRequest) -> Response:
        async def serve(request: Request, params: dict[str, str]) -> Reply:
            return await self._payments.serve(request, self._payments.refund(params, request.caller), params)

        return await self._post(http, Operation.REFUND, REFUND_PARAMS, serve)

    async def _retrieve(self, http: HttpRequest) -> Response:
        intent_id = http.path_params["id"]

        async def serve(request: Request) -> Reply:
            return await self._payments.serve(request, self._payments.retrieve(intent_id))

        return await self._get(http, self._payments.reference(intent_id), serve)

    async def _list(self, http: HttpRequest) -> Response:
        async def serve(request: Request) -> Reply:
            params = dict(http.query_params)
            since = integer(params, "created[gte]", default=1)
            limit = integer(params, "limit", default=10)
            execute = self._payments.list_intents(since, limit, after=params.get("starting_after"))
            return await self._payments.serve(request, execute)

        return await self._get(http, "", serve)

    async def _search(self, http: HttpRequest) -> Response:
        query = http.query_params.get("query", "")

        async def serve(request: Request) -> Reply:
            return await self._payments.serve(request, self._payments.search(search_clauses(query)))

        return await self._get(http, _searched_for(query), serve)

    async def _list_refunds(self, http: HttpRequest) -> Response:
        intent_id = http.query_params.get("payment_intent")

        async def serve(request: Request) -> Reply:
            return await self._payments.serve(request, self._payments.list_refunds(intent_id))

        return await self._get(http, self._payments.reference(intent_id or ""), serve)

    async def _post(
        self,
        http: HttpRequest,
        operation: Operation,
        allowed: Collection[str],
        serve: Callable[[Request, dict[str, str]], Awaitable[Reply]],
    ) -> Response:
        body = await http.body()
        request = self._request(http, operation, http.path_params.get("id", ""))
        try:
            _authenticate(http)
            params = parse_form(http.headers.get("content-type", ""), body, allowed=allowed)
            request = self._request(http, operation, self._about(http, params))
            reply = await serve(request, params)
        except StripeError as error:
            reply = self._payments.exchange.answer(Provider.PAYMENTS, request, error.reply)
        return self._response(reply)

    async def _get(self, http: HttpRequest, reference: str, serve: Callable[[Request], Awaitable[Reply]]) -> Response:
        request = self._request(http, Operation.FIND, reference)
        try:
            _authenticate(http)
            reply = await serve(request)
        except StripeError as error:
            reply = self._payments.exchange.answer(Provider.PAYMENTS, request, error.reply)
        return self._response(reply)

    def _about(self, http: HttpRequest, params: dict[str, str]) -> str:
        intent_id = http.path_params.get("id") or params.get("payment_intent")
        if intent_id:
            return self._payments.reference(intent_id)
        return metadata_of(params).get("order_id", "")

    @staticmethod
    def _request(http: HttpRequest, operation: Operation, reference: str) -> Request:
        return Request(operation, http.method, http.url.path, reference, caller_of(http))

    def _response(self, reply: Reply) -> Response:
        return response(reply, headers={"Request-Id": f"req_sandbox_{next(self._request_ids)}"})


def _authenticate(http: HttpRequest) -> None:
    scheme, _, key = http.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.startswith("sk_test_"):
        # The key itself is never repeated: credentials do not belong into logs.
        message = "Invalid API Key provided: expected 'Authorization: Bearer sk_test_...'."
        raise StripeError(error_reply(401, "invalid_request_error", message))


def _searched_for(query: str) -> str:
    try:
        return dict(search_clauses(query)).get("metadata.order_id", "")
    except StripeError:
        return ""
