"""The HTTP side of everything that speaks as Stripe does: credentials, parameters, request ids."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import count

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Operation, Provider
from kit.testing.sandbox.http import caller_of, response
from kit.testing.sandbox.stripe_wire import StripeError, error_reply, parse_form


class StripeRoutes:
    """The base of a provider's endpoints.

    Args:
        exchange: What all providers of the sandbox share.
        provider: Whose endpoints these are.
    """

    def __init__(self, exchange: Exchange, provider: Provider) -> None:
        self._exchange = exchange
        self._provider = provider
        self._request_ids = count(1)

    def _about(self, http: HttpRequest, params: Mapping[str, str]) -> str:
        """The reference of a call that changes something."""
        raise NotImplementedError

    async def _post(
        self,
        http: HttpRequest,
        operation: Operation,
        allowed: Collection[str],
        serve: Callable[[Request, dict[str, str]], Awaitable[Reply]],
    ) -> Response:
        """Serve a call that changes something: a POST with a form, or a DELETE with a form or a query."""
        body = await http.body() or (http.url.query.encode() if http.method == "DELETE" else b"")
        form = "application/x-www-form-urlencoded"
        content_type = form if http.method == "DELETE" else http.headers.get("content-type", "")
        request = self._request(http, operation, http.path_params.get("id", ""))
        try:
            _authenticate(http)
            params = parse_form(content_type, body, allowed=allowed)
            request = self._request(http, operation, self._about(http, params))
            reply = await serve(request, params)
        except StripeError as error:
            reply = self._exchange.answer(self._provider, request, error.reply)
        return self._response(reply)

    async def _get(
        self,
        http: HttpRequest,
        operation: Operation,
        reference: str,
        serve: Callable[[Request], Awaitable[Reply]],
    ) -> Response:
        """Serve a call that changes nothing."""
        request = self._request(http, operation, reference)
        try:
            _authenticate(http)
            reply = await serve(request)
        except StripeError as error:
            reply = self._exchange.answer(self._provider, request, error.reply)
        return self._response(reply)

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
