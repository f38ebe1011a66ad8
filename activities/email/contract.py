"""What may be asked of the mail server."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from activities.payments.contract import Amount, Currency, Id
from kit.contract import (
    SMTP_FAILURES,
    SQL_FAILURES,
    Dependency,
    Effect,
    FailureKind,
    Keys,
    Listing,
    Model,
    Once,
    Operation,
    Page,
    Scan,
    unknown,
)

Address = Annotated[str, Field(pattern=r"^[^@\s<>,;]+@[^@\s<>,;]+$", max_length=254)]
"""One mailbox. Whether it exists, only the mail server can say."""

EMAIL = Dependency(
    name="email",
    owner="customer-care-team",
    settle=timedelta(minutes=1),
    failures=SMTP_FAILURES,
    runbook="docs/explanation/failure-model.md#email",
)


class SendReceipt(Model):
    """Send the customer a receipt."""

    order_id: Id
    to: Address
    amount: Amount
    currency: Currency


class Notice(StrEnum):
    """What a notice tells the customer. The connector has the words."""

    PLAN_UPGRADED = "plan_upgraded"
    SUBSCRIPTION_CANCELED = "subscription_canceled"


class SendNotice(Model):
    """Tell the customer about a change.

    Attributes:
        notice_id: The business id of the change: an upgrade, a cancellation. One notice of each kind.
        to: Who is told.
        template: What they are told.
        account_id: About which account.
        plan: About which plan.
    """

    notice_id: Id
    to: Address
    template: Notice
    account_id: Id
    plan: Id


class Sent(Model):
    """The mail server has taken the message."""

    message_id: str


send_receipt = Operation(
    "email.send_receipt",
    SendReceipt,
    Sent,
    dependency=EMAIL,
    effect=Effect.IRREVERSIBLE,
    # SMTP has no idempotency and no look-up: when the reply to a message is lost, only a person can find out.
    once=Once.never_twice(),
    key="receipt:{order_id}",
    timeout=timedelta(seconds=20),
    summary="Send the receipt of order {order_id} to {to}",
)
"""Send the receipt. Cannot be taken back: it belongs after the commit."""

send_notice = Operation(
    "email.send_notice",
    SendNotice,
    Sent,
    dependency=EMAIL,
    effect=Effect.IRREVERSIBLE,
    once=Once.never_twice(),
    key="notice:{template}:{notice_id}",
    timeout=timedelta(seconds=20),
    summary="Tell {to} about {template} {notice_id}",
)
"""Tell the customer about a change. Cannot be taken back: it belongs after the commit."""

OUTBOX = Dependency(
    name="outbox",
    owner="customer-care-team",
    # A receipt is in the ledger when its attempt has ended.
    settle=timedelta(minutes=1),
    failures=SQL_FAILURES.extended(classes={"kit.errors.LedgerUnavailable": unknown(FailureKind.UNAVAILABLE)}),
    runbook="docs/explanation/failure-model.md#email",
)
"""What has been sent, as the effect ledger knows it: SMTP keeps no list of what it has taken."""

list_receipts = Operation(
    "email.list_receipts",
    Scan,
    Page,
    dependency=OUTBOX,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Read a page of receipts",
)
"""The receipts, page by page, by their orders' ids."""

find_receipts = Operation(
    "email.find_receipts",
    Keys,
    Page,
    dependency=OUTBOX,
    effect=Effect.READ,
    timeout=timedelta(seconds=20),
    summary="Find the receipts of {keys}",
)
"""The receipts of some orders."""

RECEIPTS: Final = Listing(name="receipts", pages=list_receipts, again=find_receipts)
"""State: what the ledger says of the effect, ``done`` where the mail server has taken the message."""
