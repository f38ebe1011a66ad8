"""Faults in the workflows over several systems: a subscription's end, and a plan's upgrade."""

from __future__ import annotations

from typing import Final

from tests.mutants.seeding import CANCEL, DEAR_CANCEL, UPGRADE, Edit, Mutant

_CANCEL: Final = "workflows/subscription_cancel.py"
_UPGRADE: Final = "workflows/plan_upgrade.py"
_SHOP: Final = "activities/subscriptions/sql.py"
_CRM: Final = "activities/crm/hubspot.py"
_TICKETS: Final = "activities/tickets/zendesk.py"
_TICKETS_CONTRACT: Final = "activities/tickets/contract.py"

_END: Final = """\
        await self.pivot(
            billing.cancel_subscription, billing.CancelSubscription(subscription_id=subscription_id, number=number)
        )
"""
_FINISH: Final = """\
        await self.step(
            subscriptions.finish_cancellation,
            subscriptions.FinishCancellation(subscription_id=subscription_id, number=number),
        )
"""
_KEEP: Final = """\
        await move(tx, subscriptions, request.subscription_id, SUBSCRIPTION, SubscriptionStatus.ACTIVE)
"""
_RESTORE: Final = "        properties = _restored(now, request)\n"
_FIND_TICKET: Final = """\
        quoted = request.reference.replace("\\\\", "\\\\\\\\").replace('"', '\\\\"')
"""

IN_OTHER_WORKFLOWS: Final = (
    # -- the end of a subscription ---------------------------------------------------------------------------------
    Mutant(
        name="canceled_here_first",
        subject=CANCEL,
        story="Our own row says 'canceled' first: the provider will say so, too.",
        edits=(Edit(_CANCEL, _END + _FINISH, _FINISH + _END),),
        refused="is IRREVERSIBLE and comes before the pivot",
    ),
    Mutant(
        name="refused_end_stays_pending",
        subject=CANCEL,
        story="When the provider refuses, the row keeps its 'cancel_pending': the customer does want to leave.",
        edits=(Edit(_SHOP, _KEEP, ""),),
        caught="billing.cancel_subscription#1:refused",
        breaks="shop, billing and entitlements agree on whether the subscription has ended",
    ),
    Mutant(
        name="refund_without_its_approval",
        subject=DEAR_CANCEL,
        story="A person is asked, and the step goes on without their approval: it was given, so what for?",
        edits=(Edit(_CANCEL, "refund, approval=approval)", "refund)"),),
        equivalent="nothing lies between the question and the step: a refund that is rejected or not approved in time "
        "never comes to it, and the arguments are the same. What is lost is the check that they are, which the "
        "next change of this code would need (`approval_of_another_amount`)",
    ),
    Mutant(
        name="approval_of_another_amount",
        subject=DEAR_CANCEL,
        story="A person approves the refund, and a bonus for the trouble is added to it afterwards.",
        edits=(
            Edit(
                _CANCEL,
                "refund, approval=approval)",
                'refund.model_copy(update={"amount": amount + 500}), approval=approval)',
            ),
        ),
        caught="clean",
        breaks="without a fault it completes",
    ),
    # -- the upgrade of a plan -------------------------------------------------------------------------------------
    Mutant(
        name="snapshot_not_restored",
        subject=UPGRADE,
        story="The CRM's fields are not put back: sales corrects them anyway.",
        edits=(Edit(_CRM, _RESTORE, "        properties = {}\n"),),
        caught="entitlements.change#1:refused",
        breaks="CRM, billing and entitlement name the plan that the upgrade ended with",
    ),
    Mutant(
        name="ticket_without_its_look_up",
        subject=UPGRADE,
        story="The search for tickets is slow, so the look-up answers None.",
        edits=(Edit(_TICKETS, _FIND_TICKET, "        return None\n" + _FIND_TICKET),),
        caught="tickets.open#1:reply_lost",
        breaks="no upgrade has an effect twice",
    ),
    Mutant(
        name="ticket_search_believed_at_once",
        subject=UPGRADE,
        story="Ninety seconds until a look-up is believed are too many: five will do, as everywhere else.",
        edits=(Edit(_TICKETS_CONTRACT, "settle=timedelta(seconds=90)", "settle=timedelta(seconds=5)"),),
        caught="tickets.open#1:reply_lost",
        breaks="no upgrade has an effect twice",
    ),
)
