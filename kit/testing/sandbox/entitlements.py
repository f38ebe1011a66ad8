"""An entitlement service: what each account may use, written by state and version.

Every write names the version that it replaces (RFC 9110, section 13.1.1, `If-Match`), and a version never comes back:
what arrives twice, or late, finds another version and changes nothing.

    GET /v1/entitlements/{account_id}  200 {account_id, plan, version, changed_by}; version 0 when nothing was written
    GET /v1/entitlements               ?limit=&after= -> 200 {entitlements, next}: those ever written, by account
    PUT /v1/entitlements/{account_id}  {plan, changed_by}, If-Match: "<version>" -> 200; 412; 428 without If-Match

The reference of every effect is the account id. A write stands until the next one.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from kit.testing.sandbox.exchange import Exchange, Reply, Request
from kit.testing.sandbox.faults import Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.http import caller_of, response
from kit.testing.sandbox.records import EffectKind

PLANS: Final = ("none", "starter", "pro", "enterprise")
_LIST: Final = "/v1/entitlements"
_PATH: Final = f"{_LIST}/{{account_id:path}}"
_TAG: Final = re.compile(r'"(\d+)"')


class Entitlements:
    """The entitlement service: its accounts, and its endpoints."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.accounts: dict[str, dict[str, Any]] = {}

    def clear(self) -> None:
        """Forget every account."""
        self.accounts.clear()

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        return (self.accounts,)

    def add(self, account_id: str, *, plan: str) -> None:
        """Let an account have had a plan all along.

        Raises:
            ValueError: There is no such plan, or the account has had one already.
        """
        if plan not in PLANS or account_id in self.accounts:
            raise ValueError(
                f"account {account_id!r} cannot begin with plan {plan!r}: use a new one, and one of {PLANS}"
            )
        self.accounts[account_id] = {"account_id": account_id, "plan": str(plan), "version": 1, "changed_by": None}

    def plan(self, account_id: str) -> str:
        """What an account may use."""
        return str(self._entitlement(account_id)["plan"])

    def routes(self) -> list[Route]:
        """The provider's endpoints."""
        return [
            Route(_LIST, self._list, methods=["GET"]),
            Route(_PATH, self._get, methods=["GET"]),
            Route(_PATH, self._put, methods=["PUT"]),
        ]

    async def _list(self, http: HttpRequest) -> Response:
        after, limit = http.query_params.get("after", ""), int(http.query_params.get("limit", "100"))
        request = Request(Operation.READ_ENTITLEMENT, http.method, http.url.path, "", caller_of(http))

        def execute() -> Reply:
            accounts = sorted(account for account in self.accounts if account > after)
            found = [dict(self.accounts[account]) for account in accounts[:limit]]
            return Reply(200, {"entitlements": found, "next": accounts[limit - 1] if len(accounts) > limit else None})

        return await self._serve(request, execute)

    async def _get(self, http: HttpRequest) -> Response:
        account = http.path_params["account_id"]
        request = _request(http, Operation.READ_ENTITLEMENT)
        return await self._serve(request, lambda: _told(self._entitlement(account)))

    async def _put(self, http: HttpRequest) -> Response:
        request = _request(http, Operation.CHANGE_ENTITLEMENT)
        try:
            wanted = json.loads(await http.body())
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict) or wanted.get("plan") not in PLANS:
            return self._refuse(request, 422, f"expected a plan, one of {PLANS}")
        tag = _TAG.fullmatch(http.headers.get("if-match", ""))
        if tag is None:
            return self._refuse(request, 428, 'expected If-Match: "<version>"')
        return await self._serve(request, lambda: self._write(int(tag[1]), wanted, request))

    async def _serve(self, request: Request, execute: Callable[[], Reply]) -> Response:
        reply = await self.exchange.serve(Provider.ENTITLEMENTS, request, execute=execute, fault_reply=_fault_reply)
        return response(reply)

    def _refuse(self, request: Request, status: int, message: str) -> Response:
        return response(self.exchange.answer(Provider.ENTITLEMENTS, request, Reply(status, {"error": message})))

    def _write(self, version: int, wanted: dict[str, Any], request: Request) -> Reply:
        account = request.reference
        was = self._entitlement(account)
        if was["version"] != version:
            return Reply(412, {"error": "another version", "version": was["version"]})
        now = {
            "account_id": account,
            "plan": wanted["plan"],
            "version": version + 1,
            "changed_by": wanted.get("changed_by"),
        }
        self.accounts[account] = now
        journal = self.exchange.journal
        journal.ended(Provider.ENTITLEMENTS, EffectKind.ENTITLED, _name(was))
        journal.did(
            Provider.ENTITLEMENTS,
            EffectKind.ENTITLED,
            reference=account,
            object_id=_name(now),
            caller=request.caller,
            details={"plan": now["plan"], "was_plan": was["plan"]},
        )
        return _told(now)

    def _entitlement(self, account: str) -> dict[str, Any]:
        return self.accounts.get(account) or {
            "account_id": account,
            "plan": "none",
            "version": 0,
            "changed_by": None,
        }


def _name(entitlement: dict[str, Any]) -> str:
    return f"{entitlement['account_id']}@{entitlement['version']}"


def _told(entitlement: dict[str, Any]) -> Reply:
    return Reply(200, dict(entitlement), {"ETag": f'"{entitlement["version"]}"'})


def _request(http: HttpRequest, operation: Operation) -> Request:
    return Request(operation, http.method, http.url.path, http.path_params["account_id"], caller_of(http))


def _fault_reply(fault: Fault, request: Request) -> Reply:
    usual, error = {
        FaultKind.RATE_LIMIT: (429, "rate_limited"),
        FaultKind.UNAVAILABLE: (503, "unavailable"),
        FaultKind.REFUSE: (403, "forbidden"),
    }.get(fault.fault, (500, "internal"))
    return Reply(fault.status or usual, {"error": error}, fault.retry_after_header())
