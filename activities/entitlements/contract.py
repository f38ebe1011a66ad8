"""What may be asked of the entitlement service, which every product asks what an account may use."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from activities.payments.contract import Id
from kit.contract import (
    Dependency,
    Effect,
    FailureKind,
    Keys,
    Listing,
    Model,
    Once,
    Operation,
    Page,
    Retry,
    Scan,
)


class Plan(StrEnum):
    """What a customer may buy. The same word in billing, in the CRM and here."""

    NONE = "none"
    """No plan: never bought, or revoked."""
    STARTER = "starter"
    PRO = "pro"
    ENTERPRISE = "enterprise"


Version = Annotated[int, Field(ge=0)]
"""Counts the changes of one entitlement. It only grows, also when a change is taken back."""

ENTITLEMENTS: Final = Dependency(
    name="entitlements",
    owner="platform-team",
    settle=timedelta(seconds=2),
    # An entitlement that somebody else has changed since will not have the old version for being asked again.
    retry={FailureKind.CONFLICT: Retry(attempts=1)},
    runbook="docs/explanation/failure-model.md#entitlements",
)


class ReadEntitlement(Model):
    """Ask what an account may use."""

    account_id: Id


class Entitlement(Model):
    """What an account may use, and since which version. Version 0: nothing was ever written."""

    account_id: Id
    plan: Plan
    version: Version


class ChangeEntitlement(Model):
    """Let an account use another plan.

    Attributes:
        account_id: Whose.
        change_id: The business id of the change: an upgrade, a cancellation.
        plan: What it may use from now on.
        before: What `read` has returned: the change is made to this version and to no other, and its undo puts this
            plan back.
    """

    account_id: Id
    change_id: Id
    plan: Plan
    before: Entitlement


class RevokeEntitlement(Model):
    """Let an account use nothing any more.

    Attributes:
        account_id: Whose.
        change_id: The business id of what has ended, such as a cancellation. It says nothing of what the account has:
            whoever revokes for the same end, whatever they have read, shares the effect.
    """

    account_id: Id
    change_id: Id


read = Operation(
    "entitlements.read",
    ReadEntitlement,
    Entitlement,
    dependency=ENTITLEMENTS,
    effect=Effect.READ,
    timeout=timedelta(seconds=5),
    summary="Read what account {account_id} may use",
)
"""Read an entitlement. Its result belongs into the change: then it is durable before anything is written."""

change = Operation(
    "entitlements.change",
    ChangeEntitlement,
    Entitlement,
    dependency=ENTITLEMENTS,
    effect=Effect.REVERSIBLE,
    # The service writes only to the version it is told, and a version never comes back: a request that arrives twice,
    # or late after the undo, is refused there.
    once=Once.by_state(),
    key="entitlement:{account_id}:{change_id}",
    timeout=timedelta(seconds=5),
    summary="Let account {account_id} use plan {plan}",
)
"""Change an entitlement. Its undo puts the plan back that was there, unless somebody has changed it since."""

revoke = Operation(
    "entitlements.revoke",
    RevokeEntitlement,
    Entitlement,
    dependency=ENTITLEMENTS,
    # It follows an end that is for good: no undo gives a plan back that nobody pays for any more.
    effect=Effect.IRREVERSIBLE,
    # What has no plan is not written again, and a late request names a version that never comes back.
    once=Once.by_state(),
    key="entitlement:{account_id}:revoke:{change_id}",
    timeout=timedelta(seconds=5),
    summary="Take the plan from account {account_id}",
)
"""Take the plan from an account, unless it has none any more. For what may still turn round, `change` to `Plan.NONE`.

It takes what the account has when it is carried out. A plan that was bought between the end and a late attempt goes,
too; a reconciliation of who pays with what they may use finds that.
"""

list_entitlements = Operation(
    "entitlements.list_entitlements",
    Scan,
    Page,
    dependency=ENTITLEMENTS,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Read a page of entitlements",
)
"""What all accounts may use, page by page, by account."""

find_entitlements = Operation(
    "entitlements.find_entitlements",
    Keys,
    Page,
    dependency=ENTITLEMENTS,
    effect=Effect.READ,
    timeout=timedelta(seconds=30),
    summary="Find the entitlements of {keys}",
)
"""What some accounts may use."""

ALL_ENTITLEMENTS: Final = Listing(name="entitlements", pages=list_entitlements, again=find_entitlements)
"""State: a `Plan`. Facts: the ``version``."""
