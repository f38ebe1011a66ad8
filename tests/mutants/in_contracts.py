"""Faults in what the contracts declare: effects, once-strategies, keys, settle times, failure maps."""

from __future__ import annotations

from typing import Final

from tests.mutants.seeding import STREET, Edit, Mutant

_PAYMENTS: Final = "activities/payments/contract.py"
_STRIPE: Final = "activities/payments/stripe.py"
_INVENTORY: Final = "activities/inventory/contract.py"
_WAREHOUSE: Final = "activities/inventory/http.py"
_ORDERS: Final = "activities/orders/contract.py"
_EMAIL: Final = "activities/email/contract.py"
_RECEIPT_ONCE: Final = 'once=Once.never_twice(),\n    key="receipt:'
_FULFILMENT: Final = "activities/fulfilment/contract.py"

_AUTHORIZE_KEY: Final = '    key="authorize:{order_id}",\n'
_AUTHORIZE: Final = """\
    dependency=PAYMENTS,
    effect=Effect.COMPENSATABLE,
    once=Once.by_key(ttl=KEY_RETENTION),
    key="authorize:{order_id}",
"""
_RESERVE: Final = """\
    dependency=INVENTORY,
    effect=Effect.REVERSIBLE,
"""


def _authorize(key: str) -> Edit:
    return Edit(_PAYMENTS, _AUTHORIZE_KEY, f'    key="{key}",\n')


def _authorize_is(effect: str) -> Edit:
    return Edit(_PAYMENTS, _AUTHORIZE, _AUTHORIZE.replace("COMPENSATABLE", effect))


_VOID_UNMARKED: Final = Edit(_STRIPE, "    @payments.authorize.compensation\n", "")
_RELEASE_UNMARKED: Final = Edit(_WAREHOUSE, "    @inventory.reserve.compensation\n", "")
_LOST_IS_NOT_STARTED: Final = 'classes={"httpx.NetworkError": not_started(FailureKind.UNAVAILABLE)}'

