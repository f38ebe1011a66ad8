"""The HTTP side of payments: paths, parameters and credentials (https://docs.stripe.com/api/payment_intents)."""

from collections.abc import Mapping

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.exchange import Reply, Request
from kit.testing.sandbox.faults import Operation, Provider
from kit.testing.sandbox.payments import Payments
from kit.testing.sandbox.stripe_routes import StripeRoutes
from kit.testing.sandbox.stripe_wire import StripeError, integer, metadata_of, search_clauses

# What may be sent to each endpoint; other names are refused, as Stripe does.
CREATE_PARAMS = frozenset({
    "amount", "automatic_payment_methods", "capture_method", "confirm", "currency", "customer", "description",
    "error_on_requires_action", "metadata", "off_session", "payment_method", "payment_method_types",
    "receipt_email", "return_url", "statement_descriptor", "statement_descriptor_suffix", "expand",
})  # fmt: skip
CAPTURE_PARAMS = frozenset({"amount_to_capture", "metadata", "expand"})
CANCEL_PARAMS = frozenset({"cancellation_reason", "expand"})
REFUND_PARAMS = frozenset({"amount", "metadata", "payment_intent", "reason", "expand"})

EXPAND = "expand[]"
"""Which ids are to be written out as objects (https://docs.stripe.com/api/expanding_objects)."""


class PaymentRoutes(StripeRoutes):
    """Stripe's endpoints over a `Payments`."""

    def __init__(self, payments: Payments) -> None:
        super().__init__(payments.exchange, Provider.PAYMENTS)
        self._payments = payments

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

        charge = "latest_charge" in http.query_params.getlist(EXPAND)

        async def serve(request: Request) -> Reply:
            return await self._payments.serve(request, self._payments.retrieve(intent_id, charge=charge))

        return await self._get(http, Operation.FIND, self._payments.reference(intent_id), serve)

    async def _list(self, http: HttpRequest) -> Response:
        async def serve(request: Request) -> Reply:
            params = dict(http.query_params)
            since = integer(params, "created[gte]", default=1)
            limit = integer(params, "limit", default=10)
            charge = "data.latest_charge" in http.query_params.getlist(EXPAND)
            execute = self._payments.list_intents(since, limit, after=params.get("starting_after"), charge=charge)
            return await self._payments.serve(request, execute)

        return await self._get(http, Operation.FIND, "", serve)

    async def _search(self, http: HttpRequest) -> Response:
        query = http.query_params.get("query", "")

        async def serve(request: Request) -> Reply:
            return await self._payments.serve(request, self._payments.search(search_clauses(query)))

        return await self._get(http, Operation.FIND, _searched_for(query), serve)

    async def _list_refunds(self, http: HttpRequest) -> Response:
        intent_id = http.query_params.get("payment_intent")

        async def serve(request: Request) -> Reply:
            return await self._payments.serve(request, self._payments.list_refunds(intent_id))

        return await self._get(http, Operation.FIND, self._payments.reference(intent_id or ""), serve)

    def _about(self, http: HttpRequest, params: Mapping[str, str]) -> str:
        intent_id = http.path_params.get("id") or params.get("payment_intent")
        if intent_id:
            return self._payments.reference(intent_id)
        return metadata_of(params).get("order_id", "")


def _searched_for(query: str) -> str:
    try:
        return dict(search_clauses(query)).get("metadata.order_id", "")
    except StripeError:
        return ""
