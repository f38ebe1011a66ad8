"""Entitlements by the entitlement service's HTTP interface, which writes by state and version."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any
from urllib.parse import quote

import httpx

from activities.entitlements import contract as entitlements
from activities.entitlements.contract import ChangeEntitlement, Entitlement, Plan, ReadEntitlement, RevokeEntitlement
from kit.contract import FailureKind, Keys, Page, Record, Scan, Token, Undo
from kit.errors import OutcomeUnknown, Refused
from kit.worker.connector import Connector


class HttpEntitlements(Connector):
    """Reads, lists, changes and revokes what accounts may use.

    Every write names the version it replaces, and leaves the key behind by which it was made: whoever is refused for
    the version can see whether it was itself that changed it.

    Args:
        http: A client for the service; made by `kit.worker.http_client`.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @entitlements.read.action
    async def read(self, request: ReadEntitlement, token: Token) -> Entitlement:
        """What the account may use now."""
        return _entitlement(await self._get(request.account_id))

    @entitlements.change.action
    async def change(self, request: ChangeEntitlement, token: Token) -> Entitlement:
        """Write the plan over the version that was read, and over no other."""
        written = await self._put(request.account_id, request.plan, version=request.before.version, key=token.key)
        if written is not None:
            return _entitlement(written)
        if (found := await _seen(self.find(request, token))) is not None:
            return found
        raise Refused(
            FailureKind.CONFLICT,
            f"the entitlement of {request.account_id!r} is not at version {request.before.version} any more",
            reason="another_version",
        )

    @entitlements.change.compensation
    async def put_back(self, undo: Undo[ChangeEntitlement, Entitlement], token: Token) -> None:
        """Write the plan that was there over the version that was written; what came after that is not ours."""
        account, version = undo.request.account_id, undo.result.version
        await self._put(account, undo.request.before.plan, version=version, key=token.key)

    @entitlements.change.probe
    async def find(self, request: ChangeEntitlement, token: Token) -> Entitlement | None:
        """The entitlement, if it is as the change under this key has left it."""
        found = await self._get(request.account_id)
        ours = found["changed_by"] == token.key and found["version"] == request.before.version + 1
        return _entitlement(found) if ours else None

    @entitlements.revoke.action
    async def revoke(self, request: RevokeEntitlement, token: Token) -> Entitlement:
        """Write no plan over what is there.

        Whoever has taken the plan before, it is taken: that is what was asked for, and no failure.
        """
        found = _entitlement(await self._get(request.account_id))
        if found.plan is Plan.NONE:
            return found
        written = await self._put(request.account_id, Plan.NONE, version=found.version, key=token.key)
        if written is not None:
            return _entitlement(written)
        # An earlier attempt's request may have come late, between the two calls.
        if (revoked := await _seen(self.find_revoked(request, token))) is not None:
            return revoked
        raise Refused(
            FailureKind.CONFLICT,
            f"the entitlement of {request.account_id!r} was changed from version {found.version} while it was revoked",
            reason="another_version",
        )

    @entitlements.revoke.probe
    async def find_revoked(self, request: RevokeEntitlement, token: Token) -> Entitlement | None:
        """The entitlement, if it gives no plan, whoever has taken it."""
        found = _entitlement(await self._get(request.account_id))
        return found if found.plan is Plan.NONE else None

    @entitlements.list_entitlements.action
    async def list_entitlements(self, request: Scan, token: Token) -> Page:
        """One page of what accounts may use. An account to which nothing was ever written is on none."""
        query = {"limit": str(request.limit)} | ({} if request.after is None else {"after": request.after})
        reply = await self._http.get("/v1/entitlements", params=query)
        page = reply.raise_for_status().json()
        return Page(records=tuple(map(_record, page["entitlements"])), next=page["next"])

    @entitlements.find_entitlements.action
    async def find_entitlements(self, request: Keys, token: Token) -> Page:
        """What some accounts may use; an account that the service does not know may use nothing."""
        return Page(records=tuple([_record(await self._get(account_id)) for account_id in request.keys]))

    async def _get(self, account_id: str) -> dict[str, Any]:
        reply = await self._http.get(_path(account_id))
        found: dict[str, Any] = reply.raise_for_status().json()
        return found

    async def _put(self, account_id: str, plan: str, *, version: int, key: str) -> dict[str, Any] | None:
        """Write a plan; ``None`` when the entitlement has another version."""
        reply = await self._http.put(
            _path(account_id),
            json={"plan": plan, "changed_by": key},
            headers={"If-Match": f'"{version}"'},
        )
        if reply.status_code == httpx.codes.PRECONDITION_FAILED:
            return None
        written: dict[str, Any] = reply.raise_for_status().json()
        return written


async def _seen(look: Awaitable[Entitlement | None]) -> Entitlement | None:
    """Look after a write that met another version, which may be our own: what cannot be seen stays unknown.

    Raises:
        OutcomeUnknown: The look failed.
    """
    try:
        return await look
    except httpx.HTTPError as error:
        text = f"another version is there, and whether it is ours could not be seen: {error}"
        # Its kind decides whether to look again: whoever may not look now may not look in a second either.
        raise OutcomeUnknown(entitlements.ENTITLEMENTS.failures.classify(error).kind, text, reason="unseen") from error


def _path(account_id: str) -> str:
    return f"/v1/entitlements/{quote(account_id, safe='')}"


def _entitlement(body: dict[str, Any]) -> Entitlement:
    return Entitlement(account_id=body["account_id"], plan=body["plan"], version=body["version"])


def _record(body: dict[str, Any]) -> Record:
    return Record(key=body["account_id"], state=body["plan"], facts={"version": str(body["version"])})
