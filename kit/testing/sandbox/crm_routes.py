"""The HTTP side of the CRM: paths, documents and credentials."""

import json
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.crm import UNIQUE, Crm, error_body
from kit.testing.sandbox.exchange import Reply, Request
from kit.testing.sandbox.faults import Operation, Provider
from kit.testing.sandbox.http import caller_of, response

COMPANIES: Final = "/crm/v3/objects/companies"
_IDS: Final = ("hs_object_id", UNIQUE)


class _Invalid(Exception):
    """The call is turned away at the door, with this reply."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


class CrmRoutes:
    """HubSpot's endpoints over a `Crm`."""

    def __init__(self, crm: Crm) -> None:
        self._crm = crm

    def routes(self) -> list[Route]:
        """The routes, to be mounted at the root."""
        return [
            Route(f"{COMPANIES}/batch/upsert", self._upsert, methods=["POST"]),
            Route(f"{COMPANIES}/search", self._search, methods=["POST"]),
            Route(COMPANIES, self._list, methods=["GET"]),
            Route(f"{COMPANIES}/{{id:path}}", self._read, methods=["GET"]),
            Route(f"{COMPANIES}/{{id:path}}", self._update, methods=["PATCH"]),
            Route(f"{COMPANIES}/{{id:path}}", self._archive, methods=["DELETE"]),
        ]

    async def _upsert(self, http: HttpRequest) -> Response:
        body = await http.body()

        def prepare() -> tuple[str, Callable[[], Reply]]:
            inputs = [_input(one) for one in _document(body).get("inputs") or _wrong("`inputs` is missing or empty")]
            return inputs[0]["id"], self._crm.upsert(inputs, caller_of(http))

        return await self._serve(http, Operation.WRITE_COMPANY, prepare)

    async def _update(self, http: HttpRequest) -> Response:
        body = await http.body()

        def prepare() -> tuple[str, Callable[[], Reply]]:
            properties = _properties(_document(body).get("properties"))
            company, by = http.path_params["id"], _id_property(http)
            return self._reference(company, by), self._crm.update(company, by, properties, caller_of(http))

        return await self._serve(http, Operation.WRITE_COMPANY, prepare)

    async def _read(self, http: HttpRequest) -> Response:
        def prepare() -> tuple[str, Callable[[], Reply]]:
            company, by = http.path_params["id"], _id_property(http)
            return self._reference(company, by), self._crm.read(company, by, _wanted(http))

        return await self._serve(http, Operation.READ_COMPANY, prepare)

    async def _archive(self, http: HttpRequest) -> Response:
        def prepare() -> tuple[str, Callable[[], Reply]]:
            company = http.path_params["id"]
            return self._reference(company, _IDS[0]), self._crm.archive(company, caller_of(http))

        return await self._serve(http, Operation.ARCHIVE_COMPANY, prepare)

    async def _list(self, http: HttpRequest) -> Response:
        def prepare() -> tuple[str, Callable[[], Reply]]:
            after, limit = http.query_params.get("after", "0"), http.query_params.get("limit", "10")
            if not after.isdigit() or not limit.isdigit() or not 1 <= int(limit) <= 100:
                _wrong(f"after={after!r} must be a number, limit={limit!r} one from 1 to 100")
            return "", self._crm.page(int(after), int(limit), _wanted(http))

        return await self._serve(http, Operation.LIST_COMPANIES, prepare)

    async def _search(self, http: HttpRequest) -> Response:
        body = await http.body()

        def prepare() -> tuple[str, Callable[[], Reply]]:
            document = _document(body)
            groups = document.get("filterGroups") or [{}]
            filters = groups[0].get("filters") or _wrong("`filterGroups` has no filters")
            if len(groups) > 1 or any(one.get("operator") != "EQ" for one in filters):
                _wrong("the sandbox knows one filter group, of the operator EQ")
            wanted = {one["propertyName"]: one["value"] for one in filters}
            return wanted.get(UNIQUE, ""), self._crm.search(wanted, int(document.get("limit", 10)))

        return await self._serve(http, Operation.SEARCH_COMPANIES, prepare)

    async def _serve(
        self, http: HttpRequest, operation: Operation, prepare: Callable[[], tuple[str, Callable[[], Reply]]]
    ) -> Response:
        """Validate at once, and serve what is valid; ``prepare`` gives the reference and the execution."""
        request = Request(operation, http.method, http.url.path, http.path_params.get("id", ""), caller_of(http))
        try:
            _authenticate(http)
            reference, execute = prepare()
        except _Invalid as invalid:
            return response(self._crm.exchange.answer(Provider.CRM, request, invalid.reply))
        request = Request(operation, http.method, http.url.path, reference, request.caller)
        return response(await self._crm.serve(request, execute))

    def _reference(self, company_id: str, by: str) -> str:
        found = self._crm.company(company_id, by=by)
        return company_id if found is None else found.properties[UNIQUE]


def _wrong(message: str) -> Any:
    raise _Invalid(Reply(400, error_body("VALIDATION_ERROR", f"Invalid input: {message}")))


def _authenticate(http: HttpRequest) -> None:
    scheme, _, token = http.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.startswith("pat-"):
        # The token itself is never repeated: credentials do not belong into logs.
        message = "Authentication credentials not found: expected 'Authorization: Bearer pat-...'."
        raise _Invalid(Reply(401, error_body("INVALID_AUTHENTICATION", message)))


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else _wrong("the body is no JSON object")


def _input(one: dict[str, Any]) -> dict[str, Any]:
    if one.get("idProperty") != UNIQUE or not one.get("id"):
        _wrong(f"an input needs `id`, and `idProperty`: {UNIQUE!r}")
    return {"id": str(one["id"]), "properties": _properties(one.get("properties"))}


def _properties(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        _wrong("`properties` must be an object of texts")
    return dict(given)


def _id_property(http: HttpRequest) -> str:
    by = http.query_params.get("idProperty", _IDS[0])
    return by if by in _IDS else str(_wrong(f"idProperty={by!r} is not unique"))


def _wanted(http: HttpRequest) -> tuple[str, ...]:
    return tuple(filter(None, http.query_params.get("properties", "").split(",")))