IN_CONTRACTS: Final = (
    # -- keys ------------------------------------------------------------------------------------------------------
    Mutant(
        name="key_with_the_attempt",
        story="Each attempt gets a key of its own, so that 'a retry is not mistaken for a duplicate'.",
        edits=(_authorize("authorize:{order_id}:{attempt}"),),
        refused="changes between attempts or runs",
    ),
    Mutant(
        name="key_with_the_run_id",
        story="The key is made unique with the run id.",
        edits=(_authorize("authorize:{run_id}"),),
        refused="changes between attempts or runs",
    ),
    Mutant(
        name="key_without_the_order",
        story="The key is shortened to its verb, for the dashboards.",
        edits=(_authorize("authorize"),),
        refused="has no placeholder",
    ),
    Mutant(
        name="key_of_the_workflow",
        story="The key format is 'improved': the workflow's id is unique, too, and always at hand.",
        edits=(_authorize("authorize:{workflow_id}"),),
        caught="clean",
        breaks="the ledger says what is true",
    ),
    Mutant(
        name="reservation_key_of_the_workflow",
        story="The same for the warehouse.",
        edits=(Edit(_INVENTORY, 'key="reserve:{order_id}:{sku}"', 'key="reserve:{workflow_id}"'),),
        caught="clean",
        breaks="the ledger says what is true",
    ),
    Mutant(
        name="receipt_key_of_the_workflow",
        story="The same for the receipt.",
        edits=(Edit(_EMAIL, 'key="receipt:{order_id}"', 'key="receipt:{workflow_id}"'),),
        caught="email.send_receipt#1:started_again",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="shipment_key_of_the_workflow",
        story="The same for the shipment.",
        edits=(Edit(_FULFILMENT, 'key="ship:{order_id}"', 'key="ship:{workflow_id}"'),),
        caught="fulfilment.request_shipment#1:started_again",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="receipt_key_without_the_order",
        subject=STREET,
        story="One receipt per customer: the key is the address.",
        edits=(Edit(_EMAIL, 'key="receipt:{order_id}"', 'key="receipt:{to}"'),),
        caught="clean",
        breaks="without a fault it completes",
    ),
    Mutant(
        name="one_key_for_authorize_and_capture",
        story="Authorize and capture belong together, so they share their key.",
        edits=(Edit(_PAYMENTS, 'key="capture:{order_id}"', 'key="authorize:{order_id}"'),),
        refused="share the key template",
    ),
    # -- once ------------------------------------------------------------------------------------------------------
    Mutant(
        name="receipt_once_by_key",
        story="The mail server gets our Message-ID, so it will surely drop repeated messages.",
        edits=(Edit(_EMAIL, _RECEIPT_ONCE, _RECEIPT_ONCE.replace("never_twice()", "by_key(ttl=timedelta(hours=24))")),),
        caught="email.send_receipt#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="receipt_once_by_state",
        story="Sending a receipt twice changes nothing, says the contract.",
        edits=(Edit(_EMAIL, _RECEIPT_ONCE, _RECEIPT_ONCE.replace("never_twice()", "by_state()")),),
        caught="email.send_receipt#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="receipt_once_by_probe",
        story="The receipt is declared to be looked up; nobody can.",
        edits=(Edit(_EMAIL, _RECEIPT_ONCE, _RECEIPT_ONCE.replace("never_twice()", "by_probe()")),),
        refused="once BY_PROBE needs a probe",
    ),
    Mutant(
        name="reservation_once_by_key",
        story="The warehouse is sent a reference: that is as good as an idempotency key.",
        edits=(Edit(_INVENTORY, "once=Once.by_probe()", "once=Once.by_key(ttl=timedelta(hours=24))"),),
        caught="inventory.reserve#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="reservation_once_by_state",
        story="Setting stock aside is compare-and-write, or so the wiki says. It adds.",
        edits=(Edit(_INVENTORY, "once=Once.by_probe()", "once=Once.by_state()"),),
        caught="inventory.reserve#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="key_kept_too_short",
        story="The partner remembers keys for an hour only; the contract is corrected, the saga is not.",
        edits=(Edit(_FULFILMENT, "ttl=timedelta(days=7)", "ttl=timedelta(hours=1)"),),
        refused="shorter than deadline + replay window",
    ),
    # -- effects ---------------------------------------------------------------------------------------------------
    Mutant(
        name="compensation_deleted",
        story="`void` is called by nobody, says the linter: deleted as unused.",
        edits=(_VOID_UNMARKED,),
        refused="effect COMPENSATABLE needs a compensation",
    ),
    Mutant(
        name="compensation_deleted_and_irreversible",
        story="The same, and the contract is 'fixed' until the error is gone: the hold cannot be taken back.",
        edits=(_VOID_UNMARKED, _authorize_is("IRREVERSIBLE")),
        refused="is IRREVERSIBLE and comes before the pivot",
    ),
    Mutant(
        name="compensation_deleted_and_read",
        story="The same, and it works out: an authorization only reads the balance, so nothing has to be undone.",
        edits=(
            _VOID_UNMARKED,
            Edit(_STRIPE, "    @payments.authorize.probe\n", ""),
            Edit(_PAYMENTS, _AUTHORIZE, "    dependency=PAYMENTS,\n    effect=Effect.READ,\n"),
        ),
        caught="payments.capture#1:refused",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="compensation_deleted_and_reconcilable",
        story="The release is deleted as unused: reservations are reconciled by hand once a quarter.",
        edits=(_RELEASE_UNMARKED, Edit(_INVENTORY, _RESERVE, _RESERVE.replace("REVERSIBLE", "RECONCILABLE"))),
        equivalent="a person is asked each time, and what they leave in place is named in the run's error and in the "
        "ledger: no rule is broken by what the contract now says of itself. That it says so is what the contract lock "
        "refuses (`kit contracts check`)",
    ),
    # -- time ------------------------------------------------------------------------------------------------------
    Mutant(
        name="payments_settle_at_once",
        story="The undo waits for seconds before it believes the look-up: settle=0 makes it snappy.",
        edits=(Edit(_PAYMENTS, "settle=timedelta(seconds=5)", "settle=timedelta(0)"),),
        caught="payments.authorize#1:late_after_undo+payments.authorize#2:cancel_before",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="warehouse_settles_at_once",
        story="The same for the warehouse.",
        edits=(Edit(_INVENTORY, "settle=timedelta(seconds=2)", "settle=timedelta(0)"),),
        caught="inventory.reserve#1:late_after_retry",
        breaks="no order has an effect twice",
    ),
    # -- failures --------------------------------------------------------------------------------------------------
    Mutant(
        name="lost_reply_is_not_started",
        story="A broken connection to the warehouse means that nothing has arrived, so the retry may be blind.",
        edits=(
            Edit(
                _INVENTORY,
                "    settle=timedelta(seconds=2),\n",
                f"    settle=timedelta(seconds=2),\n    failures=HTTP_FAILURES.extended({_LOST_IS_NOT_STARTED}),\n",
            ),
            Edit(
                _INVENTORY,
                "from kit.contract import Dependency, Effect, Model, Once, Operation\n",
                "from kit.contract import Dependency, Effect, Model, Once, Operation\n"
                "from kit.contract import HTTP_FAILURES, FailureKind, not_started\n",
            ),
        ),
        caught="inventory.reserve#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="lost_charge_is_refused",
        story="No answer of the bank means no: a broken connection is a refusal, and is not retried.",
        edits=(
            Edit(
                _PAYMENTS,
                "        statuses={409: unknown(FailureKind.CONFLICT)}\n",
                "        statuses={409: unknown(FailureKind.CONFLICT)},\n"
                '        classes={"httpx.NetworkError": refused(FailureKind.DECLINED)},\n',
            ),
            Edit(_PAYMENTS, "    unknown,\n", "    refused,\n    unknown,\n"),
        ),
        caught="payments.authorize#1:reply_lost",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="five_hundreds_are_refusals",
        story="A 5xx of the bank is an answer, too: it did not work, so nothing has to be undone.",
        edits=(
            Edit(
                _PAYMENTS,
                "        statuses={409: unknown(FailureKind.CONFLICT)}\n",
                "        statuses={409: unknown(FailureKind.CONFLICT), 504: refused(FailureKind.INVALID)},\n"
                "        ranges={5: refused(FailureKind.INVALID)},\n",
            ),
            Edit(_PAYMENTS, "    unknown,\n", "    refused,\n    unknown,\n"),
        ),
        caught="payments.authorize#1:server_error",
        breaks="ended without success: nothing is left",
    ),
    Mutant(
        name="warehouse_timeouts_are_not_started",
        story="A timeout of the warehouse is a failure to connect: it may be asked again.",
        edits=(
            Edit(
                _INVENTORY,
                "    settle=timedelta(seconds=2),\n",
                "    settle=timedelta(seconds=2),\n"
                "    failures=HTTP_FAILURES.extended(\n"
                "        classes={\n"
                '            "httpx.NetworkError": not_started(FailureKind.TIMEOUT),\n'
                '            "httpx.TimeoutException": not_started(FailureKind.TIMEOUT),\n'
                '            "httpx.ProtocolError": not_started(FailureKind.TIMEOUT),\n'
                "        },\n"
                "        statuses={504: not_started(FailureKind.TIMEOUT)},\n"
                "        ranges={5: not_started(FailureKind.UNAVAILABLE)},\n"
                "    ),\n",
            ),
            Edit(
                _INVENTORY,
                "from kit.contract import Dependency, Effect, Model, Once, Operation\n",
                "from kit.contract import Dependency, Effect, Model, Once, Operation\n"
                "from kit.contract import HTTP_FAILURES, FailureKind, not_started\n",
            ),
        ),
        caught="inventory.reserve#1:server_error",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="lost_mail_is_not_started",
        story="A mail server that hangs up has not taken the message: try again.",
        edits=(
            Edit(
                _EMAIL,
                "    failures=SMTP_FAILURES,\n",
                "    failures=SMTP_FAILURES.extended(\n"
                '        classes={"aiosmtplib.errors.SMTPServerDisconnected": not_started(FailureKind.UNAVAILABLE),\n'
                '                 "aiosmtplib.errors.SMTPException": not_started(FailureKind.UNAVAILABLE),\n'
                '                 "builtins.OSError": not_started(FailureKind.UNAVAILABLE)}\n'
                "    ),\n",
            ),
            Edit(
                _EMAIL,
                "    unknown,\n)\n",
                "    not_started,\n    unknown,\n)\n",
            ),
        ),
        caught="email.send_receipt#1:reply_lost",
        breaks="no order has an effect twice",
    ),
    Mutant(
        name="declined_retried_for_ever",
        story="Some declined cards work on the second try: declines are retried, without a cap.",
        edits=(
            Edit(
                _PAYMENTS,
                "    runbook=",
                "    retry={FailureKind.DECLINED: Retry(attempts=None)},\n    runbook=",
            ),
            Edit(_PAYMENTS, "    unknown,\n", "    Retry,\n    unknown,\n"),
        ),
        caught="payments.authorize#1:refused",
        breaks="a refusal for good is not asked for again",
    ),
)
