"""Entitlements against a service that writes by state and version."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from activities.entitlements import contract as entitlements
from activities.entitlements.contract import ChangeEntitlement, Entitlement, Plan, ReadEntitlement, RevokeEntitlement
from activities.entitlements.http import HttpEntitlements
from kit.contract import FailureKind, Outcome, Token, Undo
from kit.errors import Refused
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import FaultKind, Operation, Sandbox
from tests.activities.conftest import client_of

TOKEN = Token(key="entitlement:ACC-1:UPG-1", correlation_id="corr-1", workflow_id="upgrade-1")


@pytest.fixture
async def connector(sandbox: Sandbox) -> AsyncIterator[HttpEntitlements]:
    """The connector to the sandbox's entitlements."""
    async with client_of(sandbox) as client:
        yield HttpEntitlements(client)


def _change(account_id: str, plan: Plan = Plan.PRO, *, version: int = 0, was: Plan = Plan.NONE) -> ChangeEntitlement:
    before = Entitlement(account_id=account_id, plan=was, version=version)
    return ChangeEntitlement(account_id=account_id, change_id="UPG-1", plan=plan, before=before)


def _revoke(account_id: str) -> RevokeEntitlement:
    return RevokeEntitlement(account_id=account_id, change_id="CANCEL-1")


