"""The HTTP side of billing: paths and parameters (https://docs.stripe.com/api/subscriptions)."""

from collections.abc import Mapping

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.billing import Billing
from kit.testing.sandbox.exchange import Reply, Request
from kit.testing.sandbox.faults import Operation, Provider
from kit.testing.sandbox.stripe_routes import StripeRoutes
from kit.testing.sandbox.stripe_wire import integer

# What may be sent to each endpoint; other names are refused, as Stripe does.
UPDATE_PARAMS = frozenset({
    "cancel_at_period_end", "cancellation_details", "expand", "items", "metadata", "payment_behavior",
    "proration_behavior",
})  # fmt: skip
CANCEL_PARAMS = frozenset({"cancellation_details", "expand", "invoice_now", "prorate"})

_SUBSCRIPTIONS = "/v1/subscriptions"
_EXPAND = "expand[]"


class BillingRoutes(StripeRoutes):
    """Stripe's endpoints over a `Billing`."""

    def __init__(self, billing: Billing) -> None:
        super().__init__(billing.exchange, Provider.BILLING)
        self._billing = billing

    def routes(self) -> list[Route]:
        """The routes, to be mounted at the root: Stripe's paths start with /v1."""
        return [
            Route(_SUBSCRIPTIONS, self._list, methods=["GET"]),
            Route(f"{_SUBSCRIPTIONS}/{{id}}", self._retrieve, methods=["GET"]),
            Route(f"{_SUBSCRIPTIONS}/{{id}}", self._update, methods=["POST"]),
            Route(f"{_SUBSCRIPTIONS}/{{id}}", self._cancel, methods=["DELETE"]),
        ]

    async def _list(self, http: HttpRequest) -> Response:
        async def serve(request: Request) -> Reply:
            params = dict(http.query_params)
            limit = integer(params, "limit", default=10)
            after = params.get("starting_after")
            return await self._billing.serve(
                request, self._billing.list_subscriptions(params.get("status", ""), limit, after=after)
            )

        return await self._get(http, Operation.READ_SUBSCRIPTION, "", serve)

    async def _retrieve(self, http: HttpRequest) -> Response:
        subscription_id = http.path_params["id"]
        invoice = "latest_invoice" in http.query_params.getlist(_EXPAND)

        async def serve(request: Request) -> Reply:
            return await self._billing.serve(request, self._billing.retrieve(subscription_id, invoice=invoice))

        return await self._get(http, Operation.READ_SUBSCRIPTION, subscription_id, serve)

    async def _update(self, http: HttpRequest) -> Response:
        async def serve(request: Request, params: dict[str, str]) -> Reply:
            execute = self._billing.update(request.reference, params, request.caller, invoice=_expands(params))
            return await self._billing.serve(request, execute, params)

        return await self._post(http, Operation.CHANGE_SUBSCRIPTION, UPDATE_PARAMS, serve)

    async def _cancel(self, http: HttpRequest) -> Response:
        async def serve(request: Request, params: dict[str, str]) -> Reply:
            execute = self._billing.cancel(request.reference, params, request.caller, invoice=_expands(params))
            return await self._billing.serve(request, execute)

        return await self._post(http, Operation.CANCEL_SUBSCRIPTION, CANCEL_PARAMS, serve)

    def _about(self, http: HttpRequest, params: Mapping[str, str]) -> str:
        return str(http.path_params["id"])


def _expands(params: Mapping[str, str]) -> bool:
    return "latest_invoice" in params.get(_EXPAND, "").split(",")
