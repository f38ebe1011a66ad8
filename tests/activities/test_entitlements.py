"""Entitlements against a service that writes by state and version."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from activities.entitlements import contract as entitlements
from activities.entitlements.contract import ChangeEntitlement, Entitlement, Plan, ReadEntitlement
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


async def test_a_revoked_plan_is_given_back_by_the_undo(sandbox: Sandbox, connector: HttpEntitlements) -> None:
    """To revoke is to change to no plan, and undone like every change."""
    given = await connector.change(_change("ACC-1"), TOKEN)
    revoke = _change("ACC-1", Plan.NONE, version=given.version, was=Plan.PRO)
    key = TOKEN.model_copy(update={"key": "entitlement:ACC-1:CANCEL-1"})

    revoked = await connector.change(revoke, key)
    plan = sandbox.app.entitlements.plan("ACC-1")
    await connector.put_back(Undo(revoke, revoked), key)

    assert (plan, sandbox.app.entitlements.plan("ACC-1")) == (Plan.NONE, Plan.PRO)


async def test_an_account_of_which_nothing_was_written_has_no_plan(connector: HttpEntitlements) -> None:
    """Reading never fails for want of an entitlement."""
    found = await connector.read(ReadEntitlement(account_id="ACC/9"), TOKEN)

    assert found == Entitlement(account_id="ACC/9", plan=Plan.NONE, version=0)