@pytest.mark.slow
async def test_a_change_keeps_its_promises(sandbox: Sandbox, connector: HttpEntitlements) -> None:
    """Changing conforms: to the version that was read it is made once, however often it is asked for."""

    def fault(kind: FaultKind, account: str, expected: FailureKind, outcome: Outcome) -> Fault:
        async def inject() -> None:
            await sandbox.control.fault(Operation.CHANGE_ENTITLEMENT, kind)

        return Fault(inject, _change(account), expected, outcome)

    async def entitled() -> int:
        return sum(one["plan"] == Plan.PRO for one in sandbox.app.entitlements.accounts.values())

    report = await check_connector(
        connector,
        entitlements.change,
        _change("ACC-1"),
        oracle=entitled,
        faults=[
            fault(FaultKind.REFUSE, "ACC-2", FailureKind.FORBIDDEN, Outcome.REFUSED),
            fault(FaultKind.RATE_LIMIT, "ACC-3", FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            fault(FaultKind.UNAVAILABLE, "ACC-4", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_BEFORE, "ACC-5", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_REPLY, "ACC-6", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.ERROR_AFTER, "ACC-7", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        ],
    )

    assert report.faults == 6
    assert {Promise.KEY_HONOURED, Promise.PROBE_UNDONE, Promise.UNDO_TWICE} <= set(report.kept)


async def test_a_change_that_comes_after_its_undo_changes_nothing(
    sandbox: Sandbox, connector: HttpEntitlements
) -> None:
    """A late request names a version that never comes back."""
    changed = await connector.change(_change("ACC-1"), TOKEN)
    await connector.put_back(Undo(_change("ACC-1"), changed), TOKEN)

    with pytest.raises(Refused) as raised:
        await connector.change(_change("ACC-1"), TOKEN)

    assert (raised.value.kind, raised.value.reason) == (FailureKind.CONFLICT, "another_version")
    assert sandbox.app.entitlements.plan("ACC-1") == Plan.NONE


async def test_the_undo_leaves_what_came_after_it(sandbox: Sandbox, connector: HttpEntitlements) -> None:
    """Who was given another plan since keeps it."""
    upgrade = await connector.change(_change("ACC-1"), TOKEN)
    other = _change("ACC-1", Plan.ENTERPRISE, version=upgrade.version, was=Plan.PRO)
    await connector.change(other, TOKEN.model_copy(update={"key": "entitlement:ACC-1:UPG-2"}))

    await connector.put_back(Undo(_change("ACC-1"), upgrade), TOKEN)

    assert sandbox.app.entitlements.plan("ACC-1") == Plan.ENTERPRISE


async def test_a_plan_that_was_taken_is_given_back_by_the_undo(sandbox: Sandbox, connector: HttpEntitlements) -> None:
    """To change to no plan is undone like every change."""
    given = await connector.change(_change("ACC-1"), TOKEN)
    revoke = _change("ACC-1", Plan.NONE, version=given.version, was=Plan.PRO)
    key = TOKEN.model_copy(update={"key": "entitlement:ACC-1:CANCEL-1"})

    revoked = await connector.change(revoke, key)
    plan = sandbox.app.entitlements.plan("ACC-1")
    await connector.put_back(Undo(revoke, revoked), key)

    assert (plan, sandbox.app.entitlements.plan("ACC-1")) == (Plan.NONE, Plan.PRO)


@pytest.mark.slow
async def test_a_revocation_keeps_its_promises(sandbox: Sandbox, connector: HttpEntitlements) -> None:
    """Revoking conforms: whatever the account has, it is taken once, however often it is asked for."""
    accounts = [f"ACC-{number}" for number in range(1, 8)]
    for account in accounts:
        sandbox.app.entitlements.add(account, plan=Plan.PRO)

    def fault(kind: FaultKind, account: str, expected: FailureKind, outcome: Outcome) -> Fault:
        async def inject() -> None:
            await sandbox.control.fault(Operation.CHANGE_ENTITLEMENT, kind)

        return Fault(inject, _revoke(account), expected, outcome)

    async def revoked() -> int:
        return sum(sandbox.app.entitlements.plan(account) == Plan.NONE for account in accounts)

    report = await check_connector(
        connector,
        entitlements.revoke,
        _revoke("ACC-1"),
        oracle=revoked,
        faults=[
            fault(FaultKind.REFUSE, "ACC-2", FailureKind.FORBIDDEN, Outcome.REFUSED),
            fault(FaultKind.RATE_LIMIT, "ACC-3", FailureKind.RATE_LIMITED, Outcome.NOT_STARTED),
            fault(FaultKind.UNAVAILABLE, "ACC-4", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_BEFORE, "ACC-5", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_REPLY, "ACC-6", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.ERROR_AFTER, "ACC-7", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        ],
    )

    assert report.faults == 6
    assert {Promise.KEY_HONOURED, Promise.PROBE_BEFORE, Promise.PROBE_AFTER} <= set(report.kept)


async def test_what_is_revoked_is_not_written_again(sandbox: Sandbox, connector: HttpEntitlements) -> None:
    """Whoever has taken the plan, the revocation is done, and the version stays."""
    sandbox.app.entitlements.add("ACC-1", plan=Plan.NONE)

    found = await connector.revoke(_revoke("ACC-1"), TOKEN)

    assert found == Entitlement(account_id="ACC-1", plan=Plan.NONE, version=1)
    assert sandbox.app.entitlements.accounts["ACC-1"]["version"] == 1


@pytest.mark.parametrize("written", [Plan.NONE, Plan.ENTERPRISE])
async def test_a_revocation_takes_only_what_it_has_read(
    sandbox: Sandbox, connector: HttpEntitlements, written: Plan
) -> None:
    """Who writes between its look and its write is not overwritten: no plan is what was wanted, another one is told."""
    sandbox.app.entitlements.add("ACC-1", plan=Plan.PRO)
    other = _change("ACC-1", written, version=1, was=Plan.PRO)

    async def overtake(reply: httpx.Response) -> None:
        client.event_hooks = {}
        await connector.change(other, TOKEN)

    async with client_of(sandbox) as client:
        client.event_hooks = {"response": [overtake]}
        if written is Plan.NONE:
            assert (await HttpEntitlements(client).revoke(_revoke("ACC-1"), TOKEN)).version == 2
        else:
            with pytest.raises(Refused, match="was changed from version 1 while it was revoked"):
                await HttpEntitlements(client).revoke(_revoke("ACC-1"), TOKEN)

    assert sandbox.app.entitlements.plan("ACC-1") == written


async def test_an_account_of_which_nothing_was_written_has_no_plan(connector: HttpEntitlements) -> None:
    """Reading never fails for want of an entitlement."""
    found = await connector.read(ReadEntitlement(account_id="ACC/9"), TOKEN)

    assert found == Entitlement(account_id="ACC/9", plan=Plan.NONE, version=0)
